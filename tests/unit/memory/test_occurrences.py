"""Where words stand, compiled and not."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memrouter.memory import analysis, occurrences
from memrouter.memory.occurrences import Term

from .test_ranking import signals

pytestmark = pytest.mark.usefixtures("either_way")


def test_named_conversations_are_as_they_are() -> None:
    rows = signals(["a"] * 4, groups=[1, 1, 2, 2], minutes=[0, 9_999, 10_000, 10_001])
    assert occurrences.conversations(rows).tolist() == [0, 0, 1, 1]


def test_unnamed_turns_are_cut_at_long_pauses() -> None:
    rows = signals(["a"] * 4, groups=[0] * 4, minutes=[0, 30, 61, 62])
    assert occurrences.conversations(rows).tolist() == [0, 0, 1, 1]


@given(
    st.lists(st.integers(0, 2**32 - 1), max_size=60),
    st.lists(st.integers(0, 2**32 - 1), max_size=20),
)
def test_among_finds_what_is_there(values: list[int], wanted: list[int]) -> None:
    near = [v ^ 0x10000 for v in values[:3]]  # the same low half
    found = occurrences.among(np.array(values, np.uint32), wanted + values[:2] + near)
    expected = {*wanted, *values[:2], *near}
    assert found.tolist() == [v in expected for v in values]


def test_among_looks_at_all_of_64_bits() -> None:
    values = np.array([1, 1 << 40, (1 << 40) + 1], np.uint64)
    assert occurrences.among(values, [1 << 40]).tolist() == [False, True, False]


TEXTS = st.lists(st.text("abc ", max_size=6).map(lambda s: s.replace("", " ")), max_size=12)


@given(TEXTS, st.text("abcd", max_size=4))
def test_places_are_where_a_plain_loop_finds_them(texts: list[str], asked: str) -> None:
    rows = signals(texts)
    wanted = {analysis.term_hash(term): term for term in asked}
    found = occurrences.places(rows, list(wanted))
    expected = Counter(
        (term, n) for n, text in enumerate(texts) for term in analysis.terms(text) if term in asked
    )
    names = [wanted[hash] for hash in found.hashes.tolist()]
    assert Counter(zip(names, found.rows.tolist(), strict=True)) == expected


@given(TEXTS, st.text("abcd", max_size=4))
def test_occurrences_are_counted_in_and_around_their_rows(texts: list[str], asked: str) -> None:
    rows = signals(texts)
    terms = [Term(hash=analysis.term_hash(term)) for term in dict.fromkeys(asked)]
    others = [analysis.term_hash("c")]
    there = occurrences.places(rows, [*(term.hash for term in terms), *others])
    found = occurrences.occurrences(rows, terms, there)
    counts = [
        [list(map(analysis.term_hash, analysis.terms(text))).count(term.hash) for text in texts]
        for term in terms
    ]
    held = {n for row in counts for n, count in enumerate(row) if count}
    near = [n for n in range(len(texts)) if any(abs(n - other) <= 2 for other in held)]
    assert found.rows.tolist() == near
    assert found.counts.tolist() == [[row[n] for n in near] for row in counts]
    matches = np.array([sum(map(bool, row)) for row in counts], np.float32)
    assert found.idf.tolist() == occurrences.idf(matches, len(texts)).tolist()
