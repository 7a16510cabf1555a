"""What one vault file is asked and told. Blocking; a file is used by one thread at a time."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from memrouter.domain import (
    ROLES,
    Block,
    Chunk,
    Memory,
    NewTurn,
    VaultStats,
    Vectors,
)
from memrouter.errors import Conflict, StoreError
from memrouter.ports import Pending, Place, Ready, Stored
from memrouter.store.sqlite.database import Database

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ROLE = {role: number for number, role in enumerate(ROLES)}
_BLOCKS_KEPT = timedelta(days=2)


def millis(time: datetime) -> int:
    """Unix milliseconds."""
    return (time - _EPOCH) // timedelta(milliseconds=1)


def moment(ms: int) -> datetime:
    """The reverse of `millis`."""
    return _EPOCH + timedelta(milliseconds=ms)


def storable(text: str) -> str:
    """A text as SQLite can keep it: lone surrogates become U+FFFD."""
    return text.encode("utf-8", "replace").decode("utf-8")


# --- reading ---


def chunks(db: Database, ids: Sequence[int]) -> list[Chunk]:
    """See VaultStore.chunks."""
    rows = db.all("chunks", orjson.dumps(list(ids)).decode())
    return [
        Chunk(
            id=id,
            turn=memory,
            role=ROLES[role],
            text=text,
            tokens=tokens,
            created=moment(created),
            session=session,
            conversation=conversation,
            position=position,
            digest=digest,
        )
        for id, memory, role, text, tokens, created, session, conversation, position, digest in rows
    ]


def known(db: Database, chains: Sequence[bytes]) -> dict[bytes, Place]:
    """See VaultStore.known."""
    return {
        chain: Place(conversation=conversation, position=position, created=moment(created))
        for chain, conversation, position, created in db.all("known", _hexed(chains))
    }


def blocks(db: Database, keys: Sequence[bytes], since: datetime) -> tuple[dict[bytes, Block], int]:
    """See VaultStore.blocks."""
    found = {
        key: Block(
            key=key,
            text=text,
            chunks=_unpacked(ids),
            tokens=tokens,
            made=moment(made),
            revision=revision,
        )
        for key, text, ids, tokens, made, revision in db.all("blocks", _hexed(keys), millis(since))
    }
    return found, revision_of(db)


def _hexed(keys: Sequence[bytes]) -> str:
    return orjson.dumps([key.hex() for key in keys]).decode()


def revision_of(db: Database) -> int:
    """The vault's revision."""
    row = db.one("state")
    return int(row[0]) if row else 0


def stats(db: Database, session: str) -> VaultStats:
    """See VaultStore.stats."""
    if session:
        row = db.one("stats_session", session)
        counts = db.one("count_chunks_session", session)
    else:
        row, counts = db.one("stats"), db.one("count_chunks")
    assert row is not None
    assert counts is not None
    memories, tokens, oldest, newest = row
    sessions = (int(memories > 0),) if session else db.one("count_sessions") or (0,)
    return VaultStats(
        memories=memories,
        total_tokens=tokens,
        oldest=None if oldest is None else moment(oldest),
        newest=None if newest is None else moment(newest),
        sessions=sessions[0],
        chunks=counts[0],
        pending=counts[1] or 0,
        embedder=(db.one("embedder") or ("",))[0],
    )


def memory_of(row: tuple[Any, ...]) -> Memory:
    """A row of the statements that select whole memories."""
    id, role, text, created, session, conversation, position, model, tokens = row
    return Memory(
        id=id,
        role=ROLES[role],
        text=text,
        created=moment(created),
        session=session,
        conversation=conversation,
        position=position,
        model=model,
        tokens=tokens,
    )


def pending(db: Database, limit: int) -> list[Pending]:
    """See VaultStore.pending."""
    rows = db.all("pending", limit)
    return [Pending(id=id, text=text, created=moment(created)) for id, text, created in rows]


# --- writing ---


def remember(
    db: Database,
    turns: Sequence[NewTurn],
    block: Block | None,
    used: Sequence[bytes],
    dropped: Sequence[bytes],
    now: datetime,
    ready: Ready | None,
) -> Stored | None:
    """See VaultStore.remember. None, and nothing stored, if what is ready cannot be used."""
    with db.transaction():
        write = _Write(db, ready)
        if not write.usable:
            return None
        for turn in turns:
            write.add(turn)
        write.end()
        if block is not None and _holds(db, block.chunks):
            _put_block(db, block, now)
        for key in used:
            db.one("use_block", millis(now), key)
        for key in dropped:
            db.one("drop_block", key)
        if block is not None or dropped:
            db.one("drop_old_blocks", millis(now - _BLOCKS_KEPT))
    return Stored(
        turns=write.turns,
        chunks=tuple(write.chunks),
        pending=write.pending,
        revision=write.revision,
    )


