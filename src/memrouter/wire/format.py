"""What a wire format is: the pure functions through which memory reads and changes a request.

A body is read as a dict (`Json`) and changed as a `RawBody`: its top-level fields, each the very
bytes that the client sent. What we do not touch is forwarded byte for byte, so big integers,
unknown fields, key order and escapes survive.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from memrouter.domain import Json, Reply, Turn

RawBody = dict[str, msgspec.Raw]
"""Top-level fields of a JSON object → the bytes of their values, in the client's order."""


class ReplyReader(Protocol):
    """Reads a copy of a provider's answer while its bytes pass by."""

    @property
    def done(self) -> bool:
        """Whether the format's own end has been read (`[DONE]`, `message_stop`, a whole body …)."""
        ...

    def feed(self, block: bytes) -> None:
        """Read the next bytes, cut anywhere; never raises, whatever they are."""
        ...

    def finish(self) -> Reply:
        """What was read. `complete` only if the format's own end was seen, without an error."""
        ...


class WireFormat(Protocol):
    """One provider dialect. Stateless; every function is pure and tolerates any JSON object.

    Message indexes count the messages of the body as the format lists them (`messages`,
    `contents`, `input`; an `input` string is one message), system messages in that list included.
    """

    name: str
    messages_field: str
    """Where the messages stand, as its users would look for it: "messages", "input", "contents"."""

    def check(self, body: Json) -> None:
        """Raise BadRequest, naming the field, if the messages are missing or not of their type."""
        ...

    def model(self, body: Json, path: str) -> str | None:
        """The model asked for; from the path where the format has it there."""
        ...

    def with_model(self, body: RawBody, path: str, model: str) -> tuple[RawBody, str]:
        """Body and path with `model` in the place of the one asked for."""
        ...

    def streams(self, body: Json, path: str) -> bool:
        """Whether the answer is a stream of events."""
        ...

    def stateful(self, body: Json) -> bool:
        """Whether the provider holds earlier turns itself: such requests are never trimmed."""
        ...

    def conversation(self, body: Json) -> str | None:
        """An id by which an agent tells its conversations apart, where it sends one."""
        ...

    def chore(self, body: Json) -> bool:
        """Whether a client asks for its own housekeeping (a title, tags, a summary)."""
        ...

    def system_text(self, body: Json) -> str:
        """The system prompt outside the message list; "" where there is none."""
        ...

    def turns(self, body: Json) -> tuple[Turn, ...]:
        """One Turn a message, same indexes."""
        ...

    def strip(self, body: RawBody, fields: frozenset[str]) -> RawBody:
        """Without these top-level fields, and without `memory` on single messages."""
        ...

    def inject(self, body: RawBody, blocks: Mapping[int, str], model: str | None) -> RawBody:
        """With each text put in front of the text of the message at its index.

        Everything else stays byte for byte. Where `model` takes a system message after a user
        turn, the text becomes one there instead.
        """
        ...

    def keep(self, body: RawBody, indexes: Sequence[int]) -> RawBody:
        """With only the messages at `indexes` (ascending)."""
        ...

    def lead(self, body: RawBody, turns: Sequence[Turn]) -> RawBody:
        """With `turns` as messages in front of the first that is not a system message."""
        ...

    def reader(self, *, streamed: bool) -> ReplyReader:
        """A fresh reader for one answer; `streamed` by the answer's content type."""
        ...

    def error(self, status: int, message: str, hint: str) -> Json:
        """An error of ours in the shape that this provider's SDKs understand."""
        ...
