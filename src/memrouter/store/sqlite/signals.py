"""The signals of a vault as arrays: read once, then kept up with what changed."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from memrouter.domain import Postings, VaultId
from memrouter.ports import Signals
from memrouter.store.sqlite import arrays, postings
from memrouter.store.sqlite.arrays import Arrays, Makers, Rows
from memrouter.store.sqlite.database import Database
from memrouter.store.sqlite.segments import Segment

_SOON = 8
"""Revisions that are caught up with at once, as few rows came with them."""
_AT_ONCE = 2_000
"""Rows that are read at once: 0.4 ms, where another thread takes 0.2 ms more than they do."""
_FEW = 64
"""New rows up to which they are put in one by one, instead of sorting all rows."""


@dataclass(frozen=True, slots=True)
class View:
    """What of a vault a recall may see: core and one session, or a session alone."""

    vault: VaultId
    session: str
    core: bool

    @property
    def sessions(self) -> tuple[str, str]:
        """Both names that a segment may have."""
        return ("" if self.core else self.session), self.session


class Held:
    """The signals of one view, in arrays with room for more."""

    def __init__(self, signals: Signals, epoch: int) -> None:
        self.lock = threading.Lock()
        """Whoever takes something in has it: reads of one vault may be in two threads."""
        self.signals = signals
        self.epoch = epoch
        self.last = int(signals.ids.max()) if len(signals.ids) else 0
        """The newest chunk that was seen; ids only grow."""
        self.lists: Postings | None = None
        """Made in another thread, for signals of this epoch; see `attach`."""
        self._room: Arrays = {}

    @property
    def size_bytes(self) -> int:
        held = sum(array.nbytes for array in self._arrays().values())
        listed = self.lists.size_bytes if self.lists else 0
        return held + listed + 2_000

    def take(self, changed: Sequence[Segment], revision: int, makers: Makers) -> None:
        """Take in segments that were added or changed; their old rows may be among them."""
        if arrays.native is not None and arrays.widths(self.signals) == makers.widths:
            rows = arrays.native.Rows(list(changed), self.last, *makers.widths)
            if not rows.given:
                self._merge(rows, revision, makers)
                return
        fresh = arrays.built(changed, revision, makers)
        for name, flags in arrays.NUMBERS:
            self._widen(name, getattr(fresh, name).shape[1])
            self._take_vectors(fresh, name, flags)
        self.signals = arrays.replaced(
            self.signals,
            revision=revision,
            embedder=makers.embedder,
            encoder=makers.encoder,
        )
        new = np.flatnonzero(fresh.ids > self.last)
        if len(new):
            self.last = int(fresh.ids.max())
            self._insert(fresh if len(new) == len(fresh.ids) else arrays.picked(fresh, new))

    def attach(self) -> Signals:
        """The signals, with the lists there are."""
        lists, now = self.lists, self.signals
        if lists is not None and (now.postings is None or now.postings.chunks is not lists.chunks):
            self.signals = replace(now, postings=postings.placed(now, lists))
        return self.signals

    def _take_vectors(self, fresh: Signals, name: str, flagged: str) -> None:
        old = self.signals
        flags = getattr(old, flagged)
        given = np.flatnonzero(getattr(fresh, flagged) & (fresh.ids <= self.last))
        if not len(given):
            return
        waiting = np.flatnonzero(~flags)
        _, rows, places = np.intersect1d(
            old.ids[waiting], fresh.ids[given], assume_unique=True, return_indices=True
        )
        rows, places = waiting[rows], given[places]
        # In place: whoever holds the old arrays was told that these rows have no vector.
        self._writable(name)[rows] = getattr(fresh, name)[places]
        flags = flags.copy()
        flags[rows] = True
        if flagged in self._room:
            self._room[flagged] = arrays.with_room(flags, len(self._room[flagged]))
        self.signals = arrays.replaced(self.signals, **{flagged: flags})

    def _merge(self, rows: Any, revision: int, makers: Makers) -> None:
        """Take in rows that native.signals read."""
        old = self.signals
        count, total = len(old.ids) + rows.count, len(old.terms) + rows.terms
        if rows.count:
            room = self._room
            fits = bool(room) and count < len(room["ids"]) and total < len(room["terms"])
            if not (fits and rows.behind(old.groups, old.created)):
                if rows.count <= _FEW:
                    self._make_room(count, total)
                else:
                    self._room = arrays.room(count, total, *makers.widths)
            rows.merge([getattr(old, name) for name in arrays.KINDS], self._room.values())
            self.last = rows.newest
        self.signals = arrays.first(self._arrays(), count, total, revision, makers)

    def _arrays(self) -> Arrays:
        return self._room or {name: getattr(self.signals, name) for name in arrays.KINDS}

    def _insert(self, new: Signals) -> None:
        old = self.signals
        if len(new.ids) > _FEW:
            self._room = {}
            self.signals = arrays.sorted_(arrays.joined(old, new))
            return
        at = arrays.places(old, new)
        count, total = len(old.ids) + len(new.ids), len(old.terms) + len(new.terms)
        fits = (
            bool(self._room) and count < len(self._room["ids"]) and total < len(self._room["terms"])
        )
        if not (fits and (at == len(old.ids)).all()):
            self._make_room(count, total)
            self._spread(old, new, at)
        else:
            self._append(old, new)
        views = {name: self._room[name][:count] for name in arrays.ROW_ARRAYS}
        self.signals = Signals(
            revision=new.revision,
            embedder=new.embedder,
            encoder=new.encoder,
            terms=self._room["terms"][:total],
            starts=self._room["starts"][: count + 1],
            postings=None,
            **views,
        )

    def _append(self, old: Signals, new: Signals) -> None:
        first, last = len(old.ids), len(old.ids) + len(new.ids)
        for name in arrays.ROW_ARRAYS:
            self._room[name][first:last] = getattr(new, name)
        self._room["terms"][len(old.terms) : len(old.terms) + len(new.terms)] = new.terms
        self._room["starts"][first + 1 : last + 1] = new.starts[1:] + len(old.terms)

    def _spread(self, old: Signals, new: Signals, at: Rows) -> None:
        """Copy the old rows into the room, each new one between those it belongs between."""
        for name in arrays.ROW_ARRAYS:
            arrays.interleaved(self._room[name], getattr(old, name), getattr(new, name), at, None)
        cuts = old.starts[at]
        lengths = np.diff(new.starts)
        arrays.interleaved(self._room["terms"], old.terms, new.terms, cuts, new.starts)
        sizes = np.empty(len(old.ids) + len(new.ids), np.int64)
        arrays.interleaved(sizes, np.diff(old.starts), lengths, at, None)
        self._room["starts"][0] = 0
        np.cumsum(sizes, out=self._room["starts"][1 : len(sizes) + 1])

    def _make_room(self, count: int, total: int) -> None:
        self._room = arrays.room(*arrays.spare(count, total), *arrays.widths(self.signals))

    def _widen(self, name: str, dimension: int) -> None:
        """The first vectors of a vault say how wide they are."""
        old = self.signals
        if getattr(old, name).shape[1] != dimension:
            self._room = {}
            wide = np.zeros((len(old.ids), dimension), np.int8)
            self.signals = arrays.replaced(old, **{name: wide})

    def _writable(self, name: str) -> npt.NDArray[np.int8]:
        found: npt.NDArray[np.int8] = getattr(self.signals, name)
        if not found.flags.writeable:  # they lie in what SQLite returned
            found = found.copy()
            self.signals = arrays.replaced(self.signals, **{name: found})
        return found


class SignalCache:
    """Signals of recently used vaults, bounded in bytes. For several threads.

    A vault that is larger than the bound is held alone.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._held: OrderedDict[View, tuple[Held, int]] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def peek(self, view: View, database: Database) -> Signals | None:
        """The signals of a view if that takes little: kept, not far behind, or of few rows."""
        with self._lock:
            held, _ = self._held.get(view, (None, 0))
            if held is not None:
                self._held.move_to_end(view)
        if held is None or len(held.signals.ids) >= postings.LARGE:
            few = held is None and _rows(view, database) <= _AT_ONCE
            return self.get(view, database) if few else self._as_it_is(held, database)
        if not held.lock.acquire(blocking=False):
            return None
        try:
            rows = database.all("catch_up", *view.sessions, held.signals.revision, _SOON)
            revision, epoch, *made = rows[0][:6] if rows else (0, 0, "", 0, "", 0)
            behind = revision - held.signals.revision
            if held.epoch != epoch or not 0 <= behind <= _SOON:
                return None
            if behind:
                changed = [Segment._make(row[6:]) for row in rows if row[6] is not None]
                held.take(changed, revision, Makers(*made))
        finally:
            held.lock.release()
        if behind:
            self._put(view, held)
        return held.attach()

    def _as_it_is(self, held: Held | None, database: Database) -> Signals | None:
        """What is kept, if nothing changed since."""
        now = database.one("state")
        if held is None or now is None or now[:2] != (held.signals.revision, held.epoch):
            return None
        return held.attach()

    def get(self, view: View, database: Database) -> Signals:
        """The newest signals of a view; reads only what changed since the last time."""
        with self._lock:
            held, _ = self._held.get(view, (None, 0))
        with database.reading():
            revision, epoch, *made, _ = database.one("state") or (0, 0, "", 0, "", 0, "")
            makers = Makers(*made)
            if held is None or held.epoch != epoch:
                rows = database.all("segments", *view.sessions)
                signals = arrays.build([Segment._make(row) for row in rows], revision, makers)
                held = Held(signals, epoch)
            else:
                with held.lock:
                    if held.signals.revision < revision:
                        since = held.signals.revision
                        rows = database.all("segments_since", *view.sessions, since)
                        held.take([Segment._make(row) for row in rows], revision, makers)
        found = held.attach()
        self._put(view, held)
        return found

    def list_terms(self, view: View) -> None:
        """Make lists of the terms of a large view, if it is still here."""
        with self._lock:
            held = self._held[view][0] if view in self._held else None
        if held is not None:
            held.lists = postings.made(held.signals)
            with self._lock:
                kept = view in self._held and self._held[view][0] is held
            if kept:
                self._put(view, held)

    def _put(self, view: View, held: Held) -> None:
        size = held.size_bytes
        with self._lock:
            _, before = self._held.pop(view, (None, 0))
            self._bytes -= before
            if not self._limit_bytes:
                return
            self._held[view] = held, size
            self._bytes += size
            # One stays, whatever its size: read anew for each question it takes no less memory.
            while self._bytes > self._limit_bytes and len(self._held) > 1:
                _, (_, freed) = self._held.popitem(last=False)
                self._bytes -= freed


def _rows(view: View, database: Database) -> int:
    row = database.one("count_rows", *view.sessions)
    return int(row[0]) if row else 0
