"""Scores over rows: words, vectors, authors, sessions, relevance."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from math import log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memrouter.domain import ROLES
from memrouter.memory import analysis, occurrences, ranking
from memrouter.memory.occurrences import Occurrences, Rows, Term
from memrouter.memory.ranking import Words
from memrouter.ports import Signals

pytestmark = pytest.mark.usefixtures("either_way")

START = datetime(2024, 3, 1, 9, 0, tzinfo=UTC)
DIMENSION = 4


def signals(
    texts: Sequence[str],
    *,
    groups: Sequence[int] | None = None,
    minutes: Sequence[int] | None = None,
    roles: Sequence[str] | None = None,
    vectors: Sequence[Sequence[float]] | None = None,
    embedded: Sequence[bool] | None = None,
) -> Signals:
    """Rows of these texts, a minute apart in one conversation unless told otherwise."""
    count = len(texts)
    terms = [np.array([analysis.term_hash(t) for t in analysis.terms(x)], "<u4") for x in texts]
    when = minutes or range(count)
    unit = np.zeros((count, DIMENSION)) if vectors is None else np.array(vectors, float)
    return Signals(
        revision=1,
        ids=np.arange(1, count + 1, dtype=np.int64),
        memories=np.arange(1, count + 1, dtype=np.int64),
        groups=np.array(groups or [1] * count, np.int64),
        created=np.array(
            [int((START + timedelta(minutes=m)).timestamp() * 1_000) for m in when], np.int64
        ),
        roles=np.array([ROLES.index(r) for r in roles or ["user"] * count], np.uint8),
        digests=np.arange(1, count + 1, dtype=np.uint64),
        terms=np.concatenate([*terms, np.zeros(0, "<u4")]).astype(np.uint32),
        starts=np.concatenate(([0], np.cumsum([len(t) for t in terms]))).astype(np.int64),
        vectors=np.rint(unit * 127).astype(np.int8).reshape(count, DIMENSION),
        embedded=np.array([True] * count if embedded is None else embedded, np.bool_),
        embedder="fake",
        encodings=np.zeros((count, 0), np.int8),
        encoded=np.zeros(count, np.bool_),
        encoder="",
    )


def asked(text: str) -> list[Term]:
    """The distinct terms of a question."""
    return [Term(hash=h) for h in dict.fromkeys(map(analysis.term_hash, analysis.terms(text)))]


def found(rows: Signals, terms: Sequence[Term]) -> tuple[Rows, Occurrences]:
    """Where a question's terms stand."""
    there = occurrences.places(rows, [term.hash for term in terms])
    return occurrences.conversations(rows), occurrences.occurrences(rows, terms, there)


def scored(rows: Signals, text: str) -> Words:
    """The words of a question against all rows."""
    terms = asked(text)
    threads, there = found(rows, terms)
    return ranking.score_words(rows, threads, terms, there)


# --- words ---


def test_an_empty_vault_has_nothing() -> None:
    rows = signals([])
    words = scored(rows, "Lisbon")
    assert occurrences.conversations(rows).tolist() == []
    assert words.score.tolist() == []
    assert ranking.best(words.score, 5, np.zeros(0, np.bool_)).tolist() == []
    assert ranking.lift(words.score, occurrences.conversations(rows)).tolist() == []
    assert ranking.worthwhile(words.score).tolist() == []
    assert ranking.cosines(rows, np.ones((2, DIMENSION), np.float32)).shape == (2, 0)


def test_a_word_counts_less_the_further_away_it_is_said() -> None:
    rows = signals(["x"] * 5 + ["Lisbon"] + ["x"] * 5)
    score = scored(rows, "Lisbon").score
    assert score.argmax() == 5
    assert score[4] == score[6] > score[3] == score[7] > score[2] == score[8] == 0


def test_a_window_ends_with_its_conversation() -> None:
    rows = signals(["x", "Lisbon", "x"], groups=[1, 1, 2])
    assert scored(rows, "Lisbon").score[2] == 0
    assert scored(rows, "Lisbon").score[0] > 0


def test_rare_words_count_more() -> None:
    rows = signals(["red car", "red", "red", "blue car"], groups=[1, 2, 3, 4])
    score = scored(rows, "blue red").score
    assert score[3] > score[1]


