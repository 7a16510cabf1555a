"""Vaults of any size, made from real turns: words are varied so that the vocabulary grows too."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from random import Random

from .data import History, Turn

SESSION_TURNS = 25
VARIED = 0.08
"""Share of the words of repeated turns that become new ones."""


def grown(histories: Sequence[History], size: int) -> History:
    """A history of `size` turns in sessions of 25."""
    return History(name=f"{size} turns", turns=tuple(_turns(histories, size)), questions=())


def _turns(histories: Sequence[History], size: int) -> Iterator[Turn]:
    source = [turn for history in histories for turn in history.turns]
    random = Random(3)
    words = sorted({w for turn in source for w in turn.text.split() if len(w) > 5})
    start = source[0].created - timedelta(days=size // SESSION_TURNS)
    for n in range(size):
        turn = source[n % len(source)]
        text = turn.text if n < len(source) else _varied(turn.text, words, random)
        session, place = divmod(n, SESSION_TURNS)
        created = start + timedelta(days=session, minutes=place)
        yield Turn(role=turn.role, text=text, created=created, session=str(session))


def _varied(text: str, words: Sequence[str], random: Random) -> str:
    return " ".join(
        f"{random.choice(words)}{random.randrange(50)}"
        if len(word) > 4 and random.random() < VARIED
        else word
        for word in text.split()
    )
