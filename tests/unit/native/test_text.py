"""Compiled, the same as in Python."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memrouter import tokens
from memrouter.memory import analysis, question

pytest.importorskip("memrouter.native.text", reason="there is no C compiler")


@given(st.text() | st.text("aé😀\ud800 ", min_size=1))
def test_bytes_count_the_same(text: str) -> None:
    counted = tokens.thousandths_by_numpy(text)
    assert tokens.estimate(text) == (max(1, counted // 1000) if text else 0)


def test_a_long_text_counts_the_same() -> None:
    text = "It is a truth universally acknowledged. " * 60_000
    assert tokens.estimate(text) == tokens.thousandths_by_numpy(text) // 1000


DAY = datetime(2023, 5, 8, 13, 56, tzinfo=UTC)
SAID = st.lists(
    st.sampled_from(
        """I i we We my Mine do Do could must MAY it Lisbon painting 42 3 a_b don't don’t ISN'T isn
        Ann: note: ich Я моя мой 我 花生过敏 わたし 제가 買う ไทย iPhoneを \U00020001\U00020000
        é e\u0301 ﬁn… 我my my我 ไmyำ doの ，… m\u0131 \u0130 \u212a \u017f ᲂ mo\u1c82
        ß ﬆ ½ 🏠 \ud800 \x00 “So” (We ！ ：""".split()
    )
    | st.characters(),
    max_size=12,
).flatmap(
    lambda words: st.lists(
        st.sampled_from(
            [" ", " ", " ", "  ", "\n", "'", "_", "", ". ", "-", "\u00a0", "，", "\u0e33"]
        ),
        min_size=len(words),
        max_size=len(words),
    ).map(lambda between: "".join(map("".join, zip(words, between, strict=True))))
)


@settings(max_examples=500)
@given(SAID)
def test_terms_are_the_same(text: str) -> None:
    compiled = analysis.index_terms(text, DAY)
    words = question._words(analysis.normal(text))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(analysis, "_native", None)
        patch.setattr(question, "_native", None)
        assert analysis.index_terms(text, DAY) == compiled
        assert question._words(analysis.normal(text)) == words


def test_terms_of_every_character_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["".join(map(chr, range(at, at + 64))) for at in range(0, 0x110000, 64)]
    compiled = [analysis.index_terms(f"{text} my", DAY) for text in texts]
    monkeypatch.setattr(analysis, "_native", None)
    assert [analysis.index_terms(f"{text} my", DAY) for text in texts] == compiled


def test_more_words_than_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    text = " ".join(f"word{n}" for n in range(100))
    compiled = analysis.index_terms(text, DAY)
    monkeypatch.setattr(analysis, "_MOST_KNOWN", 10)
    known: dict[str, bytes] = {}
    monkeypatch.setattr(analysis, "_known", known)
    assert analysis.index_terms(text, DAY) == compiled
    assert len(known) <= 10


def test_more_words_of_questions_than_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    text = " ".join(f"word{n}" for n in range(100)) + " " + "x" * 100
    words = question._words(text)
    known: dict[str, question._Known] = {}
    monkeypatch.setattr(question, "_MOST_KNOWN", 10)
    monkeypatch.setattr(question, "_known", known)
    assert question._words(text) == words
    assert len(known) <= 10