def test_words_that_nobody_said_count_in_the_denominator() -> None:
    rows = signals(["red car", "blue"], groups=[1, 2])
    assert scored(rows, "red zebra").score[0] < scored(rows, "red").score[0]
    assert scored(rows, "red zebra").coverage[0] == pytest.approx(
        log1p(1, 2) / (log1p(1, 2) + log1p(0, 2))
    )


def log1p(matches: int, rows: int) -> float:
    """BM25's idf with the background."""
    return log(1 + (rows + occurrences.BACKGROUND - matches + 0.5) / (matches + 0.5))


def test_bm25_by_hand() -> None:
    rows = signals(["red red car", "blue"], groups=[1, 2])
    length = 3 / 2  # of the mean, windows being the rows alone
    damping = ranking.K1 * (1 - ranking.B + ranking.B * length)
    assert scored(rows, "red").score[0] == pytest.approx((ranking.K1 + 1) * 2 / (2 + damping))


def test_only_topical_words_are_specific() -> None:
    rows = signals(["Lisbon hello"])
    terms = [Term(hash=t.hash, topical=False) for t in asked("Lisbon")]
    threads, there = found(rows, terms)
    assert ranking.score_words(rows, threads, terms, there).specificity.max() == 0
    assert scored(rows, "Lisbon").specificity.max() > 0


@given(
    st.lists(
        st.text(alphabet="abc 花", max_size=8).map(lambda s: s.replace("a", " car ")), max_size=12
    ),
    st.lists(st.integers(1, 3), min_size=12, max_size=12).map(sorted),
    st.text(alphabet="bc 花", max_size=8),
)
def test_scores_are_what_a_plain_loop_finds(texts: list[str], groups: list[int], text: str) -> None:
    rows = signals(texts, groups=groups[: len(texts)])
    terms = asked(text)
    words = scored(rows, text)
    counts = [
        [
            list(map(analysis.term_hash, analysis.terms(x))).count(term.hash)
            for term in terms
        ]
        for x in texts
    ]  # fmt: skip
    df = [sum(c[t] > 0 for c in counts) for t in range(len(terms))]
    total = sum(log1p(d, len(texts)) for d in df) or 1
    for n in range(len(texts)):
        held = sum(log1p(df[t], len(texts)) for t in range(len(terms)) if counts[n][t])
        assert words.coverage[n] == pytest.approx(held / total, abs=1e-5)
        near = [
            sum(
                share * counts[m][t]
                for d, share in enumerate(occurrences.WINDOW)
                for m in {n - d, n + d}
                if 0 <= m < len(texts) and groups[m] == groups[n]
            )
            for t in range(len(terms))
        ]
        specific = sum(
            log1p(df[t], len(texts)) / log1p(0, len(texts)) * min(near[t], 1)
            for t in range(len(terms))
        )
        assert words.specificity[n] == pytest.approx(specific, abs=1e-5)
        assert (words.score[n] > 0) == any(near)


# --- vectors ---


def test_cosines() -> None:
    rows = signals(["a", "b"], vectors=[[1, 0, 0, 0], [0.6, 0.8, 0, 0]])
    questions = np.array([[1, 0, 0, 0], [0, 1, 0, 0]], np.float32)
    assert ranking.cosines(rows, questions) == pytest.approx(
        np.array([[1, 0.6], [0, 0.8]]), abs=0.01
    )


def test_vectors_of_another_dimension_say_nothing() -> None:
    rows = signals(["a", "b"])
    assert ranking.cosines(rows, np.ones((1, 9), np.float32)).tolist() == [[0, 0]]


def test_centred_cosines_compare() -> None:
    similar = np.array([0.5, 0.6, 1.0, 0.0], np.float32)
    embedded = np.array([True, True, True, False])
    instead = np.full(4, 0.25, np.float32)
    above = ranking.centred(similar, embedded, instead)
    assert above.tolist() == pytest.approx([-2 / 3, -1 / 3, 1, 0.25], abs=1e-5)
    assert ranking.centred(similar, np.zeros(4, np.bool_), instead).tolist() == [0.25] * 4


# --- order ---


def test_a_conversation_lifts_its_rows() -> None:
    lifted = ranking.lift(np.array([1, 0, 0], np.float32), np.array([0, 0, 1]))
    assert lifted.tolist() == pytest.approx([1 + ranking.SESSION, ranking.SESSION, 0])


