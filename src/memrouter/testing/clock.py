"""A clock that stands still until it is told to move."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


class FixedClock:
    """A `Clock` for tests: every reading is the same until `advance` or `set`."""

    def __init__(self, now: datetime | None = None) -> None:
        self._now = now or datetime(2026, 6, 5, 21, 0, tzinfo=UTC)

    def now(self) -> datetime:
        return self._now

    def set(self, now: datetime) -> None:
        """Move to `now`, which must be aware; backwards is allowed, as real clocks do it."""
        if now.tzinfo is None:
            raise ValueError("a clock reads aware times")
        self._now = now.astimezone(UTC)

    def advance(self, *, seconds: float = 0, hours: float = 0, days: float = 0) -> None:
        """Move forward."""
        self._now += timedelta(seconds=seconds, hours=hours, days=days)
