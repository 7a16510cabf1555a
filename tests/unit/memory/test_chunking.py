from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memrouter.memory import chunking
from memrouter.memory.chunking import split


def estimate(text: str) -> int:
    return (len(text) + 3) // 4


def words(text: str) -> int:
    return len(text.split())


def characters(text: str) -> int:
    return len(text)


WHOLE = {
    "nothing": ("", []),
    "white space": (" \n\t\u2003 ", []),
    "a word": ("hello", ["hello"]),
    "white space around": ("  hello \n", ["hello"]),
    "sentences that fit": ("One. Two! Three?", ["One. Two! Three?"]),
    "lines that fit": ("a\n\n\nb", ["a\n\n\nb"]),
}


@pytest.mark.parametrize(("text", "parts"), WHOLE.values(), ids=WHOLE)
def test_what_fits_stays_whole(text: str, parts: list[str]) -> None:
    assert split(text, 300, estimate) == parts


# limit: words a part
SENTENCES = {
    "at sentence ends": ("One two. Three four. Five six.", ["One two. Three four.", "Five six."]),
    "a part is filled as far as sentences fit": (
        "A b. C d e. F.",
        ["A b.", "C d e. F."],
    ),
    "all kinds of ends": ("Is it? Yes! So so… fine. Ok.", ["Is it? Yes!", "So so… fine. Ok."]),
    "quotes and brackets belong to their sentence": (
        'He said "no." (She did not.) They left.',
        ['He said "no."', "(She did not.)", "They left."],
    ),
    "no end inside a word or number": (
        "Version 3.11 of example.org costs 4.50 today",
        ["Version 3.11 of example.org", "costs 4.50 today"],
    ),
    "lines end too": ("one two three\nfour five\n\nsix", ["one two three", "four five\n\nsix"]),
    "a sentence too long is cut at spaces": ("a b c d e f g. H.", ["a b c d", "e f g. H."]),
}


@pytest.mark.parametrize(("text", "parts"), SENTENCES.values(), ids=SENTENCES)
def test_parts_end_where_sentences_do(text: str, parts: list[str]) -> None:
    assert split(text, 4, words) == parts


CHARACTERS = {
    "Chinese": ("我喜欢喝茶。你呢？我也是！", 8, ["我喜欢喝茶。", "你呢？我也是！"]),
    "Japanese": ("犬が好き。猫も好き。", 5, ["犬が好き。", "猫も好き。"]),
    "no ends at all": ("我喜欢喝茶你呢我也是", 4, ["我喜欢喝", "茶你呢我", "也是"]),
    "one giant word": ("x" * 10, 4, ["xxxx", "xxxx", "xx"]),
    "a giant word among small ones": ("ab " + "x" * 9 + " cd", 5, ["ab", "xxxxx", "xxxx", "cd"]),
    "limit one": ("abc d", 1, ["a", "b", "c", "d"]),
}


@pytest.mark.parametrize(("text", "limit", "parts"), CHARACTERS.values(), ids=CHARACTERS)
def test_texts_without_spaces_are_cut_at_characters(
    text: str, limit: int, parts: list[str]
) -> None:
    assert split(text, limit, characters) == parts


texts = st.one_of(
    st.text(),
    st.lists(
        st.sampled_from(
            [
                "word ",
                "longerword",
                ". ",
                "。",
                "\n",
                "\n\n",
                "…",
                '." ',
                " ",
                "\u2028",
                "x" * 50,
                "茶",
            ]
        ),
        max_size=60,
    ).map("".join),
)


@given(texts, st.integers(1, 40))
def test_nothing_is_lost_and_nothing_is_too_big(text: str, limit: int) -> None:
    parts = split(text, limit, estimate)
    assert _shown("".join(parts)) == _shown(text)
    assert all(part == part.strip() != "" for part in parts)
    assert all(estimate(part) <= limit for part in parts)


@given(texts, st.integers(1, 40))
def test_two_parts_in_a_row_do_not_fit_in_one(text: str, limit: int) -> None:
    sizes = [characters(part) for part in split(text, limit, characters)]
    # White space between parts is cut, so a pair may look smaller than it was by its own white.
    white = sum(c.isspace() for c in text)
    assert all(a + b + white > limit for a, b in pairwise(sizes))


GIANTS = {
    "one word": "x" * 10_000_000,
    "no ends": "word " * 200_000,
    "sentences": "This is a sentence of some words. " * 30_000,
    "only ends": "." * 1_000_000,
    "quotes behind an end": "." + '"' * 1_000_000,
    "ends and quotes": '."' * 500_000,
    "line breaks": "a\n" * 300_000,
    "white space inside": "a" + " " * 1_000_000 + "b",
    "white space behind an end": "a." + " " * 1_000_000 + "b",
    "Chinese": "我喜欢喝茶。" * 150_000,
}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("text", GIANTS.values(), ids=GIANTS)
def test_long_texts_take_linear_time(text: str) -> None:
    parts = split(text, 300, estimate)
    assert sum(len(_shown(part)) for part in parts) == len(_shown(text))
    assert max(map(estimate, parts)) <= 300


def test_a_giant_word_becomes_parts_as_big_as_may_be() -> None:
    assert len(split("x" * 1_200_000, 300, estimate)) == 1_000


def _shown(text: str) -> str:
    return "".join(text.split())


@given(st.text(st.sampled_from(".!…。！\n \"')]a\u00a0\u2028"), max_size=30))
def test_sentences_end_where_they_would_by_what_stands_before(text: str) -> None:
    plain = re.compile(r"(?<=[.!?…])[\"'”’)\]]*\s+|(?<=[。！？])|\n\s*")
    assert [*chunking._cut(text, chunking._BOUNDARY)] == [*chunking._cut(text, plain)]
