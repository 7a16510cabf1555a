"""Lists of where each term of a large vault stands, made aside, kept up as chunks are added.

Pure. New chunks are not put into the lists, which would move all that is behind them, but noted as
the rest; when the rest has grown, the lists are made anew. Rows move when chunks are put between
others, so the lists hold chunks, and one table tells the row of each. Until there are lists, every
term is looked at.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from memrouter.domain import Postings
from memrouter.ports import Signals

LARGE = 50_000
"""Rows from which on lists are worth their memory: some 90 bytes a chunk of 20 terms."""
REST = 16
"""The rest may be this part of all rows before the lists are to be made anew."""


def wanted(signals: Signals) -> bool:
    """Whether lists are to be made of some signals, for want of any or because the rest grew."""
    count = len(signals.ids)
    if count < LARGE:
        return False
    if signals.postings is None:
        return int(signals.ids.max()) - int(signals.ids.min()) < 1 << 32
    return len(signals.postings.rest) > count // REST


def made(signals: Signals) -> Postings:
    """Lists of all terms; a second for 20 million."""
    least = int(signals.ids.min())
    chunks = (signals.ids - least).astype(np.uint32)
    keys = signals.terms.astype(np.uint64)
    keys <<= np.uint64(32)
    keys |= np.repeat(chunks, np.diff(signals.starts))
    keys.sort()
    listed = keys.astype(np.uint32)  # the lower half
    keys >>= np.uint64(32)
    first = np.flatnonzero(np.diff(keys, prepend=np.uint64(1 << 32)))
    rows = np.zeros(int(chunks.max()) + 1, np.int32)
    rows[chunks] = np.arange(len(chunks), dtype=np.int32)
    return Postings(
        hashes=keys[first].astype(np.uint32),
        starts=np.append(first, len(keys)),
        chunks=listed,
        rows=rows,
        rest=np.zeros(0, np.int64),
    )


def placed(signals: Signals, lists: Postings) -> Postings:
    """The same lists, for where their chunks stand now that there are more."""
    known = len(lists.rows)
    chunks = signals.ids - signals.ids.min()
    inside = chunks < known
    rows = np.zeros(known, np.int32)
    at = np.flatnonzero(inside)
    rows[chunks[at]] = at
    return replace(lists, rows=rows, rest=np.flatnonzero(~inside))
