"""What one vault file is told. Blocking; a file is used by one thread at a time."""

from __future__ import annotations

import struct
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import apsw
import numpy as np
import numpy.typing as npt

from memrouter.domain import ROLES, Block, NewTurn, Vectors
from memrouter.errors import Conflict, StoreError
from memrouter.ports import Ready, Stored
from memrouter.store.sqlite import encoding
from memrouter.store.sqlite import segments as packing
from memrouter.store.sqlite.database import Database
from memrouter.store.sqlite.segments import FULL, MANY, Segment
from memrouter.store.sqlite.vault import millis, storable, unpacked

_ROLE = {role: number for number, role in enumerate(ROLES)}
_BLOCKS_KEPT = timedelta(days=2)
_THREADS = 16
"""Threads of which a connection remembers the number."""


def remember(
    db: Database,
    turns: Sequence[NewTurn],
    block: Block | None,
    used: Sequence[bytes],
    dropped: Sequence[bytes],
    now: datetime,
    ready: Ready | None,
    encoder: str = "",
    *,
    mark: Callable[[], None] = lambda: None,
) -> Stored | None:
    """See VaultStore.remember. None, and nothing stored, if what is ready cannot be used.

    mark  called before chunks are stored that will wait for an encoder
    """
    with db.transaction():
        write = _Write(db, ready, encoder)
        if not write.usable:
            return None
        if write.encoder and any(turn.pieces for turn in turns):
            mark()
        for turn in turns:
            write.add(turn)
        write.end()
        if block is not None and (block.revision == write.found or _holds(db, block.chunks)):
            _put_block(db, block, now)
        if used:
            db.one("use_blocks", millis(now), apsw.carray(tuple(used)))
        for key in dropped:
            db.one("drop_block", key)
        if block is not None or dropped:
            db.one("drop_old_blocks", millis(now - _BLOCKS_KEPT))
    write.note()
    return Stored(
        turns=write.turns,
        chunks=tuple(write.chunks),
        pending=write.pending,
        revision=write.revision,
    )


@dataclass(slots=True)
class _Seen:
    """What the last write saw of a vault. It holds while nothing else was written to it."""

    revision: int
    epoch: int
    threads: dict[tuple[str, str], int] = field(default_factory=dict)
    small: dict[str, int] = field(default_factory=dict)
    """How many segments that are not full a session has."""


_Row = tuple[tuple[int, ...], bytes, int]
"""Record, hashed terms, and the number of the piece among all that came."""


