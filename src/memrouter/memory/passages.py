"""Memories of one moment stand together in a block, under one mark: a mark and its date take half
as many tokens as a turn.

Pure. A memory joins the best one that was said shortly before or after it in its conversation, so
that what a block takes is known while it is chosen.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from memrouter.domain import Budget, Chunk

MOMENT_S = 300
"""How long before or after the best of them the others of a passage were said."""
LINE_TOKENS = 18
"""What the first line of a passage costs beside its text: mark, age and date."""
JOINED_TOKENS = 3
"""What a memory that joins another costs beside its text: a new line, and what tells of a gap."""

_APART = timedelta(seconds=MOMENT_S)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Passages:
    """Memories sorted into passages, the best first."""

    def __init__(self) -> None:
        self._all: list[list[Chunk]] = []
        self._places: dict[tuple[str, str], dict[int, int]] = {}
        """Session and conversation → moment → place of the passage whose best memory is of that
        moment; there is one at most."""

    def place(self, chunk: Chunk) -> int | None:
        """Where a memory would join others; None if it would stand by itself."""
        if not chunk.conversation:  # uploads: nothing says what was said together
            return None
        places = self._places.get((chunk.session, chunk.conversation))
        if places is None:
            return None
        near = _moment(chunk)
        found = [
            place
            for moment in (near - 1, near, near + 1)
            if (place := places.get(moment)) is not None
            and -_APART <= chunk.created - self._all[place][0].created <= _APART
        ]
        return min(found, default=None)

    def add(self, chunk: Chunk, place: int | None) -> None:
        """Add the next best memory, where `place` says."""
        if place is not None:
            self._all[place].append(chunk)
            return
        if chunk.conversation:
            places = self._places.setdefault((chunk.session, chunk.conversation), {})
            places[_moment(chunk)] = len(self._all)
        self._all.append([chunk])

    def in_order(self) -> list[list[Chunk]]:
        """The passages, the one with the best memory first; each as it was said."""
        return [
            sorted(passage, key=_as_said) if len(passage) > 1 else passage for passage in self._all
        ]


def _moment(chunk: Chunk) -> int:
    return (chunk.created - _EPOCH) // _APART


def _as_said(chunk: Chunk) -> tuple[int, int]:
    return chunk.position, chunk.id


def _cost(chunk: Chunk, place: int | None) -> int:
    """Tokens that a memory adds."""
    return chunk.tokens + (LINE_TOKENS if place is None else JOINED_TOKENS)


def sorted_into(chunks: Sequence[Chunk]) -> list[list[Chunk]]:
    """Memories, best first, as passages."""
    passages = Passages()
    for chunk in chunks:
        passages.add(chunk, passages.place(chunk))
    return passages.in_order()


def tokens(chunks: Sequence[Chunk]) -> int:
    """About what memories take in a block."""
    passages = Passages()
    total = 0
    for chunk in chunks:
        place = passages.place(chunk)
        total += _cost(chunk, place)
        passages.add(chunk, place)
    return total


def fitting(chunks: Sequence[Chunk], budget: Budget) -> list[Chunk]:
    """What of these memories, best first, fits a budget.

    What is too big is skipped, smaller ones after it may still fit.
    """
    passages = Passages()
    chosen: list[Chunk] = []
    left = budget.tokens
    for chunk in chunks:
        if len(chosen) == budget.memories:
            break
        place = passages.place(chunk)
        if (cost := _cost(chunk, place)) <= left:
            passages.add(chunk, place)
            chosen.append(chunk)
            left -= cost
    return chosen


def follows(chunk: Chunk, before: Chunk) -> bool:
    """Whether nothing was said between two memories of a passage."""
    if chunk.turn == before.turn:
        return chunk.id == before.id + 1
    return chunk.position == before.position + 1
