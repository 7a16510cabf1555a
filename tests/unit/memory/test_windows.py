"""How recent a memory is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from memrouter.memory.windows import window

NOW = datetime(2026, 6, 5, 12, 0, tzinfo=UTC)
AGES: dict[str, tuple[timedelta, str]] = {
    "now": (timedelta(), "hot"),
    "the future": (timedelta(hours=-1), "hot"),
    "almost four hours": (timedelta(hours=4, seconds=-1), "hot"),
    "four hours": (timedelta(hours=4), "working"),
    "almost three days": (timedelta(days=3, seconds=-1), "working"),
    "three days": (timedelta(days=3), "longterm"),
    "a century": (timedelta(days=36_500), "longterm"),
}


@pytest.mark.parametrize(("age", "name"), AGES.values(), ids=AGES)
def test_windows(age: timedelta, name: str) -> None:
    assert window(NOW - age, NOW) == name
