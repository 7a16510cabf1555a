from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from memrouter.store.sqlite.vault import millis, moment, storable, unpacked

TIMES: dict[str, tuple[datetime, int]] = {
    "the epoch": (datetime(1970, 1, 1, tzinfo=UTC), 0),
    "before it": (datetime(1969, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC), -1),
    "now": (datetime(2026, 6, 5, 21, 0, 0, 123_000, tzinfo=UTC), 1_780_693_200_123),
    "elsewhere": (datetime(1970, 1, 1, 2, tzinfo=timezone(timedelta(hours=2))), 0),
    "far off": (datetime(9999, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC), 253_402_300_799_999),
}


@pytest.mark.parametrize(("time", "ms"), TIMES.values(), ids=TIMES)
def test_times_are_kept_to_the_millisecond(time: datetime, ms: int) -> None:
    assert millis(time) == ms
    assert moment(ms) == time
    assert moment(millis(time + timedelta(microseconds=999))) == time


def test_texts_can_always_be_kept() -> None:
    for text in ("", "plain", "Zoë \U0001f600\0"):
        assert storable(text) == text
    assert storable("a\ud800b") == "a?b"


def test_ids_of_a_block_are_unpacked() -> None:
    assert unpacked(b"\1" + b"\0" * 7 + b"\2" + b"\0" * 7) == (1, 2)
