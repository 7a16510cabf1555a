from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from memrouter.testing.clock import FixedClock


def test_it_moves_only_when_told() -> None:
    clock = FixedClock(datetime(2026, 1, 1, tzinfo=UTC))
    assert clock.now() == clock.now() == datetime(2026, 1, 1, tzinfo=UTC)
    clock.advance(days=1, hours=2, seconds=3)
    assert clock.now() == datetime(2026, 1, 2, 2, 0, 3, tzinfo=UTC)
    clock.set(datetime(2025, 1, 1, 1, tzinfo=timezone(timedelta(hours=1))))
    assert clock.now() == datetime(2025, 1, 1, tzinfo=UTC)
    with pytest.raises(ValueError, match="aware"):
        clock.set(datetime(2025, 1, 1))  # noqa: DTZ001
