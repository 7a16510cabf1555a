"""All signals of a question joined, over a vault store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memrouter.domain import NewTurn, Piece, Role, Scope, VaultId
from memrouter.memory import analysis, question, scoring
from memrouter.memory.scoring import Ranked, Similar
from memrouter.ports import Signals
from memrouter.testing.store import MemoryVaultStore

pytestmark = pytest.mark.usefixtures("either_way")

START = datetime(2024, 3, 1, 9, 0, tzinfo=UTC)
NOW = datetime(2024, 6, 12, 12, 0, tzinfo=UTC)
VAULT = VaultId("v")


async def signals(said: Sequence[tuple[Role, str, datetime]]) -> Signals:
    """What a store holds of these turns."""
    store = MemoryVaultStore()
    turns = [
        NewTurn(
            role=role,
            text=text,
            created=created,
            pieces=(Piece(text=text, tokens=9, terms=analysis.index_terms(text, created)),),
        )
        for role, text, created in said
    ]
    await store.remember(VAULT, turns, now=NOW)
    return await store.signals(Scope(vault=VAULT))


def rank(
    rows: Signals, text: str, likeness: Similar | None = None, excluded: list[bool] | None = None
) -> Ranked:
    """A question asked now; all rows."""
    asked = question.read(text, "", NOW)
    looked = scoring.look_up(rows, asked)
    return scoring.rank(
        rows,
        asked,
        looked,
        likeness or Similar(),
        count=100,
        excluded=None if excluded is None else np.array(excluded),
    )


def user(*texts: str) -> list[tuple[Role, str, datetime]]:
    """Turns on days of their own."""
    return [("user", text, START + timedelta(days=n)) for n, text in enumerate(texts)]


async def test_words_alone_rank_where_there_are_no_vectors() -> None:
    rows = await signals(user("bread", "I live in Porto", "cheese"))
    ranked = rank(rows, "Where is Porto?")
    assert ranked.rows[0] == 1
    assert ranked.relevance > 0


async def test_vectors_find_what_words_do_not() -> None:
    rows = await signals(user("bread", "cheese", "wine"))
    rows = replace(rows, embedded=np.ones(3, np.bool_))
    near = np.array([0.1, 0.1, 0.9], np.float32)
    assert rank(rows, "grapes", Similar(weighted=near, plain=near)).rows[0] == 2
    assert rank(rows, "grapes", Similar(encoder=near)).rows[0] == 2


async def test_encoders_for_which_all_texts_are_alike_are_as_sure_as_others() -> None:
    rows = replace(await signals(user("bread", "cheese", "wine")), embedded=np.ones(3, np.bool_))
    near = np.array([0.1, 0.1, 0.7], np.float32)
    plain = rank(rows, "grapes", Similar(encoder=near)).relevance
    crowded = rank(rows, "grapes", Similar(encoder=0.8 + 0.2 * near)).relevance
    assert crowded == pytest.approx(plain, abs=1e-5)
    assert plain > rank(rows, "grapes", Similar(encoder=near[[0, 0, 0]])).relevance


async def test_what_is_excluded_is_neither_found_nor_relevant() -> None:
    rows = await signals(user("I live in Porto", "bread"))
    ranked = rank(rows, "Where do I live?", excluded=[True, False])
    assert ranked.rows.tolist() == [1]
    assert ranked.relevance < rank(rows, "Where do I live?").relevance
    nothing = rank(rows, "Where do I live?", excluded=[True, True])
    assert nothing.rows.tolist() == []
    assert nothing.relevance == 0


async def test_of_equal_statements_the_newest_is_first() -> None:
    rows = await signals(user("My cat is called Rex", "bread", "My cat is called Luna"))
    ranked = rank(rows, "What is my cat called?")
    assert ranked.rows[0] == 2
    assert ranked.scores[0] == ranked.scores.max()


async def test_a_past_month_ends_with_it() -> None:
    said = user("My cat is called Rex", "My cat is called Luna")
    said[1] = (*said[1][:2], NOW - timedelta(days=1))
    rows = await signals(said)
    ranked = rank(rows, "As of March, what was my cat called?")
    assert ranked.rows.tolist() == [0]


async def test_what_was_said_in_a_time_comes_first() -> None:
    said = user("the garden is green", "the garden is brown")
    said[1] = (*said[1][:2], NOW - timedelta(days=1))
    rows = await signals(said)
    assert rank(rows, "What was said about the garden yesterday?").rows[0] == 1
    assert rank(rows, "What was said about the garden in March?").rows[0] == 0


async def test_a_day_is_recalled_whole() -> None:
    said = user("bread", "cheese", "wine")
    said[2] = (*said[2][:2], NOW - timedelta(days=1))
    rows = await signals(said)
    ranked = rank(rows, "What did I say yesterday?")
    assert ranked.rows.tolist() == [2]
    assert ranked.relevance == 1
    assert rank(rows, "What did I say today?").relevance == 0


async def test_all_that_is_known_of_the_asker() -> None:
    rows = await signals(user("How do I bake bread?", "My name is Ada and I live in Porto"))
    ranked = rank(rows, "What do you know about me?")
    assert ranked.rows[0] == 1
    assert ranked.relevance == 1
    nobody = await signals(user("Explain bread"))
    assert rank(nobody, "What do you know about me?").relevance == 0


async def test_one_row_and_equal_rows() -> None:
    one = await signals(user("Porto"))
    assert rank(one, "Porto").rows.tolist() == [0]
    rows = await signals(user(*["Porto"] * 300))
    ranked = rank(rows, "Porto")
    assert len(ranked.rows) == 100
    assert np.isfinite(ranked.scores).all()


@settings(max_examples=50)
@given(
    st.lists(st.tuples(st.sampled_from(["user", "assistant"]), st.text(max_size=30)), max_size=9),
    st.text(max_size=60),
)
async def test_anything_can_be_ranked(said: list[tuple[Role, str]], text: str) -> None:
    turns = [(r, x, START + timedelta(hours=n)) for n, (r, x) in enumerate(said) if x.strip()]
    rows = await signals([(r, x.replace("\ud800", ""), t) for r, x, t in turns])
    if len(rows.ids) == 0:
        return
    ranked = rank(rows, text)
    assert len(set(ranked.rows.tolist())) == len(ranked.rows) <= len(rows.ids)
    assert np.isfinite(ranked.scores).all()
    assert (np.diff(ranked.scores) <= 0).all()
    assert 0 <= ranked.relevance <= 1.5
