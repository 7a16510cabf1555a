"""What a question is about: its terms, whose words it asks for, which time, and whether it asks
memory anything at all."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from typing import TypeVar

from memrouter.memory import analysis
from memrouter.memory.analysis import QueryWord
from memrouter.memory.occurrences import Term
from memrouter.memory.periods import Period, period

T = TypeVar("T")

LONGEST = 4_000
"""Characters of a question that are looked at, half from each end: what is asked stands there."""
LONGEST_DATED = 500
"""Characters of a question beyond which a date in it is more likely part of a pasted text."""
MOST_TERMS = 64
SURROUNDINGS = 0.5
"""How much a word counts that only the turns before the question hold."""
COMMON = 1.0
"""How much words without a term count in a vector: about the idf of a common word."""

# Under an expression stand sets of words: a Latin text in which it is found has a word of each.
_PROFILE = re.compile(
    r"\b(?:(?:what|everything|anything|all|how much)\b.{0,30}\b(?:know|remember|recall|learn\w*|"
    r"memor\w+|stored?|saved?)\b.{0,12}\babout (?:me|us|myself)|"
    r"tell me about (?:me|myself)|describe me|"
    r"who am i|do you (?:know|remember) (?:me|who i am)|(?:was|wei(?:ß|ss)t du).{0,20}über mich|"
    r"qu(?:e|oi).{0,12}sa(?:is|vez)[- ](?:tu|vous).{0,8}(?:de|sur) moi|qué sabes (?:de|sobre) mí|"
    r"o que (?:você )?sabe(?:s)? (?:de|sobre) mim|cosa sai di me)\b|"
    r"что ты (?:знаешь|помнишь) обо мне|(?:你|您).{0,4}(?:知道|了解|记得).{0,4}我|我是谁|"
    r"私について|私のこと.{0,6}(?:知|覚)|나에 대해",
    re.IGNORECASE,
)
_IN_PROFILE = (
    frozenset("me us myself who mich moi mí mim".split()),
    frozenset("about describe am know remember di mich moi mí mim".split()),
)
PROFILE = (
    "My name is. I am years old. I live in. I work as, my job is. My family: my wife, my husband, "
    "my children, my pet. I like, I love, my favourite, my hobby. I want, I plan. I am allergic to."
)
"""What is asked in place of "what do you know about me?", which has no words to search by."""

_SAID_BY_ASSISTANT = re.compile(
    r"\b(?:did you|you(?: have|'ve|’ve)? (?:just |already |once )?(?:said|told|suggested|gave|"
    r"given|recommended|mentioned|wrote|written|listed|explained|provided|proposed|advised|picked|"
    r"named|came up)|(?:was|were) your (?:\w+ )?(?:advice|answer|suggestion|recommendation|"
    r"explanation)|hast du|tu m'as|me (?:dijiste|recomendaste)|ты (?:сказал|советовал)\w*)\b|"
    r"(?:你|您).{0,3}(?:说过|推荐过|建议过)|あなた(?:は|が)",
    re.IGNORECASE,
)
"""What was said: "can you suggest" asks for something new."""
_IN_SAID_BY_ASSISTANT = (
    frozenset("you your hast tu dijiste recomendaste".split()),
    frozenset(
        """did said told suggested gave given recommended mentioned wrote written listed explained
        provided proposed advised picked named came was were hast as me""".split()
    ),
)
_SAID_BETWEEN = re.compile(
    r"\b(?:our (?:\w+ ){0,2}(?:chat|conversation|discussion)s?|"
    r"we (?:\w+ )?(?:talk|discuss|spoke)\w*|remind me)\b",
    re.IGNORECASE,
)
_IN_SAID_BETWEEN = (frozenset("our we remind".split()),)
_LOOKS_BACK = re.compile(
    r"\b(?:did|was|were|had|first|before|originally|previously|used to|ago|initially|former\w*|"
    r"earlier|back (?:then|in|when)|no longer)\b",
    re.IGNORECASE,
)
_ALONE_LOOK_BACK = frozenset(
    "did was were had first before originally previously ago initially earlier".split()
)
_IN_LOOKS_BACK = (frozenset("used back longer".split()),)
_REFERS = frozenset(
    """it its that this those these they them their theirs he him his she her hers one ones there
    then same other another both else ones either former latter""".split()
)
"""Words that stand for something said before."""
_ASKS = frozenset("what when where who whose which why how and".split())
_ABOUT_ANSWER = frozenset("you mean".split())


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A question, read."""

    text: str
    """What is embedded."""
    words: tuple[QueryWord, ...] = ()
    terms: tuple[Term, ...] = ()
    """Distinct."""
    names: tuple[int, ...] = ()
    """Terms under which an author of one of its words' name is found."""
    addressed: tuple[int, ...] = ()
    """Those of `terms` that are written like names."""
    of_self: bool = False
    """Whether the asker's own statements are asked for."""
    of_assistant: bool = False
    """Whether what the assistant said is asked for."""
    asks_back: bool = False
    """Whether it asks for what was said or done before."""
    looks_back: bool = False
    """Whether a past state is asked for, so that the newest value is not the answer."""
    period: Period | None = None
    profile: bool = False
    """Whether all that is known of the asker is asked for."""
    topical: int = 0
    """How many of its terms say what it is about."""

    @property
    def by_time(self) -> bool:
        """Whether it asks for all that was said in a time, as in "what did I say yesterday?"."""
        return self.period is not None and not self.topical and self.asks_back

    @property
    def recalls(self) -> bool:
        """Whether it asks memory for anything: small talk does not."""
        return bool(self.topical) or self.profile or self.by_time

    @property
    def wants_newest(self) -> bool:
        """Whether of several statements the last one is the answer: now, or by a given day."""
        if self.period is not None:
            return self.period.up_to
        return not self.looks_back

    def rarity(self, idf: Sequence[float]) -> Mapping[str, float]:
        """How much each word counts in a vector.

        idf  one a term, in their order
        """
        of = {t.hash: t.weight * i for t, i in zip(self.terms, idf, strict=True)}
        found: dict[str, float] = {}
        for word in self.words:
            if len(word.terms) == 1:
                found[word.word] = of.get(word.terms[0], 0.0)
            elif word.terms:
                found[word.word] = max(of.get(t, 0.0) for t in word.terms)
            else:
                found[word.word] = COMMON
        return found