@given(
    st.lists(st.tuples(st.integers(0, 5).map(float), st.booleans()), max_size=30),
    st.integers(0, 40),
)
def test_best_are_the_highest_and_ties_keep_their_order(
    given: list[tuple[float, bool]], count: int
) -> None:
    scores, admissible = [score for score, _ in given], [may for _, may in given]
    rows = ranking.best(np.array(scores, np.float32), count, np.array(admissible, np.bool_))
    may = [n for n in range(len(scores)) if admissible[n]]
    assert rows.tolist() == sorted(may, key=lambda n: (-scores[n], n))[:count]


def test_what_is_far_below_the_best_is_not_worth_its_tokens() -> None:
    scores = np.array([1.0, 0.5, 0.49], np.float32)
    assert ranking.worthwhile(scores).tolist() == [True, True, False]


NEWER: dict[str, tuple[dict[str, object], list[int]]] = {
    "replaces the older": ({}, [1, 0]),
    "is older": ({"minutes": [5, 0]}, [0, 1]),
    "of another author": ({"roles": ["user", "assistant"]}, [0, 1]),
    "in one conversation": ({"groups": [1, 1]}, [0, 1]),
    "about something else": ({"vectors": [[1, 0, 0, 0], [0, 1, 0, 0]]}, [0, 1]),
    "states nothing": ({"coverage": [1, 0.1]}, [0, 1]),
    "is far less to the point": ({"scores": [1, 0.4]}, [0, 1]),
}


@pytest.mark.parametrize(("other", "order"), NEWER.values(), ids=NEWER)
def test_a_later_statement(other: dict[str, list[int]], order: list[int]) -> None:
    rows = signals(
        ["a", "b"],
        groups=other.get("groups", [1, 2]),
        minutes=other.get("minutes", [0, 9]),
        roles=other.get("roles"),  # type: ignore[arg-type]
        vectors=other.get("vectors", [[1, 0, 0, 0]] * 2),  # type: ignore[arg-type]
    )
    ranked = ranking.newest_first(
        rows,
        occurrences.conversations(rows),
        np.array([0, 1]),
        np.array(other.get("scores", [1, 0.9]), np.float32),
        np.array(other.get("coverage", [1, 1]), np.float32),
        direct=0.5,
    )
    assert ranked.tolist() == order


def test_the_newest_of_three_comes_first_and_nothing_is_lost() -> None:
    rows = signals(["a"] * 4, groups=[1, 2, 3, 4], vectors=[[1, 0, 0, 0]] * 4)
    ones = np.ones(4, np.float32)
    ranked = ranking.newest_first(
        rows, occurrences.conversations(rows), np.array([3, 1, 0, 2]), ones, ones, direct=0.5
    )
    assert ranked[0] == 3
    assert sorted(ranked.tolist()) == [0, 1, 2, 3]
    backwards = ranking.newest_first(
        rows, occurrences.conversations(rows), np.array([0, 1, 2, 3]), ones, ones, direct=0.5
    )
    assert backwards.tolist() == [3, 2, 1, 0]


# --- relevance ---


def relevance(rare: float, topical: int, *, asking: bool = False, admissible: bool = True) -> float:
    """Of one row with a cosine of 0.4 that holds so many rare words on topic."""
    one = np.ones(1, np.float32)
    words = Words(score=one, coverage=one, specificity=one * rare)
    return ranking.relevance(
        words,
        one * np.float32(0.4),
        topical=topical,
        asking=asking,
        admissible=np.array([admissible]),
    )


def test_relevance() -> None:
    assert relevance(2, 0) == 0
    assert relevance(0, 4) == pytest.approx(0.4)
    assert relevance(2, 4) == pytest.approx(0.4 + ranking.SHARE / 2)
    assert relevance(2, 4, asking=True) == pytest.approx(0.4 + ranking.SHARE / 2 + ranking.ASKING)
    assert relevance(9, 4) == pytest.approx(0.4 + ranking.SHARE)
    assert relevance(2, 4, asking=True, admissible=False) == 0


def test_a_long_text_need_not_be_held_whole() -> None:
    assert relevance(ranking.MOST, 100) == pytest.approx(0.4 + ranking.SHARE)


def test_a_single_word_says_little() -> None:
    half = ranking.SHARE / ranking.LEAST
    assert relevance(1, 1) == pytest.approx(0.4 + half - ranking.LONE)
    assert relevance(1, 1, asking=True) == pytest.approx(0.4 + half + ranking.LONE_ASKING)
    assert relevance(1, 1) < relevance(1, 1, asking=True) < relevance(1, 2, asking=True)
