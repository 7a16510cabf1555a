"""Whose words a question asks for, and which rows they wrote."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from memrouter.domain import ROLES, Role
from memrouter.memory import analysis, authors, question, scoring
from memrouter.ports import Signals

pytestmark = pytest.mark.usefixtures("either_way")

START = datetime(2024, 3, 1, 9, 0, tzinfo=UTC)
NOW = datetime(2024, 6, 1, tzinfo=UTC)

Said = tuple[Role, str]


def signals(said: Sequence[Said], memories: Sequence[int] | None = None) -> Signals:
    """Rows of one conversation, a minute apart."""
    created = [START + timedelta(minutes=n) for n in range(len(said))]
    packed = [analysis.index_terms(x, c) for (_, x), c in zip(said, created, strict=True)]
    count = len(said)
    return Signals(
        revision=1,
        ids=np.arange(count, dtype=np.int64),
        memories=np.array(memories or range(count), np.int64),
        groups=np.ones(count, np.int64),
        created=np.array([int(c.timestamp() * 1_000) for c in created], np.int64),
        roles=np.array([ROLES.index(role) for role, _ in said], np.uint8),
        digests=np.zeros(count, np.uint64),
        terms=np.frombuffer(b"".join(packed), "<u4").astype(np.uint32),
        starts=np.concatenate(([0], np.cumsum([len(p) // 4 for p in packed]))).astype(np.int64),
        vectors=np.zeros((count, 4), np.int8),
        embedded=np.zeros(count, np.bool_),
        embedder="",
        encodings=np.zeros((count, 0), np.int8),
        encoded=np.zeros(count, np.bool_),
        encoder="",
    )


def asked_for(rows: Signals, text: str) -> list[float] | None:
    """How much each row is by whom the question asks for."""
    asked = question.read(text, "", NOW)
    looked = scoring.look_up(rows, asked)
    found = authors.asked_for(rows, looked.threads, asked, looked.there, looked.found)
    return None if found is None else found.tolist()


NAMED: list[Said] = [("user", x) for x in ("Ann: hello", "Bob: hi", "Ann: bye") * 3]


def test_names_in_front_tell_who_wrote_it() -> None:
    assert asked_for(signals(NAMED), "what does ann think?") == [1, 0, 1] * 3
    assert asked_for(signals(NAMED), "What does Bob think of Ann?") == [1, 1, 1] * 3
    assert asked_for(signals(NAMED), "What does Zoe think?") is None


def test_a_heading_is_no_author() -> None:
    notes: list[Said] = [("user", x) for x in ("Recipe: goulash", *["bread"] * 20)]
    assert asked_for(signals(notes), "the recipe of the goulash") is None


def test_all_chunks_of_a_turn_are_by_its_author() -> None:
    more: list[Said] = [("user", x) for x in ("Bob: one", "two", "Ann: three")]
    rows = signals([*NAMED, *more], memories=[*range(9), 9, 9, 10])
    assert asked_for(rows, "What does Bob think?") == [0, 1, 0] * 3 + [1, 1, 0]


CALLED: list[Said] = [("user", "Good news, Melanie!"), ("assistant", "Tell me, Caroline.")] * 8


def test_a_name_that_one_side_says_is_the_name_of_the_other() -> None:
    assert asked_for(signals(CALLED), "What did Melanie paint?") == [0, 1] * 8
    assert asked_for(signals(CALLED), "What did Caroline paint?") == [1, 0] * 8


def test_without_roles_sides_are_every_other_turn() -> None:
    plain: list[Said] = [("user", text) for _, text in CALLED]
    assert asked_for(signals(plain), "What did Melanie paint?") == [0, 1] * 8


def test_what_both_sides_say_is_nobody_s_name() -> None:
    both: list[Said] = [("user", "I like Python"), ("assistant", "So Python it is")] * 8
    assert asked_for(signals(both), "What did Python bring?") is None


def test_a_name_counts_half_as_a_word() -> None:
    asked = question.read("What did Melanie paint?", "", NOW)
    weights = {t.hash: t.weight for t in authors.without_names(asked)}
    assert weights[analysis.term_hash(analysis.stem("melanie"))] == authors.NAME
    assert weights[analysis.term_hash(analysis.stem("paint"))] == 1


CHAT: list[Said] = [
    ("user", "I live in Porto"),
    ("assistant", "I see, you live in Porto"),
    ("user", "How do I flatten a list?"),
    ("assistant", "Use a generator"),
]


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("Where do I live?", [1, 0, 0, 0]),
        ("What did you tell me about lists?", [0, 1, 0, 1]),
        ("What did we discuss about Porto?", None),
        ("flatten lists", None),
    ],
)
def test_i_and_you(text: str, rows: list[float] | None) -> None:
    assert asked_for(signals(CHAT), text) == rows


def test_an_empty_question_asks_for_nobody() -> None:
    assert asked_for(signals(CHAT), "") is None
