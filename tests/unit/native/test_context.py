"""Compiled, the same as in Python."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from memrouter.memory import context

native = pytest.importorskip("memrouter.native.context", reason="there is no C compiler")

NOON = datetime(2026, 6, 3, 12, 0, tzinfo=UTC)
ZONES = st.sampled_from(
    [UTC, ZoneInfo("Europe/Berlin"), ZoneInfo("America/St_Johns"), timezone(timedelta(hours=14))]
)
TIMES = st.datetimes(datetime(1971, 1, 1), datetime(9970, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
AGES = st.timedeltas(timedelta(days=-9), timedelta(days=9_000))


@given(TIMES, AGES, ZONES)
@example(NOON, timedelta(0), UTC)
@example(NOON, timedelta(seconds=60), UTC)
@example(NOON, timedelta(seconds=59, microseconds=999_999), UTC)
@example(NOON, timedelta(days=365), UTC)
@example(NOON, timedelta(microseconds=-1), UTC)
def test_a_mark_is_the_same(created: datetime, since: timedelta, zone: tzinfo) -> None:
    now = created + since
    assert context.mark(created, now, zone) == context.mark_by_format(created, now, zone)


@pytest.mark.parametrize("hour", range(24))
def test_every_hour_is_the_same(hour: int) -> None:
    created = NOON.replace(hour=hour)
    assert context.mark(created, NOON, UTC) == context.mark_by_format(created, NOON, UTC)


@given(st.text() | st.text("ab \n\t\r\x00\x1f\x7f\x85<[\u2028é", max_size=30))
def test_a_text_is_as_inert(text: str) -> None:
    assert context.inert(text) == context.inert_by_search(text)
