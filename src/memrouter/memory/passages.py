"""Memories of one moment stand together in a block, under one mark: a mark and its date take half
as many tokens as a turn.

Pure. A memory joins the best one that was said shortly before or after it in its conversation, so
that what a block takes is known while it is chosen.
"""

from __future__ import annotations

from collections.abc import Sequence

from memrouter.domain import Budget, Chunk

MOMENT_S = 300
"""How long before or after the best of them the others of a passage were said."""
LINE_TOKENS = 18
"""What the first line of a passage costs beside its text: mark, age and date."""
JOINED_TOKENS = 3
"""What a memory that joins another costs beside its text: a new line, and what tells of a gap."""


class Passages:
    """Memories sorted into passages, the best first."""

    def __init__(self) -> None:
        self._all: list[list[Chunk]] = []
        self._places: dict[tuple[str, str, int], int] = {}
        """Place of the passage whose best memory is of that moment; there is one at most."""

    def cost(self, chunk: Chunk) -> int:
        """Tokens that a memory would add."""
        return chunk.tokens + (LINE_TOKENS if self._joined(chunk) is None else JOINED_TOKENS)

    def add(self, chunk: Chunk) -> None:
        """Add the next best memory."""
        place = self._joined(chunk)
        if place is not None:
            self._all[place].append(chunk)
            return
        if chunk.conversation:
            self._places[chunk.session, chunk.conversation, _moment(chunk)] = len(self._all)
        self._all.append([chunk])

    def in_order(self) -> list[list[Chunk]]:
        """The passages, the one with the best memory first; each as it was said."""
        return [sorted(passage, key=lambda c: (c.position, c.id)) for passage in self._all]

    def _joined(self, chunk: Chunk) -> int | None:
        if not chunk.conversation:  # uploads: nothing says what was said together
            return None
        near = _moment(chunk)
        found = [
            place
            for moment in (near - 1, near, near + 1)
            if (place := self._places.get((chunk.session, chunk.conversation, moment))) is not None
            and abs((chunk.created - self._all[place][0].created).total_seconds()) <= MOMENT_S
        ]
        return min(found, default=None)


def _moment(chunk: Chunk) -> int:
    return int(chunk.created.timestamp() // MOMENT_S)


def sorted_into(chunks: Sequence[Chunk]) -> list[list[Chunk]]:
    """Memories, best first, as passages."""
    passages = Passages()
    for chunk in chunks:
        passages.add(chunk)
    return passages.in_order()


def tokens(chunks: Sequence[Chunk]) -> int:
    """About what memories take in a block."""
    passages = Passages()
    total = 0
    for chunk in chunks:
        total += passages.cost(chunk)
        passages.add(chunk)
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
        if (cost := passages.cost(chunk)) <= left:
            passages.add(chunk)
            chosen.append(chunk)
            left -= cost
    return chosen


def follows(chunk: Chunk, before: Chunk) -> bool:
    """Whether nothing was said between two memories of a passage."""
    if chunk.turn == before.turn:
        return chunk.id == before.id + 1
    return chunk.position == before.position + 1
