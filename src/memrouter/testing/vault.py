"""What one vault of the store in memory holds, and how it is read and added to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt

from memrouter.domain import ROLES, Block, Chunk, Memory, NewTurn, Piece, Vectors
from memrouter.ports import Signals

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)


@dataclass(slots=True)
class Held:
    id: int
    piece: Piece
    vector: bytes | None = None
    encoding: bytes | None = None
    following: bytes | None = None
    """An encoding by the encoder that is to come."""


@dataclass(slots=True)
class Row:
    """A turn that was seen; `memory` is None where its text is not kept."""

    turn: NewTurn
    memory: Memory | None
    chunks: list[Held] = field(default_factory=list)


@dataclass(slots=True)
class Vault:
    revision: int = 0
    embedder: str = ""
    dimension: int = 0
    encoder: str = ""
    next_encoder: str = ""
    last: int = 0
    rows: dict[int, Row] = field(default_factory=dict)
    blocks: dict[bytes, tuple[Block, datetime]] = field(default_factory=dict)
    groups: dict[tuple[str, str], int] = field(default_factory=lambda: {("", ""): 0})

    def kept(self, session: str | None = None) -> Iterator[tuple[Row, Memory]]:
        """Turns that hold text, oldest first, of every session or of one."""
        for _, row in sorted(self.rows.items()):
            if row.memory is not None and session in (None, row.memory.session):
                yield row, row.memory

    def chunks(self) -> Iterator[tuple[Held, Memory, NewTurn]]:
        for row, memory in self.kept():
            for chunk in row.chunks:
                yield chunk, memory, row.turn

    @property
    def aimed(self) -> str:
        """The encoder that chunks wait for."""
        return self.next_encoder or self.encoder

    def unencoded(self) -> list[tuple[Held, Memory, NewTurn]]:
        """What waits for it, oldest first."""
        rows = [
            row
            for row in self.chunks()
            if self.aimed and (row[0].following if self.next_encoder else row[0].encoding) is None
        ]
        return sorted(rows, key=lambda row: row[0].id)

    def finish(self) -> None:
        """Change encoders if nothing waits for the next one any more."""
        if self.next_encoder and not self.unencoded():
            for chunk, _, _ in self.chunks():
                chunk.encoding, chunk.following = chunk.following, None
            self.encoder, self.next_encoder = self.next_encoder, ""
            self.revision += 1

    def next_id(self) -> int:
        self.last += 1
        return self.last

    def drop(self, ids: Sequence[int], *, tombstones: bool) -> None:
        """Delete turns; with `tombstones`, those with a chain stay known."""
        gone = {chunk.id for id in ids for chunk in self.rows[id].chunks}
        for id in ids:
            turn = self.rows.pop(id).turn
            if tombstones and turn.chain:
                bare = replace(turn, text="", pieces=(), keep=False, model="")
                self.rows[id] = Row(turn=bare, memory=None)
        for key, (block, _) in list(self.blocks.items()):
            if gone.intersection(block.chunks):
                del self.blocks[key]
        self.revision += 1


def add(vault: Vault, turn: NewTurn, known: dict[bytes, int]) -> Row | None:
    """Add a turn; None if it was there. One that comes with text replaces its mere digests."""
    there = known.get(turn.chain)
    if there is not None:
        if not turn.keep or vault.rows[there].memory is not None:
            return None
        del vault.rows[there]
    id = vault.next_id()
    row = vault.rows[id] = Row(turn=turn, memory=memory_of(id, turn) if turn.keep else None)
    if turn.chain:
        known[turn.chain] = id
    if turn.keep:
        row.chunks = [Held(id=vault.next_id(), piece=piece) for piece in turn.pieces]
        vault.groups.setdefault((clean(turn.session), clean(turn.conversation)), len(vault.groups))
    return row


def own(
    held: Vault, turns: Sequence[NewTurn], new: Sequence[int], vectors: Vectors
) -> tuple[list[int], Vectors]:
    """Ids of the new chunks, and their rows of vectors that are one a piece of `turns`."""
    pieces = [piece for turn in turns for piece in turn.pieces]
    place = {id(piece): number for number, piece in enumerate(pieces)}
    ids = [chunk.id for chunk, _, _ in held.chunks() if chunk.id in set(new)]
    rows = [place[id(chunk.piece)] for chunk, _, _ in held.chunks() if chunk.id in set(new)]
    return ids, vectors[rows]


def quantised(vectors: Vectors) -> list[bytes]:
    return [row.tobytes() for row in np.clip(np.rint(vectors * 127), -127, 127).astype(np.int8)]


def memory_of(id: int, turn: NewTurn) -> Memory:
    return Memory(
        id=id,
        role=turn.role,
        text=clean(turn.text),
        created=in_ms(turn.created),
        session=clean(turn.session),
        conversation=clean(turn.conversation),
        position=turn.position,
        model=clean(turn.model),
        tokens=sum(piece.tokens for piece in turn.pieces),
    )


def said_before(vault: Vault, memory: Memory) -> str:
    """What was said just before a turn in its conversation."""
    where = (memory.session, memory.conversation)
    earlier = [m for _, m in vault.kept() if (m.session, m.conversation) == where]
    earlier = [m for m in earlier if memory.id - 32 <= m.id < memory.id]
    if where == ("", ""):
        pause = timedelta(minutes=30)
        earlier = [m for m in earlier if timedelta(0) <= memory.created - m.created <= pause]
    return earlier[-1].text if earlier else ""


def chunk_of(chunk: Held, memory: Memory, turn: NewTurn) -> Chunk:
    return Chunk(
        id=chunk.id,
        turn=memory.id,
        role=memory.role,
        text=clean(chunk.piece.text),
        tokens=chunk.piece.tokens,
        created=memory.created,
        session=memory.session,
        conversation=memory.conversation,
        position=memory.position,
        digest=turn.digest,
    )


def signals_of(vault: Vault, found: Sequence[tuple[int, Held, Memory, NewTurn]]) -> Signals:
    terms = [np.frombuffer(chunk.piece.terms, "<u4") for _, chunk, _, _ in found]
    empty = bytes(vault.dimension)
    data = b"".join(empty if c.vector is None else c.vector for _, c, _, _ in found)
    return Signals(
        revision=vault.revision,
        ids=np.array([c.id for _, c, _, _ in found], np.int64),
        memories=np.array([m.id for _, _, m, _ in found], np.int64),
        groups=np.array([group for group, _, _, _ in found], np.int64),
        created=np.array([(m.created - _EPOCH) // _MS for _, _, m, _ in found], np.int64),
        roles=np.array([ROLES.index(m.role) for _, _, m, _ in found], np.uint8),
        digests=np.array([int.from_bytes(t.digest[:8], "little") for *_, t in found], np.uint64),
        terms=np.concatenate([np.zeros(0, np.uint32), *terms]).astype(np.uint32),
        starts=np.cumsum([0, *map(len, terms)], dtype=np.int64),
        vectors=np.frombuffer(data, np.int8).reshape(len(found), vault.dimension),
        embedded=np.array([c.vector is not None for _, c, _, _ in found], np.bool_),
        embedder=vault.embedder,
        encodings=_encodings([c.encoding for _, c, _, _ in found]),
        encoded=np.array([c.encoding is not None for _, c, _, _ in found], np.bool_),
        encoder=vault.encoder,
    )


def _encodings(held: Sequence[bytes | None]) -> npt.NDArray[np.int8]:
    dimension = max((len(row) for row in held if row is not None), default=0)
    data = b"".join(bytes(dimension) if row is None else row for row in held)
    return np.frombuffer(data, np.int8).reshape(len(held), dimension)


def clean(text: str) -> str:
    """What a store makes of lone surrogates, which no database can hold."""
    return text.encode("utf-8", "replace").decode()


def in_ms(time: datetime) -> datetime:
    """Times are kept to the millisecond."""
    return _EPOCH + (time - _EPOCH) // _MS * _MS
