"""What is measured: something that takes histories and ranks their turns."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from .data import History, Question


@dataclass(frozen=True, slots=True, kw_only=True)
class Injected:
    """What would be put into a prompt."""

    places: tuple[int, ...]
    """Turns, best first."""
    tokens: int


class Memory(Protocol):
    """A memory with one history in it."""

    async def search(self, question: str, limit: int, now: datetime | None = None) -> list[int]:
        """Places of the best turns, best first, relevant or not; asked now or at that time."""
        ...


class Recaller(Memory, Protocol):
    """A memory that also decides what is worth injecting."""

    async def inject(self, question: Question, *, memories: int, tokens: int) -> Injected:
        """What a prompt that ends with this question would get."""
        ...


class Subject(Protocol):
    """Makes memories of histories."""

    @property
    def name(self) -> str: ...

    async def remember(self, history: History) -> Memory:
        """Store a history, whole, and make it searchable."""
        ...

    async def close(self) -> None: ...
