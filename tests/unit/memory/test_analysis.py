"""Texts and questions become the same terms, whatever the script."""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memrouter.memory import analysis, vocabulary

DAY = datetime(2023, 5, 8, 13, 56, tzinfo=UTC)

TERMS: dict[str, tuple[str, list[str]]] = {
    "empty": ("", []),
    "only function words": ("What is it that you were?", []),
    "only punctuation": ("?!… — ()", []),
    "case and endings": ("Painting PAINTED paints", ["paint", "paint", "paint"]),
    "accents": ("Café crème", ["cafe", "creme"]),
    "wide letters": ("ＡＢＣ１２", ["abc12"]),
    "numbers and codes": ("room 42, E404-b", ["room", "42", "e404", "b"]),
    "apostrophes": ("Caroline's don't", ["carolin", "don"]),
    "Chinese": ("花生", ["花", "生", "花生"]),
    "Japanese and Latin": ("iPhoneを買う", ["iphon", "を", "買", "う", "を買", "買う"]),
    "Russian loses nothing": ("Живу в Казани", ["живу", "в", "казани"]),
    "Turkish dotted capital": ("İzmir", ["izmir"]),
    "sharp s": ("Straße", ["strass"]),
}


@pytest.mark.parametrize(("text", "terms"), TERMS.values(), ids=TERMS)
def test_terms(text: str, terms: list[str]) -> None:
    assert analysis.terms(text) == terms


@given(st.text())
def test_every_word_of_a_text_finds_it(text: str) -> None:
    stored = set(map(analysis.term_hash, analysis.terms(text)))
    for word in analysis.query_words(text):
        assert stored.issuperset(word.terms)


@given(st.text(max_size=50), st.text(max_size=50))
def test_terms_of_two_lines_are_those_of_each(first: str, second: str) -> None:
    assert analysis.terms(f"{first}\n{second}") == analysis.terms(first) + analysis.terms(second)


@given(st.text(), st.datetimes(timezones=st.just(UTC)))
def test_index_terms_are_little_endian_words_of_32_bits(text: str, created: datetime) -> None:
    packed = analysis.index_terms(text, created)
    hashes = np.frombuffer(packed, np.dtype("<u4"))
    said = [analysis.term_hash(term) for term in analysis.terms(text)]
    assert hashes[: len(said)].tolist() == said


def test_a_day_is_found_in_words() -> None:
    stored = np.frombuffer(analysis.index_terms("hi", DAY), np.dtype("<u4")).tolist()
    assert {analysis.term_hash(term) for term in ("8", "2023")} <= set(stored)


AUTHORS: dict[str, tuple[str, str | None]] = {
    "a name": ("Ann: hello", "Ann"),
    "a date behind": ("Ann Lee (8 May 2023): hello", "Ann Lee"),
    "a time in front": ("[13:56] Ann: hello", "Ann"),
    "two initials": ("J.R. Smith: yes", "J.R. Smith"),
    "Chinese, wide colon": ("小丽: 你好", "小丽"),
    "no space after": ("https://a.example", None),
    "a ratio": ("Mix 3:1 with water", None),
    "lower case": ("note: buy milk", None),
    "a heading that names no one": ("Answer: 42", None),
    "a role": ("User: hello", None),
    "a sentence": ("This is what I wrote to her: nothing", None),
    "nothing": ("", None),
    "only a colon": (": hm", None),
}


@pytest.mark.parametrize(("text", "author"), AUTHORS.values(), ids=AUTHORS)
def test_author_of(text: str, author: str | None) -> None:
    assert analysis.author_of(text) == author


def test_a_name_that_is_a_function_word_is_a_name_all_the_same() -> None:
    stored = np.frombuffer(analysis.index_terms("Will: yes", DAY), np.dtype("<u4")).tolist()
    assert analysis.term_hash(analysis.author_terms("Will")[0]) in stored


def test_a_name_is_looked_for_where_there_is_a_colon() -> None:
    colons = {c for c in map(chr, range(0x110000)) if ":" in analysis.normal(c)}
    assert colons == set(analysis._COLONS)


def test_what_is_replaced_first_is_the_same_in_nfkc() -> None:
    usual = "".join(c for c, _ in (*analysis._SIGNS, *analysis._COMMON))
    for text in (usual, f"a{usual}\u0301 e\u0301", f"ก\u0e33\u0e49 {usual}\u0e49"):
        assert analysis.normal(text) == unicodedata.normalize("NFKC", text)
    assert not re.search(r"[\w\s]", "".join(c + plain for c, plain in analysis._SIGNS))


