"""Conversations of any length: sessions of LoCoMo in the order of their dates, with questions.

A conversation longer than all of LoCoMo is filled up with turns that are no question's evidence,
some of their words changed; they come between the others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import groupby
from random import Random

from bench.recall.data import History, Question, Role

from memrouter.tokens import MESSAGE_TOKENS, estimate

VARIED = 0.08
"""Share of the words of filler that become other words."""
BETWEEN = timedelta(seconds=30)
"""From one turn of a session to the next."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """One turn."""

    role: Role
    text: str
    created: datetime

    @property
    def tokens(self) -> int:
        """What it adds to a prompt."""
        return estimate(self.text) + MESSAGE_TOKENS


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """A long conversation, and questions on it; evidence is by place among its turns."""

    turns: tuple[Said, ...]
    questions: tuple[Question, ...]

    @property
    def tokens(self) -> int:
        """Of all turns."""
        return sum(turn.tokens for turn in self.turns)

    @property
    def asked(self) -> datetime:
        """When its questions are asked."""
        return self.turns[-1].created + timedelta(hours=12)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Session:
    turns: tuple[Said, ...]
    source: tuple[tuple[int, int], ...]
    """History and place of each turn; () for filler."""

    @property
    def tokens(self) -> int:
        return sum(turn.tokens for turn in self.turns)


def build(histories: Sequence[History], tokens: int, start: int = 0) -> Conversation:
    """A conversation of at least `tokens`, from the history at `start` on."""
    chosen: list[_Session] = []
    for session in _endless(histories, start):
        missing = tokens - sum(s.tokens for s in chosen)
        if missing <= 0:
            break
        chosen.append(_cut(session, missing))
    chosen.sort(key=lambda session: session.turns[0].created)
    turns = tuple(turn for session in chosen for turn in session.turns)
    places: dict[tuple[int, int], int] = {}
    at = 0
    for session in chosen:
        places |= {source: at + n for n, source in enumerate(session.source)}
        at += len(session.turns)
    return Conversation(turns=turns, questions=tuple(_questions(histories, places)))


def _questions(
    histories: Sequence[History], places: dict[tuple[int, int], int]
) -> Iterator[Question]:
    for h, history in enumerate(histories):
        for question in history.answerable:
            evidence = [places.get((h, e)) for e in question.evidence]
            known = tuple(sorted(place for place in evidence if place is not None))
            if len(known) == len(evidence):
                yield replace(question, evidence=known)


def _endless(histories: Sequence[History], start: int) -> Iterator[_Session]:
    count = len(histories)
    order = [(start + n) % count for n in range(count)]
    for h in order:
        yield from _sessions(histories[h], h)
    random = Random(5)
    first = min(history.turns[0].created for history in histories)
    last = max(history.turns[-1].created for history in histories)
    while True:
        for h in order:
            for session in _sessions(histories[h], h):
                when = first + (last - first) * random.random()
                if filler := _filler(session, histories, when, random):
                    yield filler


def _sessions(history: History, h: int) -> Iterator[_Session]:
    user = _speaker(history.turns[0].text)
    numbered = enumerate(history.turns)
    for _, group in groupby(numbered, key=lambda pair: pair[1].session):
        pairs = list(group)
        yield _Session(
            turns=tuple(
                Said(
                    role="user" if _speaker(turn.text) == user else "assistant",
                    text=turn.text,
                    created=turn.created + n * BETWEEN,
                )
                for n, (_, turn) in enumerate(pairs)
            ),
            source=tuple((h, place) for place, _ in pairs),
        )


def _speaker(text: str) -> str:
    return text.partition(":")[0]


def _cut(session: _Session, tokens: int) -> _Session:
    passed = 0
    for n, turn in enumerate(session.turns, start=1):
        passed += turn.tokens
        if passed >= tokens:
            return _Session(turns=session.turns[:n], source=session.source[:n])
    return session


def _filler(
    session: _Session, histories: Sequence[History], when: datetime, random: Random
) -> _Session | None:
    evidence = {(h, e) for h in {h for h, _ in session.source} for e in _evidence(histories[h])}
    words = [w for turn in session.turns for w in turn.text.split() if len(w) > 5]
    kept = [t for t, source in zip(session.turns, session.source, strict=True)
            if source not in evidence]  # fmt: skip
    turns = tuple(
        Said(role=t.role, text=_varied(t.text, words, random), created=when + n * BETWEEN)
        for n, t in enumerate(kept)
    )
    return _Session(turns=turns, source=()) if turns else None


def _evidence(history: History) -> set[int]:
    return {e for question in history.questions for e in question.evidence}


def _varied(text: str, words: Sequence[str], random: Random) -> str:
    who, colon, said = text.partition(":")
    changed = [
        random.choice(words) if len(word) > 4 and random.random() < VARIED else word
        for word in said.split(" ")
    ]
    return f"{who}{colon}{' '.join(changed)}"
