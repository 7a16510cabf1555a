"""The signals of a vault as arrays: read once, then kept up with what changed."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from memrouter.domain import VaultId
from memrouter.ports import Signals
from memrouter.store.sqlite.database import Database

Row = tuple[Any, ...]
"""id, memory, thread, created_ms, role, digest, terms, vector: what `signals` selects."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """All signals of a vault in the state that `revision` and `epoch` name."""

    epoch: int
    signals: Signals
    sessions: dict[int, str]
    """Thread → session."""

    @property
    def size_bytes(self) -> int:
        s = self.signals
        arrays = (s.ids, s.memories, s.groups, s.created, s.roles, s.digests, s.terms, s.starts)
        return sum(a.nbytes for a in arrays) + s.vectors.nbytes + 2_000


class SignalCache:
    """Signals of recently used vaults, bounded in bytes. Several threads use it, a vault one."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._held: OrderedDict[VaultId, Held] = OrderedDict()
        self._bytes = 0

    def get(self, vault: VaultId, database: Database) -> Held:
        """The newest signals of a vault; reads only what changed since the last time."""
        row = database.one("state")
        revision, epoch, embedder, _ = row or (0, 0, "", 0)
        held = self._held.get(vault)
        if held is not None and held.epoch == epoch and held.signals.revision == revision:
            self._touch(vault)
            return held
        if held is not None and held.epoch == epoch:
            changed = database.all("signals", held.signals.revision)
            signals = merged(held.signals, build(changed, revision, embedder), embedder)
        else:
            signals = build(database.all("signals", -1), revision, embedder)
        sessions = {id: session for id, session, _ in database.all("threads")}
        fresh = Held(epoch=epoch, signals=signals, sessions=sessions)
        self._put(vault, fresh)
        return fresh

    def drop(self, vault: VaultId) -> None:
        """Forget a vault."""
        held = self._held.pop(vault, None)
        if held is not None:
            self._bytes -= held.size_bytes

    def _touch(self, vault: VaultId) -> None:
        with suppress(KeyError):  # another thread dropped it meanwhile
            self._held.move_to_end(vault)

    def _put(self, vault: VaultId, held: Held) -> None:
        self.drop(vault)
        if held.size_bytes > self._limit_bytes:
            return
        self._held[vault] = held
        self._bytes += held.size_bytes
        while self._bytes > self._limit_bytes:
            try:
                _, oldest = self._held.popitem(last=False)
            except KeyError:
                break
            self._bytes -= oldest.size_bytes


def build(rows: Sequence[Row], revision: int, embedder: str) -> Signals:
    """Arrays of rows, in the order that Signals promises."""
    count = len(rows)
    if count:
        ids, memories, groups, created, roles, digests, terms, vectors = zip(*rows, strict=True)
    else:
        ids = memories = groups = created = roles = digests = terms = vectors = ()
    lengths = np.fromiter((len(t) >> 2 for t in terms), np.int64, count)
    embedded = np.fromiter((v is not None for v in vectors), np.bool_, count)
    dimension = next((len(v) for v in vectors if v is not None), 0)
    empty = bytes(dimension)
    data = b"".join(v if v is not None and len(v) == dimension else empty for v in vectors)
    unsorted = Signals(
        revision=revision,
        ids=np.array(ids, np.int64),
        memories=np.array(memories, np.int64),
        groups=np.array(groups, np.int64),
        created=np.array(created, np.int64),
        roles=np.array(roles, np.uint8),
        digests=np.array(digests, np.int64).view(np.uint64),
        terms=np.frombuffer(b"".join(terms), np.dtype("<u4")).astype(np.uint32, copy=False),
        starts=np.concatenate((np.zeros(1, np.int64), np.cumsum(lengths))),
        vectors=np.frombuffer(data, np.int8).reshape(count, dimension),
        embedded=embedded,
        embedder=embedder,
    )
    order = np.lexsort((unsorted.ids, unsorted.created, unsorted.groups))
    return unsorted if _ascending(order) else picked(unsorted, order)


def picked(signals: Signals, rows: npt.NDArray[np.int64]) -> Signals:
    """The signals of these rows, in this order."""
    lengths = np.diff(signals.starts)[rows]
    starts = np.concatenate((np.zeros(1, np.int64), np.cumsum(lengths)))
    source = np.arange(starts[-1]) - np.repeat(starts[:-1], lengths)
    source += np.repeat(signals.starts[:-1][rows], lengths)
    return Signals(
        revision=signals.revision,
        ids=signals.ids[rows],
        memories=signals.memories[rows],
        groups=signals.groups[rows],
        created=signals.created[rows],
        roles=signals.roles[rows],
        digests=signals.digests[rows],
        terms=signals.terms[source],
        starts=starts,
        vectors=signals.vectors[rows],
        embedded=signals.embedded[rows],
        embedder=signals.embedder,
    )


def merged(old: Signals, new: Signals, embedder: str) -> Signals:
    """The old signals with the new ones added, or in their place where the id is the same."""
    keep = np.flatnonzero(~np.isin(old.ids, new.ids))
    if len(keep) < len(old.ids):
        old = picked(old, keep)
    dimension = max(old.vectors.shape[1], new.vectors.shape[1])
    both = Signals(
        revision=new.revision,
        ids=np.concatenate((old.ids, new.ids)),
        memories=np.concatenate((old.memories, new.memories)),
        groups=np.concatenate((old.groups, new.groups)),
        created=np.concatenate((old.created, new.created)),
        roles=np.concatenate((old.roles, new.roles)),
        digests=np.concatenate((old.digests, new.digests)),
        terms=np.concatenate((old.terms, new.terms)),
        starts=np.concatenate((old.starts, new.starts[1:] + old.starts[-1])),
        vectors=np.concatenate((_wide(old.vectors, dimension), _wide(new.vectors, dimension))),
        embedded=np.concatenate((old.embedded, new.embedded)),
        embedder=embedder,
    )
    order = np.lexsort((both.ids, both.created, both.groups))
    return both if _ascending(order) else picked(both, order)


def _wide(vectors: npt.NDArray[np.int8], dimension: int) -> npt.NDArray[np.int8]:
    if vectors.shape[1] == dimension:
        return vectors
    return np.zeros((len(vectors), dimension), np.int8)


def _ascending(order: npt.NDArray[np.int64]) -> bool:
    return bool((np.diff(order) == 1).all()) if len(order) else True
