"""Who said what: the rows whose author a question asks for, by name, by "I" or by "you".

Stored turns say little about their author: a role, sometimes a name in front ("Ann: …"). Where a
name is only ever heard from one side of a conversation, it is the other side's name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from memrouter.domain import ROLES
from memrouter.memory import analysis
from memrouter.memory.occurrences import Flags, Floats, Occurrences, Places, Rows, Term, among
from memrouter.memory.question import Question
from memrouter.native import compiled
from memrouter.ports import Signals

REGULAR = 0.02
"""Share of a vault's rows that must name an author, or be written by them, for it to mean much."""
ONE_SIDED = 0.9
"""Share of the mentions of a name that one side makes, if it is the name of the other."""

NAME = 0.5
"""How much a name counts as a word where it says whose words are asked for."""

_native: Any = compiled("ranking")
_USER, _ASSISTANT = ROLES.index("user"), ROLES.index("assistant")
_SELF = analysis.term_hash(analysis.SPEAKS_OF_SELF)


def wanted(question: Question) -> tuple[int, ...]:
    """The index terms that tell who wrote what this question asks for."""
    return (*question.names, _SELF) if question.of_self else question.names


def asked_for(
    signals: Signals, threads: Rows, question: Question, there: Places, found: Occurrences
) -> Floats | None:
    """How much each row is by whom the question asks for, 0 to 1; None if it asks for nobody.

    threads  see occurrences.conversations
    there    where the `wanted` terms stand, and maybe others
    found    where the question's own terms occur
    """
    named = _signed(signals, question.names, there)
    if named is not None:
        return named.astype(np.float32)
    addressed = _addressed(signals, threads, question, found)
    if addressed is not None:
        return addressed
    if question.of_assistant:
        said: Floats = (signals.roles == _ASSISTANT).astype(np.float32)
        return said
    if question.of_self:
        own = np.zeros(len(signals.ids), np.float32)
        own[there.rows[there.hashes == np.uint32(_SELF)]] = 1.0
        own *= signals.roles == _USER
        return own
    return None


def without_names(question: Question) -> list[Term]:
    """The terms of a question, names counting less: the other side says them, not their owner."""
    if question.of_self or question.of_assistant:
        return list(question.terms)
    return [
        replace(term, weight=NAME * term.weight) if term.hash in question.addressed else term
        for term in question.terms
    ]


def _signed(signals: Signals, names: Sequence[int], there: Places) -> Flags | None:
    """Rows with one of these names in front.

    Someone who hardly wrote anything is no author but a heading, as in "Recipe: …".
    """
    least = max(3.0, REGULAR * len(signals.ids))
    signed: Flags | None = None
    if np.count_nonzero(among(there.hashes, names)) < least:
        return None
    for name in names:
        rows = there.rows[there.hashes == np.uint32(name)]
        if len(rows) >= least:
            signed = np.zeros(len(signals.ids), np.bool_) if signed is None else signed
            signed[rows] = True
    if signed is None:
        return None
    # The later chunks of a turn do not repeat who said it.
    further = signals.memories[1:] == signals.memories[:-1]
    if not further.any():
        return signed
    first = np.flatnonzero(np.concatenate((np.ones(1, np.bool_), ~further)))
    named: Flags = np.repeat(
        np.logical_or.reduceat(signed, first), np.diff(first, append=len(signed))
    )
    return named


def _addressed(
    signals: Signals, threads: Rows, question: Question, found: Occurrences
) -> Floats | None:
    """Rows by someone whose name only the other side of the conversation says.

    Sides are the roles or, where a vault has but one, every other turn of a conversation.
    """
    total: Floats | None = None
    for number, term in enumerate(question.terms):
        if term.hash not in question.addressed:
            continue
        rows = found.rows[found.counts[number] > 0]
        if len(rows) < max(5.0, REGULAR * len(signals.ids)):
            continue
        side = _other_side(signals, threads, rows)
        if side is not None:
            total = side if total is None else total + side
    return total


def _other_side(signals: Signals, threads: Rows, mentions: Rows) -> Floats | None:
    """How surely each row is on the side that does not make these mentions; None if both do."""
    by_user = signals.roles == _USER
    if 0.1 < np.count_nonzero(by_user) / len(by_user) < 0.9:
        side, group = by_user, np.zeros(len(threads), np.int64)
    else:
        side, group = _odd_turns(signals, threads), threads
    return leaning(group, side, mentions)


def leaning(group: Rows, side: Flags, mentions: Rows) -> Floats | None:
    """How surely each row is on the other side than the mentions; None if they come from both.

    group  ascending from 0: sides are compared within each
    """
    if _native is None:
        return leaning_by_numpy(group, side, mentions)
    found = np.empty(len(group), np.float32)
    one_sided = _native.other_side(group, side.view(np.uint8), mentions, ONE_SIDED, found)
    return found if one_sided else None


def leaning_by_numpy(group: Rows, side: Flags, mentions: Rows) -> Floats | None:
    """See `leaning`."""
    last = int(group[-1]) + 1
    odd = np.bincount(group[mentions], side[mentions], minlength=last)
    count = np.bincount(group[mentions], minlength=last)
    even = count - odd
    telling = count >= 2
    heard = np.maximum(odd, even)[telling].sum()
    if not telling.any() or heard < ONE_SIDED * count[telling].sum():
        return None
    found = ((even - odd) / np.maximum(count, 1))[group] * np.where(side, 1, -1)
    return np.maximum(found, 0).astype(np.float32)


def _odd_turns(signals: Signals, threads: Rows) -> Flags:
    """Whether a row is part of the second, fourth, … turn of its conversation."""
    turn = _turns(signals)
    first = np.flatnonzero(np.diff(threads, prepend=-1))
    return ((turn - turn[first][threads]) & 1).astype(np.bool_)


def _turns(signals: Signals) -> Rows:
    """A number a row, equal for the chunks of one turn."""
    new = np.zeros(len(signals.memories), np.int64)
    new[1:] = signals.memories[1:] != signals.memories[:-1]
    return np.cumsum(new)