def read(text: str, surroundings: str, now: datetime) -> Question:
    """Read a question.

    surroundings  what was said just before it, for questions that do not stand alone
    now           when it is asked, in the asker's zone
    """
    asked = analysis.normal(_ends(text.strip()))
    words = analysis.query_words(asked)
    alone = analysis.words_alone(asked, words)
    if len(asked) < 200 and _found(_PROFILE, _IN_PROFILE, asked, alone):
        return _read(analysis.query_words(PROFILE), PROFILE, "", None, profile=True)
    when = period(asked, now, alone) if len(asked) < LONGEST_DATED else None
    if when is not None:
        words = _timed(words, asked, when)
    context = surroundings if surroundings and when is None and _leans(words) else ""
    return _read(words, asked, analysis.normal(_ends(context)), when, alone)


def _found(
    pattern: re.Pattern[str],
    needed: Iterable[frozenset[str]],
    text: str,
    alone: AbstractSet[str] | None,
) -> bool:
    """Whether an expression is found in a text.

    needed  a word of each is in the text then, if its words are known
    alone   see analysis.words_alone
    """
    if alone is not None and any(words.isdisjoint(alone) for words in needed):
        return False
    return pattern.search(text) is not None


def _timed(words: Sequence[QueryWord], asked: str, when: Period) -> list[QueryWord]:
    """What names a time is not what a question is about."""
    first, end = when.words
    return [
        replace(word, topical=False, terms=() if when.up_to else word.terms)
        if first <= start < end
        else word
        for word, start in zip(words, analysis.starts(asked), strict=True)
    ]


@lru_cache(maxsize=8_192)
def _term(hash: int, topical: bool, weight: float) -> Term:
    return Term(hash=hash, topical=topical, weight=weight)


def _terms(own: Iterable[QueryWord], around: Iterable[QueryWord]) -> list[Term]:
    """The distinct terms of a question and of what was said before it, in order."""
    topical: dict[int, bool] = {}
    for words in (own, around):
        for word in words:
            for term in word.terms:
                topical[term] = word.topical or topical.get(term, False)
    own_terms = {term for word in own for term in word.terms} if around else topical
    return [
        _term(t, is_topical, 1.0 if t in own_terms else SURROUNDINGS)
        for t, is_topical in topical.items()
    ]


def _read(
    own: Sequence[QueryWord],
    asked: str,
    context: str,
    when: Period | None,
    alone: AbstractSet[str] | None = None,
    *,
    profile: bool = False,
) -> Question:
    """A question as it is searched for.

    context  what was said before it, "" where it stands alone
    alone    see analysis.words_alone
    """
    around = analysis.query_words(context) if context else []
    terms = _at_most(_terms(own, around), MOST_TERMS)
    by_assistant = not profile and _found(_SAID_BY_ASSISTANT, _IN_SAID_BY_ASSISTANT, asked, alone)
    between = not profile and _found(_SAID_BETWEEN, _IN_SAID_BETWEEN, asked, alone)
    looks_back = _looks_back(asked, alone)
    return Question(
        text=f"{asked}\n{context}" if context else asked,
        words=(*own, *around),
        terms=terms,
        names=_at_most(list(dict.fromkeys([a for w in own for a in w.authors])), MOST_TERMS),
        addressed=tuple({t for w in own if w.named and w.topical for t in w.terms}),
        of_self=not (by_assistant or between) and any(w.of_self for w in own),
        of_assistant=by_assistant,
        asks_back=by_assistant or between or looks_back,
        looks_back=looks_back,
        period=when,
        profile=profile,
        topical=sum([term.topical for term in terms]),
    )


def _looks_back(asked: str, alone: AbstractSet[str] | None) -> bool:
    if alone is not None:
        if not _ALONE_LOOK_BACK.isdisjoint(alone):
            return True
        if any(word.startswith("former") for word in alone):
            return True
    return _found(_LOOKS_BACK, _IN_LOOKS_BACK, asked, alone)


def _leans(words: Sequence[QueryWord]) -> bool:
    """Whether a question leans on what was said before it: one of its words stands for something.

    With a topic of its own it is short then; without one it asks, as in "what about her?". What
    only talks about the answer, as in "make it shorter" or "what do you mean?", does not lean.
    """
    said = [word.word for word in words]
    if not _REFERS.intersection(said):
        return False
    topical = sum(word.topical for word in words)
    if topical:
        return topical <= 3
    return said[0] in _ASKS and not _ABOUT_ANSWER.intersection(said)


def _at_most(values: Sequence[T], count: int) -> tuple[T, ...]:
    """The first and the last of too many."""
    if len(values) <= count:
        return tuple(values)
    return (*values[: count // 2], *values[-count // 2 :])


def _ends(text: str) -> str:
    if len(text) <= LONGEST:
        return text
    return f"{text[: LONGEST // 2]} {text[-LONGEST // 2 :]}"
