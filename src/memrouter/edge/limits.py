"""What a key may use: requests a minute, tokens a month. Optional, each key's own.

With several workers: each counts requests a minute by itself, so that up to as many times the rate
may pass. The quota is everybody's; what other workers counted is seen within three seconds, and a
request that has begun is never cut off, so a key may end a little over it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from datetime import date, timedelta
from time import perf_counter

from memrouter.domain import KeyId, KeyRecord
from memrouter.edge.admission import Admission
from memrouter.edge.asgi import Request
from memrouter.edge.callers import Caller, Callers
from memrouter.edge.usage import Meter
from memrouter.errors import QuotaExhausted, RateLimited
from memrouter.ports import Clock, Directory

_MINUTE_S = 60.0
_FORGOTTEN = 2
"""Full buckets that are forgotten for each new one: as there are two, they do not pile up."""


class Buckets:
    """A bucket of requests for each key: full at first, filled up within a minute."""

    def __init__(self, now_s: Callable[[], float] = perf_counter) -> None:
        self._now_s = now_s
        self._levels: OrderedDict[KeyId, tuple[float, float]] = OrderedDict()
        """How full each was, and when that was, the oldest first."""

    def take(self, key: KeyId, rate_per_minute: int) -> float:
        """Take a request out. Returns 0, or the seconds until there is one again."""
        now = self._now_s()
        level, at = self._levels.get(key, (float(rate_per_minute), now))
        per_second = rate_per_minute / _MINUTE_S
        level = min(float(rate_per_minute), level + (now - at) * per_second)
        wait_s = 0.0 if level >= 1 else (1 - level) / per_second
        if key not in self._levels:
            self._forget_full(now)
        self._levels[key] = (level if wait_s else level - 1, now)
        self._levels.move_to_end(key)
        return wait_s

    def _forget_full(self, now: float) -> None:
        """Forget some that are full whatever their rate."""
        for _ in range(min(_FORGOTTEN, len(self._levels))):
            oldest, (_level, at) = next(iter(self._levels.items()))
            if now - at < _MINUTE_S:
                return
            del self._levels[oldest]


class Limits:
    """Holds keys to what they may use."""

    def __init__(self, meter: Meter, clock: Clock, buckets: Buckets | None = None) -> None:
        self._meter = meter
        self._clock = clock
        self._buckets = buckets or Buckets()

    async def admit(self, key: KeyRecord, *, spends: bool) -> None:
        """Raise RateLimited or QuotaExhausted if this request is one too many.

        spends  whether it may cost tokens; reading and deleting is possible without any
        """
        if key.rate_per_minute is not None:
            wait_s = self._buckets.take(key.id, key.rate_per_minute)
            if wait_s:
                raise RateLimited(
                    f"This key may send {key.rate_per_minute} requests a minute",
                    f"Wait as Retry-After says, or have the limit of {key.id} raised",
                    retry_after_s=wait_s,
                )
        if spends and key.quota_tokens is not None:
            used = await self._meter.month_tokens(key.id)
            if used >= key.quota_tokens:
                reset = _next_month(self._clock.now().date())
                raise QuotaExhausted(
                    f"The token quota of this key is used up: {used:,} of {key.quota_tokens:,}",
                    f"It starts anew on {reset}; until then, have the quota of {key.id} raised",
                )


class LimitedCallers(Callers):
    """Identifies callers, and lets none through that is over its limits, or the router over its."""

    def __init__(
        self,
        directory: Directory,
        limits: Limits,
        admission: Admission,
        *,
        user_headers: tuple[str, ...] = (),
        session_headers: tuple[str, ...] = (),
        bounds_by_default: bool = False,
    ) -> None:
        super().__init__(
            directory,
            user_headers=user_headers,
            session_headers=session_headers,
            bounds_by_default=bounds_by_default,
        )
        self._limits = limits
        self._admission = admission

    async def identify(self, request: Request) -> Caller:
        """The caller of a request, which has a place from now on until its edge gives it back.

        Raises Unauthorized, Overloaded, RateLimited or QuotaExhausted.
        """
        caller = await super().identify(request)
        if request.place is None:
            request.place = self._admission.enter(caller.key.id)
        await self._limits.admit(caller.key, spends=request.method == "POST")
        return caller


def _next_month(day: date) -> date:
    return (day.replace(day=28) + timedelta(days=4)).replace(day=1)