class _Write:
    """Adds turns within one transaction."""

    def __init__(self, db: Database, ready: Ready | None) -> None:
        self._db = db
        row = db.one("state")
        self.revision, _, self._embedder, dimension = row or (0, 0, "", 0)
        self.usable = ready is None or (
            self._embedder in ("", ready.embedder) and dimension in (0, ready.vectors.shape[1])
        )
        self._ready = ready
        self._vectors = None if ready is None else quantised(ready.vectors)
        self._piece = 0
        self._threads: dict[tuple[str, str], int] = {}
        self.turns = 0
        self.chunks: list[int] = []
        self.pending = False

    def add(self, turn: NewTurn) -> None:
        """Add a turn, unless it is stored already."""
        first = self._piece
        self._piece += len(turn.pieces)
        id = self._insert(turn)
        if id is None or not turn.keep:
            return
        if not self.turns:
            self.revision = _next_revision(self._db)
        self.turns += 1
        head = struct.unpack("<q", turn.digest[:8].ljust(8, b"\0"))[0]
        shared = (id, self._thread(turn), millis(turn.created), _ROLE[turn.role], head)
        for number, piece in enumerate(turn.pieces, start=first):
            chunk = self._db.one("add_chunk", id, storable(piece.text), piece.tokens)
            assert chunk is not None
            vector = None if self._vectors is None else self._vectors[number].tobytes()
            self._db.one("add_signal", chunk[0], *shared, self.revision, piece.terms, vector)
            self.pending = self.pending or vector is None
            self.chunks.append(chunk[0])

    def end(self) -> None:
        """Note whose vectors these are."""
        if self._ready is not None and self.chunks and not self._embedder:
            self._db.one("set_embedder", self._ready.embedder, self._ready.vectors.shape[1])

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
        row = self._db.one("add_memory", *values)
        if row is None and turn.keep:  # it may have been seen without being kept
            self._db.one("drop_unkept", turn.chain)
            row = self._db.one("add_memory", *values)
        return None if row is None else int(row[0])

    def _thread(self, turn: NewTurn) -> int:
        named = (storable(turn.session), storable(turn.conversation))
        if named not in self._threads:
            row = self._db.one("thread", *named) or self._db.one("add_thread", *named)
            assert row is not None
            self._threads[named] = row[0]
        return self._threads[named]


def _holds(db: Database, chunks: Sequence[int]) -> bool:
    # A chunk may have been deleted since it was recalled: its text must not come back.
    row = db.one("count_chunks_of", orjson.dumps(list(set(chunks))).decode())
    return row is not None and row[0] == len(set(chunks))


def _put_block(db: Database, block: Block, now: datetime) -> None:
    ids = np.array(block.chunks, "<i8").tobytes()
    db.one(
        "put_block",
        *(block.key, storable(block.text), ids, block.tokens),
        *(millis(block.made), millis(now), block.revision),
    )


def quantised(vectors: Vectors) -> npt.NDArray[np.int8]:
    """Vectors as they are stored: times 127, rounded."""
    return np.clip(np.rint(vectors * 127), -127, 127).astype(np.int8)


def set_vectors(db: Database, embedder: str, ids: Sequence[int], vectors: Vectors) -> None:
    """See VaultStore.set_vectors."""
    rows = quantised(vectors)
    with db.transaction():
        held, dimension = db.one("embedder") or ("", 0)
        if held not in ("", embedder):
            raise _other_embedder(held, embedder)
        if dimension not in (0, rows.shape[1]):
            raise StoreError(f"Vectors of {rows.shape[1]} dimensions in a vault of {dimension}")
        if not held:
            db.one("set_embedder", embedder, rows.shape[1])
        revision = _next_revision(db)
        db.many(
            "set_vector",
            [(row.tobytes(), revision, id) for id, row in zip(ids, rows, strict=True)],
        )


def delete(db: Database, id: int) -> bool:
    """See VaultStore.delete.

    A turn of a conversation leaves its digests: a client that resends it must not bring it back.
    """
    with db.transaction():
        if db.one("memory", id) is None:
            return False
        gone = {row[0] for row in db.all("chunks_of", id)}
        _drop_blocks_with(db, gone)
        db.one("delete_chunks_of", id)
        db.one("forget_memory", id)
        db.one("delete_memory", id)
        db.one("next_epoch")
    db.shrink()
    return True


def clear(db: Database, session: str | None) -> int:
    """See VaultStore.clear."""
    with db.transaction():
        if session is None:
            count = db.one("count_all")
            db.one("drop_all_blocks")
            db.one("clear_all")
            db.one("clear_all_threads")
        else:
            count = db.one("count_session", session)
            _drop_blocks_with(db, {row[0] for row in db.all("chunks_of_session", session)})
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
        db.one("set_embedder", "", 0)
        db.one("next_epoch")


def _drop_blocks_with(db: Database, gone: set[int]) -> None:
    for key, ids in db.all("all_blocks"):
        if gone.intersection(_unpacked(ids)):
            db.one("drop_block", key)


def _next_revision(db: Database) -> int:
    row = db.one("next_revision")
    if row is None:
        raise StoreError(f"{db.path.name} has no meta row", "Restore it from a backup")
    return int(row[0])


def _unpacked(ids: bytes) -> tuple[int, ...]:
    return tuple(np.frombuffer(ids, "<i8").tolist())
