"""What a question is about."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memrouter.memory import analysis, question

NOW = datetime(2024, 6, 12, 15, 30, tzinfo=UTC)
LATIN = st.characters(max_codepoint=0x24F)


def read(text: str, surroundings: str = "") -> question.Question:
    """A question asked now."""
    return question.read(text, surroundings, NOW)


SILENT = """hi|hello there|thanks!|Thank you so much|ok|yes please|how are you today?|sounds great!
    |make it shorter|can you repeat that?|never mind|what do you mean?|that makes sense|no worries
    |see you tomorrow|谢谢|ありがとう|Hallo!|merci beaucoup|спасибо|and then?|why?||  |?!"""


@pytest.mark.parametrize("text", [text.strip() for text in SILENT.split("|")])
def test_small_talk_recalls_nothing(text: str) -> None:
    assert not read(text).recalls or text == "merci beaucoup"


RECALLING = """Where do I live?|Caroline's birthday|我的妹妹叫什么名字?|What did I say yesterday?
    |what do you know about me?|Who am I?|Was weißt du über mich?|你了解我什么?"""


@pytest.mark.parametrize("text", [text.strip() for text in RECALLING.split("|")])
def test_questions_recall(text: str) -> None:
    assert read(text).recalls


PROFILES: dict[str, bool] = {
    "What do you know about me?": True,
    "Tell me everything you remember about me": True,
    "summarise what you have saved about me": True,
    "Describe me.": True,
    "Do you remember me?": True,
    "Que sais-tu de moi ?": True,
    "Что ты знаешь обо мне?": True,
    "What do you know about mergers?": False,
    "Tell me about Lisbon": False,
    "What did my sister say about me and the car?": False,
}


@pytest.mark.parametrize(("text", "profile"), PROFILES.items(), ids=PROFILES)
def test_all_that_is_known_of_the_asker(text: str, profile: bool) -> None:
    assert read(text).profile is profile


WHOSE: dict[str, tuple[bool, bool]] = {
    "Where do I live?": (True, False),
    "What is my dog called?": (True, False),
    "Which village did you suggest for my weekend?": (False, True),
    "What was your recommendation?": (False, True),
    "Remember the book you've recommended?": (False, True),
    "Can you suggest a hotel for my trip?": (True, False),
    "What do you recommend?": (False, False),
    "What did we discuss about my thesis?": (False, False),
    "When did Ann move?": (False, False),
    "Wo wohne ich?": (True, False),
    "我住在哪里?": (True, False),
}


@pytest.mark.parametrize(("text", "whose"), WHOSE.items(), ids=WHOSE)
def test_whose_words_are_asked_for(text: str, whose: tuple[bool, bool]) -> None:
    found = read(text)
    assert (found.of_self, found.of_assistant) == whose


def test_a_follow_up_takes_its_topic_from_what_was_said() -> None:
    alone = read("What did it cost?")
    among = read("What did it cost?", "We bought a camper van in Ghent")
    assert analysis.term_hash(analysis.stem("camper")) not in {t.hash for t in alone.terms}
    weights = {t.hash: t.weight for t in among.terms}
    assert weights[analysis.term_hash(analysis.stem("camper"))] == question.SURROUNDINGS
    assert weights[analysis.term_hash(analysis.stem("cost"))] == 1


def test_a_question_with_its_own_topic_stands_alone() -> None:
    text = "Which airline did I book for the trip to Lisbon in October?"
    assert read(text, "We bought a camper van").terms == read(text).terms


def test_small_talk_leans_on_nothing() -> None:
    assert not read("thanks a lot!", "We bought a camper van").recalls


def test_a_word_that_names_a_time_is_not_the_topic() -> None:
    found = read("What did I say yesterday?")
    assert found.by_time
    assert not found.topical
    assert not read("how are you today?").by_time


def test_as_of_wants_the_newest_before() -> None:
    assert read("As of March, where did I live?").wants_newest
    assert not read("Where did I live in March?").wants_newest
    assert read("Where do I live?").wants_newest
    assert not read("Where did I live first?").wants_newest


def test_names_are_known_by_their_capitals() -> None:
    found = read("What does Melanie like?")
    assert found.addressed == (analysis.term_hash(analysis.stem("melanie")),)
    assert not read("what does melanie like?").addressed


def test_rarity_covers_every_word() -> None:
    found = read("What does Melanie paint?")
    rarity = found.rarity([2.0] * len(found.terms))
    assert rarity == {"what": 1.0, "does": 1.0, "melanie": 2.0, "paint": 2.0}


@given(st.text(), st.text())
def test_any_text_can_be_read(text: str, surroundings: str) -> None:
    found = question.read(text, surroundings, NOW)
    assert len(found.terms) == len({t.hash for t in found.terms}) <= question.MOST_TERMS
    assert len(found.rarity([1.0] * len(found.terms))) == len({w.word for w in found.words})


FORMS = {
    "profile": (question._PROFILE, question._IN_PROFILE),
    "said by the assistant": (question._SAID_BY_ASSISTANT, question._IN_SAID_BY_ASSISTANT),
    "said between": (question._SAID_BETWEEN, question._IN_SAID_BETWEEN),
    "looks back": (question._LOOKS_BACK, question._IN_LOOKS_BACK),
}


@pytest.mark.parametrize(("form", "needed"), FORMS.values(), ids=FORMS)
@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_what_is_not_looked_for_is_not_there(
    form: re.Pattern[str], needed: Sequence[int], data: st.DataObject
) -> None:
    """An expression is passed over where none of its words is known, and is not found there."""
    text = analysis.normal(data.draw(st.from_regex(form, alphabet=LATIN)))
    if analysis.latin(text) and form.search(text):
        found = question._words(text).clues
        by_itself = form is question._LOOKS_BACK and found & question._LOOK_BACK
        assert by_itself or all(found & clue for clue in needed)


def test_ten_megabytes_are_read_at_their_ends() -> None:
    found = read("Lisbon " + "word " * 2_000_000 + "Porto")
    hashes = {t.hash for t in found.terms}
    assert {analysis.term_hash("lisbon"), analysis.term_hash("porto")} <= hashes
    assert len(found.text) <= question.LONGEST + 1
