"""Who may come in when there is more to do than can be done: bounded, and fair across keys.

Nothing waits in a queue of ours. Beyond capacity recall is left out first, then requests are
refused with 503 and Retry-After; see docs/decisions/0110-overload.md.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from memrouter.domain import KeyId
from memrouter.errors import Overloaded

_GREED = 4
RETRY_AFTER_S = 1.0

What = Literal["recall", "memory", "full", "share", "body"]
"""What was refused: a recall, all of memory, a request, one of a key that has many, a body."""
OnShed = Callable[[What], None]


class Shares:
    """Places that keys share. None waits for one, and none gets all of them.

    A key may hold four times what is free: 80 % if it is alone, 44 % each if they are two, and so
    on; the fewer are free, the fewer it may hold, so that another always finds some. These are the
    dynamic thresholds of Choudhury and Hahne, IEEE/ACM ToN 6(2), 1998.
    """

    __slots__ = ("_own", "most", "used")

    def __init__(self, most: int) -> None:
        self.most = most
        self.used = 0
        self._own: dict[KeyId, int] = {}

    def take(self, key: KeyId, amount: int = 1) -> bool:
        """Take some, unless it is more than the key may hold now."""
        own = self._own.get(key, 0) + amount
        free = self.most - self.used
        if amount > free or own > _GREED * free:
            return False
        self.used += amount
        self._own[key] = own
        return True

    def give(self, key: KeyId, amount: int = 1) -> None:
        """Give some back."""
        self.used -= amount
        left = self._own[key] - amount
        if left:
            self._own[key] = left
        else:
            del self._own[key]


class Place:
    """The place of one request, and the bytes of its body."""

    __slots__ = ("_admission", "_held_bytes", "_key")

    def __init__(self, admission: Admission, key: KeyId) -> None:
        self._admission = admission
        self._key = key
        self._held_bytes = 0

    def hold(self, size_bytes: int) -> None:
        """Say that so much more of the body is about to be held. Raises Overloaded."""
        if size_bytes:
            self._admission.take_bytes(self._key, size_bytes)
            self._held_bytes += size_bytes

    def leave(self) -> None:
        """Give everything back."""
        self._admission.requests.give(self._key)
        if self._held_bytes:
            self._admission.bodies.give(self._key, self._held_bytes)


class Admission:
    """What a process serves at a time: requests, recalls, and bytes of bodies."""

    def __init__(
        self,
        *,
        max_requests: int = 1_000,
        max_recalls: int = 64,
        max_bodies_bytes: int = 512 << 20,
        on_shed: OnShed = lambda what: None,
    ) -> None:
        self.requests = Shares(max_requests)
        self.recalls = Shares(max_recalls)
        self.bodies = Shares(max_bodies_bytes)
        self.on_shed = on_shed

    def enter(self, key: KeyId) -> Place:
        """A place for a request of this key. Raises Overloaded."""
        if not self.requests.take(key):
            full = self.requests.used >= self.requests.most
            self.on_shed("full" if full else "share")
            raise _overloaded(
                "The router is at capacity" if full else "This key has too many requests under way"
            )
        return Place(self, key)

    def take_bytes(self, key: KeyId, size_bytes: int) -> None:
        """Hold so much of a body. Raises Overloaded."""
        if not self.bodies.take(key, size_bytes):
            self.on_shed("body")
            raise _overloaded("The router holds as many large bodies as it may")


def _overloaded(message: str) -> Overloaded:
    return Overloaded(
        message,
        "Send the request again, after the seconds in Retry-After",
        retry_after_s=RETRY_AFTER_S,
    )
