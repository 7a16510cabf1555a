"""A vault store and a directory that live in memory and pass the contract suites of the ports."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import numpy as np

from memrouter.domain import (
    ROLES,
    Block,
    Chunk,
    Memory,
    NewTurn,
    Piece,
    Scope,
    VaultId,
    VaultStats,
    Vectors,
)
from memrouter.errors import Conflict, StoreError
from memrouter.ports import Pending, Place, Ready, Signals, Stored

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)


@dataclass(slots=True)
class _Chunk:
    id: int
    piece: Piece
    vector: bytes | None = None


@dataclass(slots=True)
class _Row:
    """A turn that was seen; `memory` is None where its text is not kept."""

    turn: NewTurn
    memory: Memory | None
    chunks: list[_Chunk] = field(default_factory=list)


@dataclass(slots=True)
class _Vault:
    revision: int = 0
    embedder: str = ""
    dimension: int = 0
    last: int = 0
    rows: dict[int, _Row] = field(default_factory=dict)
    blocks: dict[bytes, tuple[Block, datetime]] = field(default_factory=dict)
    groups: dict[tuple[str, str], int] = field(default_factory=lambda: {("", ""): 0})

    def kept(self, session: str | None = None) -> Iterator[tuple[_Row, Memory]]:
        """Turns that hold text, oldest first, of every session or of one."""
        for _, row in sorted(self.rows.items()):
            if row.memory is not None and session in (None, row.memory.session):
                yield row, row.memory

    def chunks(self) -> Iterator[tuple[_Chunk, Memory, NewTurn]]:
        for row, memory in self.kept():
            for chunk in row.chunks:
                yield chunk, memory, row.turn

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
                self.rows[id] = _Row(turn=bare, memory=None)
        for key, (block, _) in list(self.blocks.items()):
            if gone.intersection(block.chunks):
                del self.blocks[key]
        self.revision += 1


class MemoryVaultStore:
    """See ports.VaultStore; forgets everything with the process."""

    def __init__(self) -> None:
        self._vaults: dict[VaultId, _Vault] = {}

    async def signals(self, scope: Scope, *, core: bool = True) -> Signals:
        vault = self._at(scope.vault)
        wanted = {_clean(scope.session)} | ({""} if core else set())
        found = [
            (vault.groups.setdefault((m.session, m.conversation), len(vault.groups)), c, m, t)
            for c, m, t in vault.chunks()
            if m.session in wanted
        ]
        found.sort(key=lambda row: (row[0], row[2].created, row[1].id))
        return _signals(vault, found)

    async def chunks(self, vault: VaultId, ids: Sequence[int]) -> Sequence[Chunk]:
        held = {chunk.id: (chunk, memory, turn) for chunk, memory, turn in self._at(vault).chunks()}
        return [_chunk(*held[id]) for id in ids if id in held]

    async def known(self, vault: VaultId, chains: Sequence[bytes]) -> Mapping[bytes, Place]:
        wanted = {chain for chain in chains if chain}
        return {
            row.turn.chain: Place(
                conversation=_clean(row.turn.conversation),
                position=row.turn.position,
                created=_time(row.turn.created),
            )
            for row in self._at(vault).rows.values()
            if row.turn.chain in wanted
        }

    async def ends_of(self, scope: Scope, digest: bytes, limit: int = 32) -> Sequence[bytes]:
        rows = [
            row.turn.chain
            for _, row in sorted(self._at(scope.vault).rows.items(), reverse=True)
            if (row.turn.digest, row.turn.session) == (digest, scope.session)
            and scope.conversation in ("", row.turn.conversation)
            and row.turn.chain
        ]
        return rows[:limit]

    async def recent(self, scope: Scope, limit: int) -> Sequence[Memory]:
        where = (_clean(scope.session), _clean(scope.conversation))
        found = [
            memory
            for _, memory in self._at(scope.vault).kept()
            if (memory.session, memory.conversation) == where
        ]
        found.sort(key=lambda memory: (memory.position, memory.id))
        return found[max(0, len(found) - limit) :]

    async def blocks(
        self, vault: VaultId, keys: Sequence[bytes], since: datetime
    ) -> tuple[Mapping[bytes, Block], int]:
        held = self._at(vault)
        found = {key: held.blocks[key] for key in keys if key in held.blocks}
        fresh = {key: block for key, (block, used) in found.items() if used >= _time(since)}
        return fresh, held.revision

    async def remember(
        self,
        vault: VaultId,
        turns: Sequence[NewTurn],
        *,
        block: Block | None = None,
        used: Sequence[bytes] = (),
        dropped: Sequence[bytes] = (),
        now: datetime,
        ready: Ready | None = None,
    ) -> Stored:
        held = self._vaults.setdefault(vault, _Vault())
        known = {row.turn.chain: id for id, row in held.rows.items() if row.turn.chain}
        added, chunks = 0, list[int]()
        for turn in turns:
            row = _add(held, turn, known)
            if row is not None and row.memory is not None:
                added += 1
                chunks += [chunk.id for chunk in row.chunks]
        held.revision += bool(added)
        self._set_blocks(held, block, used, dropped, _time(now))
        if ready is not None and chunks and held.embedder in ("", ready.embedder):
            await self.set_vectors(vault, ready.embedder, *_own(held, turns, chunks, ready.vectors))
        pending = any(c.vector is None for c, _, _ in held.chunks() if c.id in set(chunks))
        return Stored(turns=added, chunks=tuple(chunks), pending=pending, revision=held.revision)

    def _set_blocks(
        self,
        held: _Vault,
        block: Block | None,
        used: Sequence[bytes],
        dropped: Sequence[bytes],
        now: datetime,
    ) -> None:
        there = {chunk.id for chunk, _, _ in held.chunks()}
        if block is not None and there.issuperset(block.chunks):
            held.blocks[block.key] = replace(block, made=_time(block.made)), now
        for key in used:
            if key in held.blocks:
                held.blocks[key] = held.blocks[key][0], now
        for key in dropped:
            held.blocks.pop(key, None)

    async def pending(self, vault: VaultId, limit: int) -> Sequence[Pending]:
        waiting = [
            Pending(id=chunk.id, text=_clean(chunk.piece.text), created=memory.created)
            for chunk, memory, _ in self._at(vault).chunks()
            if chunk.vector is None
        ]
        return sorted(waiting, key=lambda chunk: chunk.id)[:limit]

    async def set_vectors(
        self, vault: VaultId, embedder: str, ids: Sequence[int], vectors: Vectors
    ) -> None:
        held = self._at(vault)
        chunks = {chunk.id: chunk for chunk, _, _ in held.chunks()}
        if not chunks.keys() & set(ids):
            return
        if held.embedder not in ("", embedder):
            raise Conflict(f"This vault holds vectors of {held.embedder}, not of {embedder}")
        if held.dimension not in (0, vectors.shape[1]):
            raise StoreError("Vectors of another dimension than the vault's")
        held.embedder, held.dimension = embedder, vectors.shape[1]
        for id, vector in zip(ids, _quantised(vectors), strict=True):
            if id in chunks:
                chunks[id].vector = vector
        held.revision += 1

    async def backlog(self) -> AsyncIterator[VaultId]:
        for id in list(self._vaults):
            if await self.pending(id, 1):
                yield id

    async def vaults(self) -> AsyncIterator[VaultId]:
        for id in list(self._vaults):
            yield id

    async def stats(self, scope: Scope) -> VaultStats:
        vault = self._at(scope.vault)
        kept = list(vault.kept(_clean(scope.session) or None))
        times = [memory.created for _, memory in kept]
        chunks = [chunk for row, _ in kept for chunk in row.chunks]
        return VaultStats(
            memories=len(kept),
            total_tokens=sum(memory.tokens for _, memory in kept),
            oldest=min(times, default=None),
            newest=max(times, default=None),
            sessions=len({memory.session for _, memory in kept} - {""}),
            pending=sum(chunk.vector is None for chunk in chunks),
            chunks=len(chunks),
            embedder=vault.embedder,
        )

    async def memories(
        self, scope: Scope, *, after: int = 0, limit: int = 100, whole: bool = False
    ) -> Sequence[Memory]:
        session = None if whole else _clean(scope.session)
        found = [m for _, m in self._at(scope.vault).kept(session) if m.id > after]
        return found[:limit]

    async def memory(self, vault: VaultId, id: int) -> Memory | None:
        row = self._at(vault).rows.get(id)
        return None if row is None else row.memory

    async def delete(self, vault: VaultId, id: int) -> bool:
        if await self.memory(vault, id) is None:
            return False
        self._at(vault).drop([id], tombstones=True)
        return True

    async def clear(self, vault: VaultId, session: str | None) -> int:
        held = self._at(vault)
        wanted = None if session is None else _clean(session)
        count = len(list(held.kept(wanted)))
        gone = [
            id for id, row in held.rows.items() if wanted in (None, _clean(row.turn.session))
        ]  # those seen without text, too
        held.drop(gone, tombstones=False)
        if session is None:
            held.blocks.clear()
        return count

    async def expire(self, vault: VaultId, before: datetime) -> int:
        held = self._at(vault)
        gone = [memory.id for _, memory in held.kept() if memory.created < before]
        held.drop(gone, tombstones=True)
        return len(gone)

    async def destroy(self, vault: VaultId) -> int:
        count = await self.clear(vault, None)
        self._vaults.pop(vault, None)
        return count

    async def embedder(self, vault: VaultId) -> str | None:
        return self._at(vault).embedder or None

    async def choose_embedder(self, vault: VaultId, embedder: str) -> None:
        held = self._vaults.setdefault(vault, _Vault())
        if held.embedder == embedder:
            return
        if any(chunk.vector is not None for chunk, _, _ in held.chunks()):
            raise Conflict(f"This vault holds vectors of {held.embedder}, not of {embedder}")
        held.embedder, held.dimension = embedder, 0
        held.revision += 1

    async def reset(self, vault: VaultId) -> None:
        held = self._at(vault)
        for chunk, _, _ in held.chunks():
            chunk.vector = None
        held.embedder, held.dimension = "", 0
        held.revision += 1

    async def warm(self, vault: VaultId) -> int:
        return len(list(self._at(vault).kept()))

    async def check(self) -> None:
        """Memory can always be written."""

    async def close(self) -> None:
        """Nothing is held open; what was stored stays for the next user of this object."""

    def _at(self, vault: VaultId) -> _Vault:
        """The vault; an empty one, which is not kept, if it was never written."""
        return self._vaults.get(vault) or _Vault()


def _add(vault: _Vault, turn: NewTurn, known: dict[bytes, int]) -> _Row | None:
    """Add a turn; None if it was there. One that comes with text replaces its mere digests."""
    there = known.get(turn.chain)
    if there is not None:
        if not turn.keep or vault.rows[there].memory is not None:
            return None
        del vault.rows[there]
    id = vault.next_id()
    row = vault.rows[id] = _Row(turn=turn, memory=_memory(id, turn) if turn.keep else None)
    if turn.chain:
        known[turn.chain] = id
    if turn.keep:
        row.chunks = [_Chunk(id=vault.next_id(), piece=piece) for piece in turn.pieces]
        vault.groups.setdefault(
            (_clean(turn.session), _clean(turn.conversation)), len(vault.groups)
        )
    return row


def _own(
    held: _Vault, turns: Sequence[NewTurn], new: Sequence[int], vectors: Vectors
) -> tuple[list[int], Vectors]:
    """Ids of the new chunks, and their rows of vectors that are one a piece of `turns`."""
    pieces = [piece for turn in turns for piece in turn.pieces]
    place = {id(piece): number for number, piece in enumerate(pieces)}
    ids = [chunk.id for chunk, _, _ in held.chunks() if chunk.id in set(new)]
    rows = [place[id(chunk.piece)] for chunk, _, _ in held.chunks() if chunk.id in set(new)]
    return ids, vectors[rows]


def _usable(
    vault: _Vault, ready: Ready | None, turns: Sequence[NewTurn]
) -> Iterator[list[bytes | None]]:
    """For each turn the vectors of its pieces; None where they are not ready, or not usable."""
    left: list[bytes] | None = None
    if ready is not None and vault.embedder in ("", ready.embedder):
        left = _quantised(ready.vectors)
    for turn in turns:
        count = len(turn.pieces)
        if left is None:
            yield [None] * count
        else:
            yield [*left[:count]]
            left = left[count:]


def _quantised(vectors: Vectors) -> list[bytes]:
    return [row.tobytes() for row in np.clip(np.rint(vectors * 127), -127, 127).astype(np.int8)]


def _memory(id: int, turn: NewTurn) -> Memory:
    return Memory(
        id=id,
        role=turn.role,
        text=_clean(turn.text),
        created=_time(turn.created),
        session=_clean(turn.session),
        conversation=_clean(turn.conversation),
        position=turn.position,
        model=_clean(turn.model),
        tokens=sum(piece.tokens for piece in turn.pieces),
    )


def _chunk(chunk: _Chunk, memory: Memory, turn: NewTurn) -> Chunk:
    return Chunk(
        id=chunk.id,
        turn=memory.id,
        role=memory.role,
        text=_clean(chunk.piece.text),
        tokens=chunk.piece.tokens,
        created=memory.created,
        session=memory.session,
        conversation=memory.conversation,
        position=memory.position,
        digest=turn.digest,
    )


def _signals(vault: _Vault, found: Sequence[tuple[int, _Chunk, Memory, NewTurn]]) -> Signals:
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
    )


def _clean(text: str) -> str:
    """What a store makes of lone surrogates, which no database can hold."""
    return text.encode("utf-8", "replace").decode()


def _time(time: datetime) -> datetime:
    """Times are kept to the millisecond."""
    return _EPOCH + (time - _EPOCH) // _MS * _MS
