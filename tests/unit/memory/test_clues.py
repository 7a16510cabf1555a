"""Which sets of words a text has a word of."""

from __future__ import annotations

from memrouter.memory import clues


def test_a_word_has_the_bits_of_all_sets_it_is_in() -> None:
    first, second = clues.one_of(["quux", "both_"]), clues.one_of(["both_"])
    assert first & second == 0
    assert clues.of("quux") == first
    assert clues.of("both_") == first | second
    assert clues.of("neither_") == 0
    assert clues.ANY & first
