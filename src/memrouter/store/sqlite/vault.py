"""What one vault file is asked. Blocking; a file is used by one thread at a time."""

from __future__ import annotations

import struct
from array import array
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import apsw

from memrouter.domain import (
    ROLES,
    Block,
    Chunk,
    Memory,
    Pending,
    VaultStats,
)
from memrouter.native import compiled
from memrouter.ports import Place
from memrouter.store.sqlite.database import Database

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)


def millis(time: datetime) -> int:
    """Unix milliseconds."""
    return (time - _EPOCH) // _MS


def moment_by_python(ms: int) -> datetime:
    """The reverse of `millis`; eight times as long as compiled."""
    return _EPOCH + timedelta(milliseconds=ms)


def storable(text: str) -> str:
    """A text as SQLite can keep it: lone surrogates become U+FFFD."""
    if text.isascii():
        return text
    return text.encode("utf-8", "replace").decode("utf-8")


# --- reading ---


def chunks(db: Database, ids: Sequence[int]) -> list[Chunk]:
    """See VaultStore.chunks."""
    found = {row[0]: row for row in db.all("chunks", apsw.carray(array("q", ids)))}
    rows = [found[id] for id in ids if id in found]
    return chunks_by_python(rows) if _native is None else _native.chunks(rows, ROLES, Chunk)


def chunks_by_python(rows: Sequence[tuple[Any, ...]]) -> list[Chunk]:
    """Rows of the statement `chunks` as they are handed out."""
    return [
        Chunk(
            id=id,
            turn=memory,
            role=ROLES[role],
            text=text,
            tokens=tokens,
            created=moment_by_python(created),
            session=session,
            conversation=conversation,
            position=position,
            digest=digest,
        )
        for id, memory, role, text, tokens, created, session, conversation, position, digest in rows
    ]


def known(db: Database, chains: Sequence[bytes]) -> dict[bytes, Place]:
    """See VaultStore.known. Of at least one chain."""
    return {
        chain: Place(conversation=conversation, position=position, created=moment(created))
        for chain, conversation, position, created in db.all("known", apsw.carray(tuple(chains)))
    }


def blocks(db: Database, keys: Sequence[bytes], since: datetime) -> tuple[dict[bytes, Block], int]:
    """See VaultStore.blocks."""
    rows = db.all("blocks", apsw.carray(tuple(keys)), millis(since)) if keys else ()
    found = {
        key: Block(
            key=key,
            text=text,
            chunks=unpacked(ids),
            tokens=tokens,
            made=moment(made),
            revision=revision,
        )
        for key, text, ids, tokens, made, revision in rows
    }
    return found, revision_of(db)


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
    encoder, _, embedder = db.one("encoders") or ("", "", "")
    sessions = (int(memories > 0),) if session else db.one("count_sessions") or (0,)
    return VaultStats(
        memories=memories,
        total_tokens=tokens,
        oldest=None if oldest is None else moment(oldest),
        newest=None if newest is None else moment(newest),
        sessions=sessions[0],
        chunks=counts[0],
        pending=counts[1] or 0,
        embedder=embedder,
        encoder=encoder,
        unencoded=counts[2] or 0,
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


def unencoded(db: Database, encoder: str, limit: int) -> list[Pending]:
    """See VaultStore.unencoded."""
    held, following, _ = db.one("encoders") or ("", "", "")
    if encoder != (following or held):
        return []
    return [
        Pending(id=id, text=text, created=moment(created), before=before)
        for id, text, created, before in db.all("unencoded", limit)
    ]


def unpacked(ids: bytes) -> tuple[int, ...]:
    """The chunk ids of a block."""
    return struct.unpack(f"<{len(ids) // 8}q", ids)


_native: Any = compiled("records")
moment: Callable[[int], datetime] = moment_by_python if _native is None else _native.moment
