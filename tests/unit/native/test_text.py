"""Compiled, the same as in Python."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memrouter import tokens

pytest.importorskip("memrouter.native.text", reason="there is no C compiler")


@given(st.text() | st.text("aé😀\ud800 ", min_size=1))
def test_bytes_count_the_same(text: str) -> None:
    counted = tokens.thousandths_by_numpy(text)
    assert tokens.estimate(text) == (max(1, counted // 1000) if text else 0)


def test_a_long_text_counts_the_same() -> None:
    text = "It is a truth universally acknowledged. " * 60_000
    assert tokens.estimate(text) == tokens.thousandths_by_numpy(text) // 1000
