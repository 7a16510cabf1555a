"""A retry gets the same answer, as long as nothing changed."""

from __future__ import annotations

from collections.abc import Hashable
from datetime import UTC, datetime, timedelta

import pytest

from memrouter.edge.repeats import Repeats

NOW = datetime(2026, 6, 5, 21, tzinfo=UTC)

CASES: dict[str, tuple[Hashable, Hashable, timedelta, str | None]] = {
    "at once": ("asked", "state", timedelta(0), "answer"),
    "a moment later": ("asked", "state", timedelta(seconds=59), "answer"),
    "a minute later": ("asked", "state", timedelta(seconds=60), None),
    "a clock set back": ("asked", "state", timedelta(hours=-1), None),
    "another state": ("asked", "other", timedelta(0), None),
    "another question": ("other", "state", timedelta(0), None),
}


@pytest.mark.parametrize(("asked", "state", "later", "answer"), CASES.values(), ids=CASES)
def test_what_is_given_again(
    asked: Hashable, state: Hashable, later: timedelta, answer: str | None
) -> None:
    repeats = Repeats[str]()
    assert repeats.put("asked", "state", NOW, "answer") == "answer"
    assert repeats.get(asked, state, NOW + later) == answer


def test_the_oldest_go_first() -> None:
    repeats = Repeats[int](kept=3)
    for n in range(3):
        repeats.put(n, "", NOW, n)
    repeats.put(0, "", NOW, 0)
    repeats.put(3, "", NOW, 3)
    assert [repeats.get(n, "", NOW) for n in range(4)] == [0, None, 2, 3]