class _Write:
    """Adds turns within one transaction."""

    def __init__(self, db: Database, ready: Ready | None, encoder: str) -> None:
        """Begin.

        encoder  which a vault takes that is new
        """
        self._db = db
        row = db.one("state") or (0, 0, "", 0, "", 0, "")
        self.found, self._epoch, embedder, self._dimension, held, _, following = row
        """The vault's revision before."""
        self.revision = self.found
        self.usable = ready is None or (
            embedder in ("", ready.embedder) and self._dimension in (0, ready.vectors.shape[1])
        )
        self.encoder: str = following or held
        if encoder and not self.encoder and self.usable:
            self.encoder = encoding.aim(db, encoder)
        self._ready = ready
        self._vectors = None if ready is None else encoding.quantised(ready.vectors)
        self._piece = 0
        seen = db.notes.pop(_Seen, None)
        fits = seen is not None and (seen.revision, seen.epoch) == (self.found, self._epoch)
        self._seen = seen if fits else _Seen(self.found, self._epoch)
        self._rows: dict[str, list[_Row]] = {}
        self.turns = 0
        self.chunks: list[int] = []
        self.pending = False

    def note(self) -> None:
        """Keep what was seen for the next write, now that this one is done."""
        self._seen.revision = self.revision
        self._db.notes[_Seen] = self._seen

    def add(self, turn: NewTurn) -> None:
        """Add a turn, unless it is stored already."""
        first = self._piece
        self._piece += len(turn.pieces)
        id = self._insert(turn)
        if id is None or not turn.keep:
            return
        if not self.turns:
            self.revision = encoding.next_revision(self._db)
        self.turns += 1
        digest = int.from_bytes(turn.digest[:8], "little")
        rows = self._rows.setdefault(storable(turn.session), [])
        for number, piece in enumerate(turn.pieces, start=first):
            chunk = self._db.insert("add_chunk", id, storable(piece.text), piece.tokens)
            assert chunk is not None
            self.chunks.append(chunk)
            head = (chunk, id, millis(turn.created), digest, self._thread(turn))
            rows.append(((*head, len(piece.terms) // 4, _ROLE[turn.role]), piece.terms, number))

    def end(self) -> None:
        """Write what recall scores of the new chunks, and note whose vectors they have."""
        if not self.chunks:
            return
        if self._ready is not None and not self._dimension:
            self._dimension = self._ready.vectors.shape[1]
            self._db.one("set_embedder", self._ready.embedder, self._dimension)
        if self._vectors is None:
            self.pending = True
            self._db.many("add_pending", [(id,) for id in self.chunks])
        if self.encoder:
            self.pending = True
            self._db.many("add_unencoded", [(id,) for id in self.chunks])
        for session, rows in self._rows.items():
            heads, terms, numbers = zip(*rows, strict=True)
            vectors = None if self._vectors is None else self._vectors[list(numbers)]
            for segment in packing.packed(heads, terms, vectors):
                _add_segment(self._db, session, segment, self.revision)
                if session in self._seen.small:
                    self._seen.small[session] += segment.size < FULL
            self._merge(session)

    def _insert(self, turn: NewTurn) -> int | None:
        values = (
            _ROLE[turn.role],
            storable(turn.text) if turn.keep else None,
            millis(turn.created),
            storable(turn.session),
            storable(turn.conversation),
            turn.position,
            storable(turn.model),
            sum(piece.tokens for piece in turn.pieces),
            turn.digest,
            turn.chain or None,
            turn.parent or None,
        )
        id = self._db.insert("add_memory", *values)
        if id is None and turn.keep:  # it may have been seen without being kept
            self._db.one("drop_unkept", turn.chain)
            id = self._db.insert("add_memory", *values)
        return id

    def _thread(self, turn: NewTurn) -> int:
        named = (storable(turn.session), storable(turn.conversation))
        threads = self._seen.threads
        if named not in threads:
            row = self._db.one("thread", *named) or self._db.one("add_thread", *named)
            assert row is not None
            if len(threads) == _THREADS:
                threads.clear()
            threads[named] = row[0]
        return threads[named]

    def _merge(self, session: str) -> None:
        """Put a session's small segments together once there are many."""
        small = self._seen.small
        if session not in small:
            row = self._db.one("count_small_segments", session, FULL)
            assert row is not None
            if len(small) == _THREADS:
                small.clear()
            small[session] = row[0]
        if small[session] >= MANY:
            del small[session]
            _merge(self._db, session, self._dimension)


def _holds(db: Database, chunks: Sequence[int]) -> bool:
    # A chunk may have been deleted since it was recalled: its text must not come back.
    wanted = array("q", set(chunks))
    if not wanted:
        return True
    row = db.one("count_chunks_of", apsw.carray(wanted))
    return row is not None and row[0] == len(wanted)


def _put_block(db: Database, block: Block, now: datetime) -> None:
    ids = struct.pack(f"<{len(block.chunks)}q", *block.chunks)
    db.one(
        "put_block",
        *(block.key, storable(block.text), ids, block.tokens),
        *(millis(block.made), millis(now), block.revision),
    )


def set_vectors(db: Database, embedder: str, ids: Sequence[int], vectors: Vectors) -> None:
    """See VaultStore.set_vectors."""
    rows = encoding.quantised(vectors)
    with db.transaction():
        held, dimension = db.one("embedder") or ("", 0)
        if held not in ("", embedder):
            raise _other_embedder(held, embedder)
        if dimension not in (0, rows.shape[1]):
            raise StoreError(f"Vectors of {rows.shape[1]} dimensions in a vault of {dimension}")
        if not dimension:
            db.one("set_embedder", embedder, rows.shape[1])
        revision = encoding.next_revision(db)
        order = np.argsort(np.array(ids, np.int64), kind="stable")
        sorted_ids, rows = np.array(ids, np.int64)[order], rows[order]
        again = False
        for place, segment in encoding.segments_of(db, ids):
            fresh = packing.with_vectors(segment, sorted_ids, rows)
            again = again or _overwrites(segment, sorted_ids)
            db.one("change_vectors", revision, fresh.embedded, fresh.vectors, place)
        if again:
            db.one("next_epoch")
        db.many("drop_pending", [(id,) for id in ids])


def delete(db: Database, id: int) -> bool:
    """See VaultStore.delete.

    A turn of a conversation leaves its digests: a client that resends it must not bring it back.
    """
    with db.transaction():
        if db.one("memory", id) is None:
            return False
        gone = {row[0] for row in db.all("chunks_of", id)}
        _drop_blocks_with(db, gone)
        _drop_rows(db, gone)
        db.one("delete_chunks_of", id)
        db.one("forget_memory", id)
        db.one("delete_memory", id)
        db.one("next_epoch")
    db.shrink()
    return True


def expire(db: Database, before: datetime) -> int:
    """See VaultStore.expire."""
    with db.transaction():
        ids = [row[0] for row in db.all("expired", millis(before))]
        gone = {row[0] for id in ids for row in db.all("chunks_of", id)}
        _drop_blocks_with(db, gone)
        _drop_rows(db, gone)
        for statement in ("delete_chunks_of", "forget_memory", "delete_memory"):
            db.many(statement, [(id,) for id in ids])
        db.one("next_epoch")
    db.shrink()
    return len(ids)


def clear(db: Database, session: str | None) -> int:
    """See VaultStore.clear."""
    with db.transaction():
        if session is None:
            count = db.one("count_all")
            db.one("drop_all_blocks")
            db.one("clear_all_segments")
            db.one("clear_all")
            db.one("clear_all_threads")
        else:
            count = db.one("count_session", session)
            _drop_blocks_with(db, {row[0] for row in db.all("chunks_of_session", session)})
            db.one("clear_segments", session)
            db.one("clear_session", session)
            db.one("clear_threads", session)
        db.one("next_epoch")
    db.shrink(vacuum=session is None)
    assert count is not None
    return int(count[0])


def _other_embedder(held: str, embedder: str) -> Conflict:
    return Conflict(
        f"This vault holds vectors of {held}, not of {embedder}",
        "DELETE /v1/memory?reset=true clears it; it may then be made with another",
    )


def choose_embedder(db: Database, embedder: str) -> None:
    """See VaultStore.choose_embedder."""
    with db.transaction():
        held = (db.one("embedder") or ("",))[0]
        if held == embedder:
            return
        row = db.one("has_vectors")
        if row is not None and row[0]:
            raise _other_embedder(held, embedder)
        db.one("set_embedder", embedder, 0)
        db.one("next_epoch")


def reset(db: Database) -> None:
    """See VaultStore.reset."""
    with db.transaction():
        db.one("forget_vectors")
        db.one("all_pending")
        db.one("set_embedder", "", 0)
        encoding.forget(db)
        db.one("next_epoch")


def _drop_blocks_with(db: Database, gone: set[int]) -> None:
    for key, ids in db.all("all_blocks"):
        if gone.intersection(unpacked(ids)):
            db.one("drop_block", key)


def _add_segment(db: Database, session: str, segment: Segment, changed: int) -> None:
    (first,) = struct.unpack_from("<q", segment.heads)
    db.one("add_segment", session, first, segment.size, changed, *_values(segment))


def _values(segment: Segment) -> tuple[Any, ...]:
    return (
        *(segment.embedded, segment.heads, segment.terms, segment.vectors),
        *(segment.encoded, segment.encodings),
    )


def _merge(db: Database, session: str, dimension: int) -> None:
    """Put a session's small segments together."""
    rows = db.all("small_segments", session, FULL)
    for id, *_ in rows:
        db.one("drop_segment", id)
    changed = max(row[1] for row in rows)
    for segment in packing.merged([Segment(*row[2:]) for row in rows], dimension):
        _add_segment(db, session, segment, changed)


def _overwrites(segment: Segment, ids: npt.NDArray[np.int64]) -> bool:
    """Whether one of these chunks has a vector already: caches only look for first ones."""
    own = packing.heads([segment])["id"][packing.embedded([segment])]
    return bool(np.isin(own, ids).any())


def _drop_rows(db: Database, chunks: set[int]) -> None:
    _, _, _, dimension, *_ = db.one("state") or (0, 0, "", 0)
    for id, segment in encoding.segments_of(db, chunks):
        left = packing.without(segment, chunks, dimension)
        if left.size:
            db.one("change_segment", left.size, 0, *_values(left), id)
        else:
            db.one("drop_segment", id)
