"""Word lists hold words as the analysis makes them, else they would never be met."""

from __future__ import annotations

import pytest

from memrouter.memory import analysis, vocabulary

LISTS = {
    "function words": vocabulary.FUNCTION_WORDS,
    "small talk": vocabulary.CHATTER,
    "own": vocabulary.OWN,
    "first person": vocabulary.FIRST_PERSON,
}


@pytest.mark.parametrize("words", LISTS.values(), ids=LISTS)
def test_every_word_is_one_word_of_a_question(words: frozenset[str]) -> None:
    split = {word: [w.word for w in analysis.query_words(word)] for word in words}
    assert {word: parts for word, parts in split.items() if parts != [word]} == {}


def test_no_word_is_both_a_function_word_and_small_talk() -> None:
    assert not vocabulary.FUNCTION_WORDS & vocabulary.CHATTER
