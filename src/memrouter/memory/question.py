"""What a question is about: its terms, whose words it asks for, which time, and whether it asks
memory anything at all."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import reduce
from operator import or_
from typing import Any, NamedTuple, TypeVar

from memrouter.memory import analysis, clues
from memrouter.memory.analysis import QueryWord
from memrouter.memory.occurrences import Term
from memrouter.memory.periods import Period, period
from memrouter.native import compiled

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

# Under an expression stand the words of which a Latin text has one, of each set, if it is found.
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
    clues.one_of("me us myself who mich moi mí mim".split()),
    clues.one_of("about describe am know remember di mich moi mí mim".split()),
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
    clues.one_of("you your hast tu dijiste recomendaste".split()),
    clues.one_of(
        """did said told suggested gave given recommended mentioned wrote written listed explained
        provided proposed advised picked named came was were hast as me""".split()
    ),
)
_SAID_BETWEEN = re.compile(
    r"\b(?:our (?:\w+ ){0,2}(?:chat|conversation|discussion)s?|"
    r"we (?:\w+ )?(?:talk|discuss|spoke)\w*|remind me)\b",
    re.IGNORECASE,
)
_IN_SAID_BETWEEN = (clues.one_of("our we remind".split()),)
_LOOKS_BACK = re.compile(
    r"\b(?:did|was|were|had|first|before|originally|previously|used to|ago|initially|former\w*|"
    r"earlier|back (?:then|in|when)|no longer)\b",
    re.IGNORECASE,
)
_LOOK_BACK = clues.one_of(
    "did was were had first before originally previously ago initially earlier".split()
)
"""Words that look back by themselves; those that begin with "former" too."""
_IN_LOOKS_BACK = (clues.one_of("used back longer".split()),)
_REFERS = clues.one_of(
    """it its that this those these they them their theirs he him his she her hers one ones there
    then same other another both else ones either former latter""".split()
)
"""Words that stand for something said before."""
_OF_SELF = clues.one_of(())
"""Of words by which people speak of themselves."""
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
    own = _words(asked)
    likely = own.clues if analysis.latin(asked) else clues.ANY
    if len(asked) < 200 and _found(_PROFILE, _IN_PROFILE, asked, likely):
        return _read(_words(PROFILE), PROFILE, "", None, profile=True)
    when = period(asked, now, likely) if len(asked) < LONGEST_DATED else None
    if when is not None:
        own = _timed(own, asked, when)
    leans = surroundings and when is None and own.clues & _REFERS and _leans(own.words)
    return _read(own, asked, analysis.normal(_ends(surroundings)) if leans else "", when)


class _Words(NamedTuple):
    """The words of a text, in order."""

    words: Sequence[QueryWord]
    clues: int
    """Of all of them."""
    terms: Sequence[Term]
    """Of all of them, as often as they occur."""
    names: Sequence[int]
    """Terms under which an author of that name is found, of all of them."""


_Known = tuple[int, QueryWord, QueryWord, tuple[Term, ...], tuple[int, ...]]
"""The clues of a word; the word anywhere, and with a capital inside a sentence; terms; names."""
_known: dict[str, _Known] = {}
_MOST_KNOWN = 8_192


def _learned(written: str, negated: bool) -> _Known:
    """What is known of a word as it is written, which is kept if it may come again."""
    plain = named = analysis.query_word(written, inside=False, negated=negated)
    if written[0].isupper():
        named = analysis.query_word(written, inside=True, negated=negated)
    hints = clues.of(plain.word)
    if plain.word.startswith("former"):
        hints |= _LOOK_BACK
    if analysis.of_self(plain.word):
        hints |= _OF_SELF
    terms = tuple(Term(hash=term, topical=plain.topical) for term in plain.terms)
    names = tuple(map(analysis.term_hash, analysis.author_terms(plain.word)))
    learned = hints, plain, named, terms, names
    if len(written) <= analysis.LONGEST_WORD and not negated:
        if len(_known) >= _MOST_KNOWN:
            _known.clear()
        _known[written] = learned
    return learned


def _words(text: str) -> _Words:
    """The words of a text in NFKC."""
    if _native is not None:
        return _Words(*_native.query_words(text, _known, _learned))
    words = analysis.query_words(text)
    known = [_learned(word.word, False) for word in words]
    return _Words(
        words=words,
        clues=reduce(or_, (hints for hints, *_ in known), 0),
        terms=_terms_of(words),
        names=[name for *_, names in known for name in names],
    )


def _terms_of(words: Iterable[QueryWord]) -> list[Term]:
    return [Term(hash=term, topical=word.topical) for word in words for term in word.terms]


def _found(pattern: re.Pattern[str], needed: Iterable[int], text: str, likely: int) -> bool:
    """Whether an expression is found in a text.

    needed  clues that a text in Latin letters has where it is
    likely  those of the text
    """
    for clue in needed:
        if not likely & clue:
            return False
    return pattern.search(text) is not None


def _timed(own: _Words, asked: str, when: Period) -> _Words:
    """What names a time is not what a question is about."""
    first, end = when.words
    words = [
        replace(word, topical=False, terms=() if when.up_to else word.terms)
        if first <= start < end
        else word
        for word, start in zip(own.words, analysis.starts(asked), strict=True)
    ]
    return own._replace(words=words, terms=_terms_of(words))


def _terms(own: Iterable[Term], around: Iterable[Term]) -> list[Term]:
    """The distinct terms of a question and of what was said before it, in order.

    One counts fully where the question has it, and is topical where it is so anywhere.
    """
    found: dict[int, Term] = {}
    for term in own:
        if found.setdefault(term.hash, term).topical < term.topical:
            found[term.hash] = term
    for term in around:
        known = found.get(term.hash)
        if known is None:
            found[term.hash] = replace(term, weight=SURROUNDINGS)
        elif known.topical < term.topical:
            found[term.hash] = replace(known, topical=True)
    return list(found.values())


def _read(
    own: _Words, asked: str, context: str, when: Period | None, *, profile: bool = False
) -> Question:
    """A question as it is searched for; context is what was said before it, "" if it is alone."""
    around = _words(context) if context else _Words((), 0, (), ())
    terms = _at_most(_terms(own.terms, around.terms), MOST_TERMS)
    latin = analysis.latin(asked)
    likely = own.clues if latin else clues.ANY
    by_assistant = not profile and _found(_SAID_BY_ASSISTANT, _IN_SAID_BY_ASSISTANT, asked, likely)
    between = not profile and _found(_SAID_BETWEEN, _IN_SAID_BETWEEN, asked, likely)
    looks_back = bool(latin and own.clues & _LOOK_BACK) or _found(
        _LOOKS_BACK, _IN_LOOKS_BACK, asked, likely
    )
    return Question(
        text=f"{asked}\n{context}" if context else asked,
        words=(*own.words, *around.words),
        terms=terms,
        names=_at_most(list(dict.fromkeys(own.names)), MOST_TERMS),
        addressed=tuple({t for w in own.words if w.named and w.topical for t in w.terms}),
        of_self=not (by_assistant or between) and bool(own.clues & _OF_SELF),
        of_assistant=by_assistant,
        asks_back=by_assistant or between or looks_back,
        looks_back=looks_back,
        period=when,
        profile=profile,
        topical=sum([term.topical for term in terms]),
    )


def _leans(words: Sequence[QueryWord]) -> bool:
    """Whether a question one of whose words stands for something leans on what was said before it.

    With a topic of its own it is short then; without one it asks, as in "what about her?". What
    only talks about the answer, as in "make it shorter" or "what do you mean?", does not lean.
    """
    topical = sum(word.topical for word in words)
    if topical:
        return topical <= 3
    said = [word.word for word in words]
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


_native: Any = compiled("text")
