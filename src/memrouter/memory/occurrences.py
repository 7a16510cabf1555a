"""Where the words of a question stand in a vault, and which rows are of one conversation.

Arrays with one row a chunk, in the order of their conversations. Compiled (native/ranking.pyx)
where that could be; what is named `…_by_numpy` does it elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from memrouter.domain import Postings
from memrouter.native import compiled
from memrouter.ports import Signals

Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Hashes = npt.NDArray[np.unsignedinteger[Any]]

WINDOW = (1.0, 0.5, 0.25)
"""A word said one turn away counts half, two turns away a quarter."""
BACKGROUND = 100
"""Chunks assumed outside the vault, so that idf means something while a vault is small."""
GAP_MS = 30 * 60 * 1000
"""Uploads that name no conversation are one as long as no pause is longer than this."""

_native: Any = compiled("ranking")


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """One term of a question."""

    hash: int
    topical: bool = True
    """Whether it says what the question is about."""
    weight: float = 1.0
    """How much it counts, beside its idf."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where some index terms stand: one entry an occurrence, in no order."""

    hashes: npt.NDArray[np.uint32]
    rows: Rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Occurrences:
    """Where the terms of a question occur."""

    rows: Rows
    """Rows with a term in reach of WINDOW, ascending."""
    counts: Floats
    """How often each term stands in each of `rows`; shape (terms, rows)."""
    idf: Floats
    """Inverse document frequency a term, shape (terms,)."""


def idf(matches: Floats, rows: int) -> Floats:
    """BM25's inverse document frequency, BACKGROUND rows without the term added."""
    found: Floats = np.log1p((rows + BACKGROUND - matches + 0.5) / (matches + 0.5))
    return found.astype(np.float32)


def conversations(signals: Signals) -> Rows:
    """A number a row, ascending: equal in one conversation.

    What was uploaded without one is cut into episodes where a pause is longer than GAP_MS.
    """
    if _native is None or len(signals.ids) == 0:
        return conversations_by_numpy(signals)
    threads = np.empty(len(signals.ids), np.int64)
    _native.conversations(signals.groups, signals.created, GAP_MS, threads)
    return threads


def conversations_by_numpy(signals: Signals) -> Rows:
    """See `conversations`."""
    if len(signals.ids) == 0:
        return np.zeros(0, np.int64)
    new = np.zeros(len(signals.ids), np.bool_)
    paused = (signals.groups[1:] == 0) & (np.diff(signals.created) > GAP_MS)
    np.logical_or(signals.groups[1:] != signals.groups[:-1], paused, out=new[1:])
    return np.cumsum(new)


def among(values: Hashes, wanted: Sequence[int]) -> Flags:
    """Which values are among `wanted`; about 1 ns a value."""
    exact = np.array(wanted, values.dtype)
    if _native is None:
        return np.isin(values, exact)
    flags = np.empty(len(values), np.uint8)
    exact.sort()
    _native.among(values, exact, flags)
    return flags.view(np.bool_)


def places(signals: Signals, wanted: Sequence[int]) -> Places:
    """Find index terms by their hashes."""
    if signals.postings is not None:
        return _listed(signals, signals.postings, wanted)
    if _native is None:
        return places_by_numpy(signals, wanted)
    exact = np.array(wanted, np.uint32)
    exact.sort()
    hashes, rows = _native.places(signals.terms, signals.starts, exact)
    return Places(hashes=np.frombuffer(hashes, np.uint32), rows=np.frombuffer(rows, np.int64))


def places_by_numpy(signals: Signals, wanted: Sequence[int]) -> Places:
    """See `places`; looks at all terms, whatever lists there are."""
    at = np.flatnonzero(np.isin(signals.terms, np.array(wanted, np.uint32)))
    return Places(
        hashes=signals.terms[at], rows=np.searchsorted(signals.starts, at, side="right") - 1
    )


def _listed(signals: Signals, lists: Postings, wanted: Sequence[int]) -> Places:
    """The same by the lists of a large vault, and by looking at the terms that came later."""
    hashes, rows = [np.zeros(0, np.uint32)], [np.zeros(0, np.int64)]
    for hash in dict.fromkeys(wanted):
        at = int(np.searchsorted(lists.hashes, np.uint32(hash)))
        if at < len(lists.hashes) and lists.hashes[at] == hash:
            chunks = lists.chunks[lists.starts[at] : lists.starts[at + 1]]
            rows.append(lists.rows[chunks].astype(np.int64))
            hashes.append(np.full(len(chunks), hash, np.uint32))
    lengths = np.diff(signals.starts)[lists.rest]
    ends = np.cumsum(lengths)
    source = np.arange(lengths.sum()) + np.repeat(
        signals.starts[lists.rest] - ends + lengths, lengths
    )
    later = signals.terms[source]
    at_later = np.flatnonzero(among(later, wanted))
    hashes.append(later[at_later])
    rows.append(lists.rest[np.searchsorted(ends, at_later, side="right")])
    return Places(hashes=np.concatenate(hashes), rows=np.concatenate(rows))


def occurrences(signals: Signals, terms: Sequence[Term], there: Places) -> Occurrences:
    """Count distinct terms in the rows near which they stand.

    there  where these terms stand, and maybe others
    """
    count = len(signals.ids)
    hashes = np.array([term.hash for term in terms], np.uint32)
    order = np.argsort(hashes)
    hashes = hashes[order]
    counted = _counted_by_numpy if _native is None else _counted
    rows, counts, matches = counted(count, hashes, order, there)
    return Occurrences(rows=rows, counts=counts, idf=idf(matches, count))


def _counted(count: int, hashes: Hashes, order: Rows, there: Places) -> tuple[Rows, Floats, Floats]:
    """See `_counted_by_numpy`."""
    which, flags = np.empty(len(there.rows), np.int64), np.zeros(count, np.uint8)
    reach = len(WINDOW) - 1
    found = _native.reached(there.hashes, there.rows, hashes, reach, which, flags)
    rows, counts = np.empty(found, np.int64), np.zeros((len(hashes), found), np.float32)
    matches = np.zeros(len(hashes), np.float32)
    _native.count(which, there.rows, order, flags, rows, counts, matches)
    return rows, counts, matches


def _counted_by_numpy(
    count: int, hashes: Hashes, order: Rows, there: Places
) -> tuple[Rows, Floats, Floats]:
    """Rows in reach of these terms, how often each stands in them, and in how many.

    hashes  of the terms, ascending; `order` says which row of the counts each has
    """
    nearest = np.minimum(np.searchsorted(hashes, there.hashes), max(len(hashes) - 1, 0))
    which = order[nearest] if len(hashes) else np.zeros(0, np.int64)
    own = np.flatnonzero(hashes[nearest] == there.hashes) if len(hashes) else which
    which, held = which[own], there.rows[own]
    reached = np.zeros(count + 2 * len(WINDOW), np.bool_)  # wide enough for the first and last row
    for step in range(1, 2 * len(WINDOW)):
        reached[held + step] = True
    reached = reached[len(WINDOW) : count + len(WINDOW)]
    rows = np.flatnonzero(reached)
    column = np.cumsum(reached) - 1
    flat = np.bincount(which * len(rows) + column[held], minlength=len(hashes) * len(rows))
    counts = flat.reshape(len(hashes), len(rows)).astype(np.float32)
    return rows, counts, np.count_nonzero(counts, axis=1).astype(np.float32)
