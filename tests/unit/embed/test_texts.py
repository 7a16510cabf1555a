"""Texts made fit for tokenizers and JSON."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from memrouter.embed.texts import fit


@given(st.text(), st.integers(0, 50))
def test_text_stays_as_it_is_but_for_its_length(text: str, longest: int) -> None:
    assert fit(text, longest) == text[:longest]


def test_lone_surrogates_are_no_text() -> None:
    assert fit("a\ud800b", 9) == "a?b"
