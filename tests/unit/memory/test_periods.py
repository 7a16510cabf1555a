"""Times that questions name."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memrouter.memory import analysis, clues, periods
from memrouter.memory.periods import period

NOW = datetime(2024, 6, 12, 15, 30, tzinfo=UTC)  # a Wednesday
LATIN = st.characters(max_codepoint=0x24F)

PERIODS: dict[str, tuple[str, tuple[date, date] | None]] = {
    "nothing": ("What is my name?", None),
    "a verb": ("What may I eat?", None),
    "a march": ("We march along", None),
    "yesterday": ("What did I say yesterday?", (date(2024, 6, 11), date(2024, 6, 12))),
    "today": ("What did I eat this morning?", (date(2024, 6, 12), date(2024, 6, 13))),
    "the day before": ("the day before yesterday", (date(2024, 6, 10), date(2024, 6, 11))),
    "days ago": ("two days ago", (date(2024, 6, 10), date(2024, 6, 11))),
    "one day ago": ("a day ago", (date(2024, 6, 11), date(2024, 6, 12))),
    "some days ago": ("a few days ago", (date(2024, 6, 7), date(2024, 6, 12))),
    "weeks ago": ("three weeks ago", (date(2024, 5, 19), date(2024, 5, 26))),
    "last week": ("last week", (date(2024, 6, 3), date(2024, 6, 17))),
    "this week": ("this week", (date(2024, 6, 10), date(2024, 6, 17))),
    "last month": ("last month", (date(2024, 5, 1), date(2024, 6, 1))),
    "last year": ("last year", (date(2023, 1, 1), date(2024, 1, 1))),
    "weekend": ("last weekend", (date(2024, 6, 8), date(2024, 6, 10))),
    "weekday": ("last Monday", (date(2024, 6, 10), date(2024, 6, 11))),
    "same weekday": ("on Wednesday", (date(2024, 6, 5), date(2024, 6, 6))),
    "month with year": ("in May 2023", (date(2023, 5, 1), date(2023, 6, 1))),
    "month before now": ("in May", (date(2024, 5, 1), date(2024, 6, 1))),
    "month to come is last year's": ("in October", (date(2023, 10, 1), date(2023, 11, 1))),
    "December": ("in December 2023", (date(2023, 12, 1), date(2024, 1, 1))),
    "day first": ("on 5 May, 2023", (date(2023, 5, 5), date(2023, 5, 6))),
    "month first": ("on May 5th, 2022", (date(2022, 5, 5), date(2022, 5, 6))),
    "ISO": ("on 2023-02-28", (date(2023, 2, 28), date(2023, 3, 1))),
    "year": ("in 2022", (date(2022, 1, 1), date(2023, 1, 1))),
    "no such day": ("on 2023-02-30", None),
    "before there were years": ("9999 years ago", None),
    "German": ("Was habe ich gestern gesagt?", (date(2024, 6, 11), date(2024, 6, 12))),
    "Chinese": ("我昨天说了什么?", (date(2024, 6, 11), date(2024, 6, 12))),
}


@pytest.mark.parametrize(("text", "dates"), PERIODS.values(), ids=PERIODS)
def test_periods(text: str, dates: tuple[date, date] | None) -> None:
    found = period(text, NOW)
    assert (found and (found.start.date(), found.end.date())) == dates


def test_as_of_counts_all_that_was_before() -> None:
    found = period("As of March, where did I live?", NOW)
    assert found is not None
    assert found.up_to
    assert found.end == datetime(2024, 4, 1, tzinfo=UTC)


def test_since_lasts_until_now() -> None:
    found = period("What have I read since March?", NOW)
    assert found is not None
    assert (found.start, found.end) == (datetime(2024, 3, 1, tzinfo=UTC), NOW)


def test_days_are_those_of_who_asks() -> None:
    tokyo = timezone(timedelta(hours=9))
    found = period("yesterday", datetime(2024, 6, 12, 1, 0, tzinfo=tokyo))
    assert found is not None
    assert found.start == datetime(2024, 6, 10, 15, 0, tzinfo=UTC)


def test_where_it_is_named() -> None:
    text = "What did I say yesterday?"
    found = period(text, NOW)
    assert found is not None
    assert text[slice(*found.words)] == "yesterday"


@given(st.text(), st.datetimes(timezones=st.just(UTC)))
def test_anything_is_read_without_an_error(text: str, now: datetime) -> None:
    found = period(text, now)
    assert found is None or found.start < found.end or "since" in text.lower()


@given(
    st.sampled_from(
        ["1 day ago", "5 weeks ago", "31 june", "29 february", "may 31", "in may 1999"]
    ),
    st.datetimes(timezones=st.just(UTC)),
)
def test_dates_at_the_edges_of_time(text: str, now: datetime) -> None:
    period(text, now)


@pytest.mark.parametrize(("needed", "form"), [f[:2] for f in periods._FORMS], ids=range(12))
@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_what_is_not_looked_for_is_not_there(
    needed: int, form: re.Pattern[str], data: st.DataObject
) -> None:
    """A form is passed over where none of its words is known, and is not found there."""
    text = analysis.normal(data.draw(st.from_regex(form, alphabet=LATIN))).lower()
    if analysis.latin(text) and form.search(text):
        assert any(clues.of(word.word) & needed for word in analysis.query_words(text))
