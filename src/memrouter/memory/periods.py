"""The time a question asks about, as words of it say: "yesterday", "in May 2023", "as of March"."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import reduce
from operator import or_

from memrouter.memory import clues

_MONTHS = "january february march april may june july august september october november december"
_DAYS = "monday tuesday wednesday thursday friday saturday sunday"
_NUMBERS = "one two three four five six seven eight nine ten eleven twelve"


def _numbered(names: str, start: int) -> dict[str, int]:
    return {name: number for number, name in enumerate(names.split(), start=start)}


_MONTH = {short: n for m, n in _numbered(_MONTHS, 1).items() for short in (m, m[:3])} | {"sept": 9}
_DAY = _numbered(_DAYS, 0)
_VAGUE = {"couple": 2, "few": 3, "several": 4}
_NUMBER = _numbered(_NUMBERS, 1) | {"a": 1, "an": 1} | _VAGUE
# "may" is a verb as well: without a day or a year it wants a word like "in" before it.
_M = rf"(?P<month>{'|'.join(sorted(_MONTH, key=len, reverse=True))})\.?"
_Y = r"(?P<year>(?:19|20)\d\d)"
_D = r"(?P<day>[12]\d|3[01]|0?[1-9])(?:st|nd|rd|th)?"
_UP_TO = re.compile(r"\b(?:as of|as at|until|till|up to|up until)\b")

_YESTERDAY = (
    r"\byesterday\b|\blast night\b|\bgestern\b|\bayer\b|\bieri\b|\bontem\b|вчера|昨天|昨日|어제"
)
_TODAY = (
    r"\btoday\b|\bthis (?:morning|afternoon|evening)\b|\bheute\b|\bhoy\b|\boggi\b|"
    r"сегодня|今天|今日|오늘"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """From `start` to before `end`, both aware."""

    start: datetime
    end: datetime
    up_to: bool = False
    """Whether all that was said before `end` counts, as in "as of March"."""
    words: tuple[int, int] = (0, 0)
    """Where in the question it is named."""


_Found = tuple[datetime, datetime]


def period(text: str, now: datetime, likely: int = clues.ANY) -> Period | None:
    """The first period that a question names; None if it names none.

    now     when it is asked, in the zone of who asks
    likely  clues of its words, if they are Latin
    """
    if not likely & _NEEDED:
        return None
    low = text.lower()
    for needed, pattern, resolve in _FORMS:
        match = pattern.search(low) if likely & needed else None
        if match is None:
            continue
        try:
            found = resolve(match, now)
        except (ValueError, OverflowError):  # 31 June, the year 0, 99999 years ago
            continue
        lead = low[max(0, match.start() - 10) : match.end()]
        return Period(
            start=found[0],
            end=now if match[0].startswith("since ") else found[1],
            up_to=bool(_UP_TO.search(lead)),
            words=match.span(),
        )
    return None


def _day(at: datetime) -> datetime:
    return at.replace(hour=0, minute=0, second=0, microsecond=0)


def _one_day(start: datetime) -> _Found:
    return _day(start), _day(start) + timedelta(days=1)


def _back(now: datetime, days: int) -> _Found:
    return _one_day(now - timedelta(days=days))


def _date(match: re.Match[str], now: datetime) -> _Found:
    month, day = _MONTH[match["month"]], int(match["day"])
    if match["year"]:
        return _one_day(_day(now).replace(year=int(match["year"]), month=month, day=day))
    start = _day(now).replace(month=month, day=day)
    return _one_day(start if start <= now else start.replace(year=now.year - 1))


def _iso(match: re.Match[str], now: datetime) -> _Found:
    year, month, day = int(match["year"]), int(match["m"]), int(match["day"])
    return _one_day(_day(now).replace(year=year, month=month, day=day))


def _month(match: re.Match[str], now: datetime) -> _Found:
    month = _MONTH[match["month"]]
    first = _day(now).replace(month=month, day=1)
    if match["year"]:
        first = first.replace(year=int(match["year"]))
    elif first > now:
        first = first.replace(year=now.year - 1)
    return first, _next_month(first)


def _year(match: re.Match[str], now: datetime) -> _Found:
    first = _day(now).replace(year=int(match["year"]), month=1, day=1)
    return first, first.replace(year=first.year + 1)


def _next_month(first: datetime) -> datetime:
    return (first + timedelta(days=31)).replace(day=1)


def _weekday(match: re.Match[str], now: datetime) -> _Found:
    back = (now.weekday() - _DAY[match["weekday"]]) % 7 or 7
    return _one_day(now - timedelta(days=back))


def _last(match: re.Match[str], now: datetime) -> _Found:
    """`last week` is the calendar week before this one, or the last seven days: both."""
    back = match["which"] != "this"
    today = _day(now)
    if match["unit"] == "week":
        start = today - timedelta(days=today.weekday() + 7 * back)
        return start, start + timedelta(days=7 * (1 + back))
    if match["unit"] == "weekend":
        start = today - timedelta(days=(today.weekday() - 5) % 7)
        return start, start + timedelta(days=2)
    first = today.replace(day=1) if match["unit"] == "month" else today.replace(month=1, day=1)
    if not back:
        return first, today + timedelta(days=1)
    before = first - timedelta(days=1)
    start = before.replace(day=1) if match["unit"] == "month" else before.replace(month=1, day=1)
    return start, first


def _ago(match: re.Match[str], now: datetime) -> _Found:
    """`three weeks ago`, give or take: half a unit on both sides."""
    count = int(match["count"]) if match["count"].isdigit() else _NUMBER[match["count"]]
    days = {"day": 1.0, "week": 7.0, "month": 30.4, "year": 365.25}[match["unit"]]
    if match["unit"] == "day":
        vague = timedelta(days=2 if match["count"] in _VAGUE else 0)
        start, end = _one_day(now - timedelta(days=count))
        return start - vague, end + vague
    middle = now - timedelta(days=days * count)
    return middle - timedelta(days=days / 2), middle + timedelta(days=days / 2)


_WITH_COUNT = rf"(?:a )?(?P<count>\d{{1,4}}|{'|'.join(_NUMBER)})(?: of)?"
_IN_MONTH = clues.one_of(_MONTH)
_IN_YEAR = clues.one_of(f"{century}{year:02}" for century in (19, 20) for year in range(100))
_PATTERNS: tuple[tuple[int, str, Callable[[re.Match[str], datetime], _Found]], ...] = (
    (_IN_YEAR, rf"\b{_Y}-(?P<m>\d\d)-(?P<day>\d\d)\b", _iso),
    (_IN_MONTH, rf"\b{_D}(?: of)? {_M}(?:,? {_Y})?\b", _date),
    (_IN_MONTH, rf"\b{_M} {_D}\b(?:,? {_Y})?", _date),
    (_IN_MONTH, rf"\b{_M}(?: of)?,? {_Y}\b", _month),
    (clues.one_of("yesterday vorgestern".split()), r"\bday before yesterday\b|\bvorgestern\b|前天",
     lambda _, now: _back(now, 2)),
    (clues.one_of("yesterday night gestern ayer ieri ontem".split()), _YESTERDAY,
     lambda _, now: _back(now, 1)),
    (clues.one_of("today morning afternoon evening heute hoy oggi".split()), _TODAY,
     lambda _, now: _back(now, 0)),
    (clues.one_of("ago".split()), rf"\b{_WITH_COUNT} (?P<unit>day|week|month|year)s? ago\b", _ago),
    (clues.one_of("weekend week month year".split()),
     r"\b(?P<which>last|past|previous|this) (?P<unit>weekend|week|month|year)\b", _last),
    (clues.one_of(_DAY),
     rf"\b(?:last|on|this past|past) (?P<weekday>{'|'.join(_DAY)})\b", _weekday),
    (_IN_MONTH, rf"\b(?:in|during|since|last|of|until|till|up to|around)"
     rf"(?: early| late| mid)? {_M}(?P<year>(?!))?(?![\w'])", _month),
    (_IN_YEAR, rf"\b(?:in|during|since|of|until|till) {_Y}\b", _year),
)  # fmt: skip
"""What names a period, and in front of it words of which one then stands in a Latin text."""
_FORMS = tuple((needed, re.compile(form), made) for needed, form, made in _PATTERNS)
_NEEDED = reduce(or_, (needed for needed, _, _ in _PATTERNS))
