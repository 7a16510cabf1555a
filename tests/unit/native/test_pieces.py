"""Sums of vectors compiled, the same as by numpy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memrouter.embed import pieces

native = pytest.importorskip("memrouter.native.pieces", reason="there is no C compiler")

ROWS = 40
DIMENSION = 7
HALVES = np.arange(0x10000, dtype=np.uint16)
FINITE = HALVES[np.isfinite(HALVES.view(np.float16))]
PIECES = {
    " ": (0,),
    " a": (1, "a", 1),
    "  a": (2, "a", 3),
    " b,c": (4, "b", 5, "c", 6),
    " 花🏠": (7, "花", 8),
    " é": (9, "é", 9),
}


def rows(count: int) -> np.ndarray:
    """Vectors that are not round numbers."""
    return np.random.default_rng(count).standard_normal((count, DIMENSION), np.float32)


TEXTS = st.lists(st.sampled_from(["a", "b,c", "花🏠", "é", "d", "", "\x00"]), max_size=12).map(
    lambda words: " " + " ".join(words).rstrip(" ")
)


@given(TEXTS)
def test_texts_add_up_to_the_same(text: str) -> None:
    table = rows(ROWS)
    adders = [made(table, PIECES) for made in (pieces.Adder, native.Adder)]
    rarity = {"a": 0.3, "c": 2.7, "花": 1.9, "x": 5.0}
    plain = [np.full(DIMENSION, np.nan, np.float32) for _ in adders]
    both = [np.full((2, DIMENSION), np.nan, np.float32) for _ in adders]
    held = [a.total(text, out) for a, out in zip(adders, plain, strict=True)]
    assert held == [a.both(text, rarity, out) for a, out in zip(adders, both, strict=True)]
    assert held[0] == held[1]
    if held[0]:
        assert np.array_equal(plain[0], plain[1])
        assert np.array_equal(both[1][0], plain[1])
        assert np.allclose(both[0], both[1], atol=1e-5)


@given(
    st.lists(st.integers(0, ROWS - 1), max_size=8),
    st.lists(st.integers(0, 5), min_size=8, max_size=8),
    st.lists(st.tuples(st.integers(0, 3), st.integers(1, 4)), max_size=4),
)
def test_tokens_add_up_to_the_same(
    ids: list[int], lengths: list[int], between: list[tuple[int, int]]
) -> None:
    table = rows(ROWS).astype(np.float16).view(np.uint16)
    ends = np.cumsum(lengths).tolist()
    offsets = [(end - length, end) for end, length in zip(ends, lengths, strict=True)][: len(ids)]
    words, at = [], 0
    for gap, length in between:
        words.append((at + gap, at + gap + length))
        at += gap + length
    sums = [np.zeros((1 + len(words), DIMENSION), np.float32) for _ in range(2)]
    inside = [
        add(ids, offsets, words, table, out)
        for add, out in zip((pieces.add_tokens, native.add_tokens), sums, strict=True)
    ]
    assert inside[0] == inside[1]
    assert np.array_equal(sums[0], sums[1])


@given(st.lists(st.integers(-5_000, 5_000), min_size=DIMENSION, max_size=DIMENSION))
def test_lengths_are_the_same(numbers: list[int]) -> None:
    found = [np.array([numbers, [0] * DIMENSION], np.float32) / 8 for _ in range(2)]
    lengths = [
        f(rows) for f, rows in zip((pieces.to_length_1, native.to_length_1), found, strict=True)
    ]
    assert lengths[0] == pytest.approx(lengths[1], rel=1e-6)
    assert np.allclose(found[0], found[1], rtol=1e-6)


def test_every_number_of_16_bits_is_read() -> None:
    table = FINITE[:, np.newaxis]
    sums = np.zeros((1, 1), np.float32)
    for number in range(len(FINITE)):
        sums[:] = 0
        native.add_tokens([number], [(0, 1)], [], table, sums)
        assert sums[0, 0] == table[number].view(np.float16)[0]
