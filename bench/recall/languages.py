"""Small histories in five languages, two of them written without spaces between words."""

from __future__ import annotations

import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path

from .data import History, Question, Turn

MATERIAL = Path(__file__).parent / "material" / "languages.toml"
START = datetime(2024, 3, 1, 9, 0, tzinfo=UTC)


def histories() -> list[History]:
    """One history a language: what the user said of themselves among what they asked for."""
    material = tomllib.loads(MATERIAL.read_text("utf-8"))
    return [
        _history(name, fillers, material["fact"]) for name, fillers in material["fillers"].items()
    ]


def _history(language: str, fillers: list[str], facts: list[dict[str, str]]) -> History:
    own = [fact for fact in facts if fact["language"] == language]
    turns: list[Turn] = []
    questions: list[Question] = []
    for day, fact in enumerate(own):
        questions.append(Question(text=fact["ask"], category=language, evidence=(len(turns),)))
        said = (fact["say"], fillers[day % len(fillers)], fillers[(3 * day + 1) % len(fillers)])
        for place, text in enumerate(said):
            created = START + timedelta(days=2 * day, minutes=place)
            turns.append(Turn(role="user", text=text, created=created, session=str(day)))
    return History(name=language, turns=tuple(turns), questions=tuple(questions))
