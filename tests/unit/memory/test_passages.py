from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memrouter.domain import Budget, Chunk
from memrouter.memory import passages
from memrouter.memory.passages import JOINED_TOKENS, LINE_TOKENS, MOMENT_S

NOON = datetime(2026, 6, 3, 12, 0, tzinfo=UTC)


def said(
    position: int,
    after_s: float,
    *,
    conversation: str = "talk",
    session: str = "",
    tokens: int = 10,
    id: int = 0,
    turn: int = 0,
) -> Chunk:
    return Chunk(
        id=id or position,
        turn=turn or position,
        role="user",
        text=str(position),
        tokens=tokens,
        created=NOON + timedelta(seconds=after_s),
        session=session,
        conversation=conversation,
        position=position,
    )


TOGETHER: dict[str, tuple[list[Chunk], list[list[int]]]] = {
    "none": ([], []),
    "as they were said, not by rank": ([said(3, 60), said(1, 0), said(2, 30)], [[1, 2, 3]]),
    "as long as a moment is": ([said(1, 0), said(9, MOMENT_S)], [[1, 9]]),
    "not longer": ([said(1, 0), said(9, MOMENT_S + 1)], [[1], [9]]),
    "the moment is that of the best": (
        [said(5, 0), said(9, MOMENT_S), said(1, -MOMENT_S)],
        [[1, 5, 9]],
    ),
    "the best first": ([said(9, 900), said(1, 0), said(8, 890)], [[8, 9], [1]]),
    "the better of two moments": (
        [said(9, MOMENT_S + 100), said(1, 0), said(5, 200)],
        [[5, 9], [1]],
    ),
    "conversations apart": ([said(1, 0), said(2, 0, conversation="other")], [[1], [2]]),
    "sessions apart": ([said(1, 0), said(2, 0, session="other")], [[1], [2]]),
    "uploads apart": ([said(1, 0, conversation=""), said(2, 0, conversation="")], [[1], [2]]),
}


@pytest.mark.parametrize(("chunks", "expected"), TOGETHER.values(), ids=TOGETHER)
def test_what_stands_together(chunks: list[Chunk], expected: list[list[int]]) -> None:
    found = passages.sorted_into(chunks)
    assert [[chunk.position for chunk in passage] for passage in found] == expected


def test_parts_of_a_turn_keep_their_order() -> None:
    parts = [said(4, 0, id=12, turn=7), said(4, 0, id=11, turn=7)]
    [passage] = passages.sorted_into(parts)
    assert [chunk.id for chunk in passage] == [11, 12]


FOLLOWS: dict[str, tuple[Chunk, Chunk, bool]] = {
    "the next turn": (said(1, 0), said(2, 0), True),
    "one between": (said(1, 0), said(3, 0), False),
    "another answer to the same turn": (said(1, 0), said(1, 0, id=5, turn=5), False),
    "the next part": (said(1, 0, id=11, turn=7), said(1, 0, id=12, turn=7), True),
    "a part between": (said(1, 0, id=11, turn=7), said(1, 0, id=13, turn=7), False),
}


@pytest.mark.parametrize(("before", "chunk", "expected"), FOLLOWS.values(), ids=FOLLOWS)
def test_whether_something_was_said_between(before: Chunk, chunk: Chunk, expected: bool) -> None:
    assert passages.follows(chunk, before) is expected


def test_what_joins_another_costs_less() -> None:
    apart, near = said(9, 10 * MOMENT_S), said(2, 30)
    assert passages.tokens([said(1, 0)]) == 10 + LINE_TOKENS
    assert passages.tokens([said(1, 0), near]) == 20 + LINE_TOKENS + JOINED_TOKENS
    assert passages.tokens([said(1, 0), apart]) == 2 * (10 + LINE_TOKENS)
    budget = Budget(memories=9, tokens=20 + LINE_TOKENS + JOINED_TOKENS)
    assert passages.fitting([said(1, 0), apart, near], budget) == [said(1, 0), near]


@given(
    st.lists(st.tuples(st.integers(1, 50), st.integers(0, 4_000)), max_size=20),
    st.integers(0, 400),
    st.integers(0, 20),
)
def test_what_fits_a_budget(sizes: list[tuple[int, int]], tokens: int, count: int) -> None:
    chunks = [said(n, at, tokens=size) for n, (size, at) in enumerate(sizes, start=1)]
    chosen = passages.fitting(chunks, Budget(memories=count, tokens=tokens))
    assert [chunk for chunk in chunks if chunk in chosen] == chosen
    assert len(chosen) <= count
    assert passages.tokens(chosen) <= tokens
    for chunk in chunks:
        if chunk not in chosen and len(chosen) < count:
            better = [c for c in chosen if c.position < chunk.position]
            assert passages.tokens([*better, chunk]) > tokens
    together = passages.sorted_into(chunks)
    assert sorted(c.id for passage in together for c in passage) == [c.id for c in chunks]
    spans = [(p[-1].created - p[0].created).total_seconds() for p in map(_by_time, together)]
    assert all(span <= 2 * MOMENT_S for span in spans)


def _by_time(passage: list[Chunk]) -> list[Chunk]:
    return sorted(passage, key=lambda chunk: chunk.created)
