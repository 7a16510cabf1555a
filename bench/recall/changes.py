"""The time test: facts that change, facts that nothing replaced, and days asked for by name."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from .data import History, Turn

MATERIAL = Path(__file__).parent / "material" / "facts.toml"
APART_DAYS = 120
"""Between the values of one attribute: the first is from the first weeks of the year."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """A question about time: `wanted` must rank above all of `others`."""

    kind: str
    text: str
    wanted: int
    others: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeTest:
    """A history with the facts spread over it, the questions, and when they are asked."""

    history: History
    questions: tuple[Timed, ...]
    now: datetime


def over(background: History) -> TimeTest:
    """Spread the facts over the year that starts with a history's first turn."""
    material = tomllib.loads(MATERIAL.read_text("utf-8"))
    start = background.turns[0].created.replace(hour=7)
    now = max(background.turns[-1].created, start + timedelta(days=365)) + timedelta(days=1)
    now = now.replace(hour=12)
    said: list[tuple[Turn, tuple[Any, ...]]] = [(turn, ()) for turn in background.turns]

    def add(when: datetime, text: str, *key: Any) -> None:
        turn = Turn(role="user", text=text, created=when, session="-".join(map(str, key)))
        said.append((turn, key))

    for n, change in enumerate(material["change"]):
        for value, text in enumerate(change["say"]):
            add(start + timedelta(days=n + APART_DAYS * value), text, "change", n, value)
    for n, kept in enumerate(material["kept"]):
        add(start + timedelta(days=2 * n), kept["say"], "kept", n)
    for n, day in enumerate(material["day"]):
        add(now - timedelta(days=day["ago"], hours=n), day["say"], "day", n)
    said.sort(key=lambda pair: pair[0].created)
    place = {key: at for at, (_, key) in enumerate(said) if key}
    turns = tuple(turn for turn, _ in said)
    history = History(name=f"{background.name}, with facts", turns=turns, questions=())
    return TimeTest(history=history, questions=_questions(material, place, start), now=now)


def _questions(
    material: dict[str, Any], place: dict[tuple[Any, ...], int], start: datetime
) -> tuple[Timed, ...]:
    found: list[Timed] = []
    for n, change in enumerate(material["change"]):
        old, middle, current = (place["change", n, value] for value in range(3))
        found.append(
            Timed(kind="current", text=change["ask"], wanted=current, others=(old, middle))
        )
        then = start + timedelta(days=n + APART_DAYS + 70)
        text = f"As of {then:%B %Y}, {change['then']}?"
        found.append(Timed(kind="as of", text=text, wanted=middle, others=(old, current)))
    found += [
        Timed(kind="kept", text=kept["ask"], wanted=place["kept", n])
        for n, kept in enumerate(material["kept"])
    ]
    found += [
        Timed(kind="by day", text=day["ask"], wanted=place["day", n])
        for n, day in enumerate(material["day"])
    ]
    return tuple(found)
