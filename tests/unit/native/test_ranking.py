"""Compiled, the same as with numpy: over vaults that nobody made up by hand.

What each function means is tested in tests/unit/memory, compiled and not.
"""

from __future__ import annotations

import numpy as np
import pytest

from memrouter.memory import authors, occurrences, ranking
from memrouter.memory.occurrences import Floats, Places, Term
from memrouter.memory.ranking import Words
from memrouter.ports import Signals

pytest.importorskip("memrouter.native.ranking", reason="there is no C compiler")

SEEDS = range(20)


def vault(rng: np.random.Generator) -> Signals:
    """A few hundred rows in conversations of all lengths, some without a vector."""
    count = int(rng.integers(1, 400))
    lengths = rng.integers(0, 30, count)
    created = np.sort(rng.integers(0, 10**9, count))
    groups = np.sort(rng.integers(0, max(1, count // 7), count))
    return Signals(
        revision=1,
        ids=np.arange(1, count + 1),
        memories=np.arange(1, count + 1),
        groups=groups,
        created=created,
        roles=rng.integers(0, 2, count).astype(np.uint8),
        digests=rng.integers(0, 2**64, count, np.uint64),
        terms=rng.integers(0, 300, lengths.sum()).astype(np.uint32) * 4_099,
        starts=np.concatenate(([0], np.cumsum(lengths))),
        vectors=rng.integers(-127, 128, (count, 8)).astype(np.int8),
        embedded=rng.random(count) < 0.9,
        embedder="fake",
        encodings=np.zeros((count, 0), np.int8),
        encoded=np.zeros(count, np.bool_),
        encoder="",
    )


def asked(rng: np.random.Generator) -> list[Term]:
    hashes = rng.choice(300, int(rng.integers(0, 20)), replace=False) * 4_099
    return [
        Term(hash=int(h), topical=bool(n % 3), weight=0.5 + n % 2) for n, h in enumerate(hashes)
    ]


def ordered(there: Places) -> list[tuple[int, int]]:
    return sorted(zip(there.hashes.tolist(), there.rows.tolist(), strict=True))


@pytest.mark.parametrize("seed", SEEDS)
def test_words(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(seed)
    signals, terms = vault(rng), asked(rng)
    wanted = [*(term.hash for term in terms), 4_099 * 7]

    def found() -> tuple[list[int], Places, occurrences.Occurrences, Words]:
        threads = occurrences.conversations(signals)
        there = occurrences.places(signals, wanted)
        counted = occurrences.occurrences(signals, terms, there)
        words = ranking.score_words(signals, threads, terms, counted)
        return threads.tolist(), there, counted, words

    threads, there, counted, words = found()
    for module in (occurrences, ranking):
        monkeypatch.setattr(module, "_native", None)
    threads_2, there_2, counted_2, words_2 = found()
    assert threads == threads_2
    assert ordered(there) == ordered(there_2)
    for name in ("rows", "counts", "idf"):
        assert getattr(counted, name).tolist() == getattr(counted_2, name).tolist()
    for name in ("score", "coverage", "specificity"):
        np.testing.assert_allclose(getattr(words, name), getattr(words_2, name), 1e-5, 1e-6)


@pytest.mark.parametrize("seed", SEEDS)
def test_order(seed: int) -> None:
    rng = np.random.default_rng(seed)
    signals = vault(rng)
    scores: Floats = rng.integers(0, 9, len(signals.ids)).astype(np.float32) * np.float32(0.125)
    instead, flags = rng.random(len(scores), np.float32), signals.embedded
    threads = occurrences.conversations(signals)
    np.testing.assert_allclose(
        ranking.centred(scores, flags, instead),
        ranking.centred_by_numpy(scores, flags, instead),
        1e-4,
        1e-5,
    )
    assert ranking.lift(scores, threads).tolist() == ranking.lift_by_numpy(scores, threads).tolist()
    for count in (0, 1, 7, 40, 1_000):
        best = ranking.best(scores, count, flags).tolist()
        assert best == ranking.best_by_numpy(scores, count, flags).tolist()


@pytest.mark.parametrize("seed", SEEDS)
def test_sides(seed: int) -> None:
    rng = np.random.default_rng(seed)
    signals = vault(rng)
    threads, side = occurrences.conversations(signals), signals.roles == 1
    of_one_side = np.flatnonzero(side & (rng.random(len(side)) < 0.5))
    for mentions in (of_one_side, np.sort(rng.integers(0, len(side), 20)), of_one_side[:0]):
        found = authors.leaning(threads, side, mentions)
        expected = authors.leaning_by_numpy(threads, side, mentions)
        assert (found is None) == (expected is None)
        if found is not None and expected is not None:
            assert found.tolist() == expected.tolist()