STATES: dict[str, tuple[str, bool]] = {
    "of themselves": ("I live in Porto now", True),
    "of what is theirs": ("the name of our dog is Luna", True),
    "a request": ("How do I flatten a list?", False),
    "of nobody": ("Explain compound interest", False),
    "a request for them": ("Give me a recipe", False),
    "German": ("Meine Schwester heißt Katharina", True),
    "Russian": ("Я живу в Казани", True),
    "Chinese": ("我对花生过敏", True),
    "Japanese": ("私は京都に住んでいます", True),
    "a word that only contains it": ("Mythical oursins", False),
}


@pytest.mark.parametrize(("text", "states"), STATES.values(), ids=STATES)
def test_who_speaks_of_themselves(text: str, states: bool) -> None:
    own = analysis.term_hash(analysis.SPEAKS_OF_SELF)
    stored = np.frombuffer(analysis.index_terms(text, DAY), np.dtype("<u4")).tolist()
    assert (own in stored) is states


def test_small_talk_and_function_words_are_no_topic() -> None:
    topical = {w.word: w.topical for w in analysis.query_words("Thanks, what about Lisbon?")}
    assert topical == {"thanks": False, "what": False, "about": False, "lisbon": True}


@pytest.mark.parametrize("text", ["I don't understand", "it doesn’t help", "ISN'T it?"])
def test_a_verb_that_is_negated_is_no_topic(text: str) -> None:
    assert not any(w.topical for w in analysis.query_words(text))
    assert analysis.query_words("Don told us")[0].topical


def test_small_numbers_are_no_topic() -> None:
    topical = {w.word: w.topical for w in analysis.query_words("17 rooms in 1998")}
    assert topical == {"17": False, "rooms": True, "in": False, "1998": True}


def test_small_talk_without_spaces_is_no_topic() -> None:
    assert not any(w.topical for w in analysis.query_words("谢谢! ありがとうございます"))


def test_names_are_capitals_inside_a_sentence() -> None:
    words = analysis.query_words("Remember what Ann said? Bob (Zed) said no. “Eve”")
    assert [w.word for w in words if w.named] == ["ann", "zed"]


def test_of_latin_letters_none_is_like_another_without_its_case() -> None:
    letters = "".join(map(chr, (*range(ord("a"), ord("z") + 1), *map(ord, "íü"))))
    like = re.compile(f"[{letters}0-9_]", re.IGNORECASE)
    for found in like.findall("".join(map(chr, range(0x110000)))):
        if analysis.latin(found):
            assert found.casefold() in letters + "0123456789_"


def test_other_scripts_are_not_latin() -> None:
    for text in ("買ago", "ago вчера", "\u0131n", "m\u0130", "5 \u0663"):
        assert not analysis.latin(text)
    assert analysis.latin("Déjà vu — “so” it’s 🏠")


def test_who_speaks_of_themselves_asking() -> None:
    said = {word: analysis.of_self(word) for word in ("me", "mío", "私は", "it", "you")}
    assert said == {"me": True, "mío": False, "私は": True, "it": False, "you": False}


def test_odd_characters_do_no_harm() -> None:
    text = "nul \x00 lone \ud800 joined \u200d rtl \u202e " + "x" * 1_000_000
    assert analysis.index_terms(text, DAY)
    assert analysis.query_words(text)


WORDS = st.sampled_from(
    [
        "I",
        "we",
        "my",
        "Do",
        "could",
        "can",
        "mine",
        "ours",
        "eu",
        "x",
        "It",
        "i_",
        "m",
        "We're",
        "я",
    ]
)
BETWEEN = st.sampled_from([" ", "  ", "\n", "'", "_", ". ", "-"])


@given(st.lists(st.tuples(WORDS, BETWEEN), max_size=8))
def test_who_speaks_of_themselves_does_not_depend_on_other_letters(
    parts: list[tuple[str, str]],
) -> None:
    """Its words are looked at where that comes to the same as the expressions."""
    text = "".join(word + between for word, between in parts)
    own = analysis.term_hash(analysis.SPEAKS_OF_SELF)

    for end in ".", "\u00e9", "\u00bd", "\u0131":
        said = f"{text} {end}"
        found = own in np.frombuffer(analysis.index_terms(said, DAY), np.uint32)
        assert found == bool(analysis._STATES.search(said) or analysis._SELF_SIGNS.search(said))


def test_of_odd_letters_alone_an_expression_knows_another_case() -> None:
    letters = "".join(sorted(set("".join(vocabulary.OWN | {"i", "we"}))))
    like = re.compile(f"[{letters}]", re.IGNORECASE)
    for found in like.findall("".join(map(chr, range(0x110000)))):
        assert found.lower() in letters or analysis._ODD_CASE.match(found)
