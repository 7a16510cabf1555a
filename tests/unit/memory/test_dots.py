"""Dot products are the same whoever computes them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memrouter.memory import dots

SHAPES = st.tuples(st.integers(1, 3), st.integers(0, 9), st.integers(1, 70))


def matrices(shape: tuple[int, int, int], seed: int) -> tuple[dots.Bytes, dots.Bytes]:
    """Few and many rows of small integers."""
    few, many, dimension = shape
    chance = np.random.default_rng(seed)
    left = chance.integers(-127, 128, (few, dimension)).astype(np.int8)
    return left, chance.integers(-127, 128, (many, dimension)).astype(np.int8)


@given(SHAPES, st.integers(0, 2**32 - 1))
def test_products_are_exact(shape: tuple[int, int, int], seed: int) -> None:
    few, many = matrices(shape, seed)
    expected = (few.astype(np.int64) @ many.astype(np.int64).T).tolist()
    assert dots.by_numpy(few, many).tolist() == expected
    if len(many):
        assert dots.products(few, many).tolist() == expected


def test_blocks_join() -> None:
    few, many = matrices((2, 3 * dots._BLOCK + 1, 4), 1)
    expected = few.astype(np.int64) @ many.astype(np.int64).T
    assert dots.by_numpy(few, many).tolist() == expected.tolist()


def test_without_simsimd_numpy_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dots, "_simsimd", None)
    few, many = matrices((2, 3, 4), 1)
    assert dots.products(few, many).tolist() == dots.by_numpy(few, many).tolist()
