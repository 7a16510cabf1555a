"""What every data set of the bench becomes: histories with questions whose evidence is known."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

Role = Literal["user", "assistant"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One turn: a memory of the benchmark."""

    role: Role
    text: str
    created: datetime
    session: str
    """Which conversation of the data it is from; uploads do not tell it to the router."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A question, and the places of the turns that hold what answers it; none if never said."""

    text: str
    category: str
    evidence: tuple[int, ...]
    asked: datetime | None = None
    before: tuple[str, ...] = ()
    """What was said just before it, oldest first: what a follow-up question refers to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """One user's vault."""

    name: str
    turns: tuple[Turn, ...]
    questions: tuple[Question, ...]

    @property
    def answerable(self) -> tuple[Question, ...]:
        """The questions that have evidence."""
        return tuple(q for q in self.questions if q.evidence)
