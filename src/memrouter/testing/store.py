"""A vault store that lives in memory and passes the contract suite of the port."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from memrouter.domain import (
    Block,
    Chunk,
    Memory,
    NewTurn,
    Pending,
    Scope,
    VaultId,
    VaultStats,
    Vectors,
)
from memrouter.errors import Conflict, StoreError
from memrouter.ports import Place, Ready, Signals, Stored
from memrouter.testing.vault import (
    Vault,
    add,
    chunk_of,
    clean,
    in_ms,
    own,
    quantised,
    said_before,
    signals_of,
)


class MemoryVaultStore:
    """See ports.VaultStore; forgets everything with the process."""

    def __init__(self) -> None:
        self._vaults: dict[VaultId, Vault] = {}

    async def signals(self, scope: Scope, *, core: bool = True) -> Signals:
        vault = self._at(scope.vault)
        wanted = {clean(scope.session)} | ({""} if core else set())
        found = [
            (vault.groups.setdefault((m.session, m.conversation), len(vault.groups)), c, m, t)
            for c, m, t in vault.chunks()
            if m.session in wanted
        ]
        found.sort(key=lambda row: (row[0], row[2].created, row[1].id))
        return signals_of(vault, found)

    async def chunks(self, vault: VaultId, ids: Sequence[int]) -> Sequence[Chunk]:
        held = {chunk.id: (chunk, memory, turn) for chunk, memory, turn in self._at(vault).chunks()}
        return [chunk_of(*held[id]) for id in ids if id in held]

    async def known(self, vault: VaultId, chains: Sequence[bytes]) -> Mapping[bytes, Place]:
        wanted = {chain for chain in chains if chain}
        return {
            row.turn.chain: Place(
                conversation=clean(row.turn.conversation),
                position=row.turn.position,
                created=in_ms(row.turn.created),
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
        where = (clean(scope.session), clean(scope.conversation))
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
        fresh = {key: block for key, (block, used) in found.items() if used >= in_ms(since)}
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
        encoder: str = "",
    ) -> Stored:
        held = self._vaults.setdefault(vault, Vault())
        if not (held.aimed or held.embedder or any(held.chunks())):
            held.encoder = encoder
        known = {row.turn.chain: id for id, row in held.rows.items() if row.turn.chain}
        added, chunks = 0, list[int]()
        for turn in turns:
            row = add(held, turn, known)
            if row is not None and row.memory is not None:
                added += 1
                chunks += [chunk.id for chunk in row.chunks]
        held.revision += bool(added)
        self._set_blocks(held, block, used, dropped, in_ms(now))
        if ready is not None and chunks and held.embedder in ("", ready.embedder):
            await self.set_vectors(vault, ready.embedder, *own(held, turns, chunks, ready.vectors))
        pending = bool(chunks and held.aimed) or any(
            c.vector is None for c, _, _ in held.chunks() if c.id in set(chunks)
        )
        return Stored(turns=added, chunks=tuple(chunks), pending=pending, revision=held.revision)

    def _set_blocks(
        self,
        held: Vault,
        block: Block | None,
        used: Sequence[bytes],
        dropped: Sequence[bytes],
        now: datetime,
    ) -> None:
        there = {chunk.id for chunk, _, _ in held.chunks()}
        if block is not None and there.issuperset(block.chunks):
            held.blocks[block.key] = replace(block, made=in_ms(block.made)), now
        for key in used:
            if key in held.blocks:
                held.blocks[key] = held.blocks[key][0], now
        for key in dropped:
            held.blocks.pop(key, None)

    async def pending(self, vault: VaultId, limit: int) -> Sequence[Pending]:
        waiting = [
            Pending(id=chunk.id, text=clean(chunk.piece.text), created=memory.created)
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
        for id, vector in zip(ids, quantised(vectors), strict=True):
            if id in chunks:
                chunks[id].vector = vector
        held.revision += 1

    async def encode_by(self, vault: VaultId, encoder: str) -> int:
        held = self._at(vault)
        if encoder != held.aimed:
            held.revision += 1
            for chunk, _, _ in held.chunks():
                chunk.following = None
                chunk.encoding = chunk.encoding if encoder else None
            held.next_encoder = encoder if encoder and encoder != held.encoder else ""
            if not encoder or not any(held.chunks()):
                held.encoder, held.next_encoder = encoder, ""
        held.finish()
        return len(held.unencoded())

    async def unencoded(self, vault: VaultId, encoder: str, limit: int) -> Sequence[Pending]:
        held = self._at(vault)
        if encoder != held.aimed:
            return ()
        return [
            Pending(
                id=chunk.id,
                text=clean(chunk.piece.text),
                created=memory.created,
                before=said_before(held, memory),
            )
            for chunk, memory, _ in held.unencoded()[:limit]
        ]

    async def set_encodings(
        self, vault: VaultId, encoder: str, ids: Sequence[int], vectors: Vectors
    ) -> None:
        held = self._at(vault)
        if encoder != held.aimed:
            raise Conflict(f"This vault is to be encoded by {held.aimed}, not by {encoder}")
        chunks = {chunk.id: chunk for chunk, _, _ in held.chunks()}
        for id, vector in zip(ids, quantised(vectors), strict=True):
            if id in chunks and held.next_encoder:
                chunks[id].following = vector
            elif id in chunks:
                chunks[id].encoding = vector
        held.revision += 1
        held.finish()

    async def backlog(self) -> AsyncIterator[VaultId]:
        for id in list(self._vaults):
            if await self.pending(id, 1) or self._at(id).unencoded():
                yield id

    async def vaults(self) -> AsyncIterator[VaultId]:
        for id in list(self._vaults):
            yield id

    async def stats(self, scope: Scope) -> VaultStats:
        vault = self._at(scope.vault)
        kept = list(vault.kept(clean(scope.session) or None))
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
            encoder=vault.encoder,
            unencoded=len(
                [c for c, m, _ in vault.unencoded() if clean(scope.session) in ("", m.session)]
            ),
        )

    async def memories(
        self, scope: Scope, *, after: int = 0, limit: int = 100, whole: bool = False
    ) -> Sequence[Memory]:
        session = None if whole else clean(scope.session)
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
        wanted = None if session is None else clean(session)
        count = len(list(held.kept(wanted)))
        gone = [
            id for id, row in held.rows.items() if wanted in (None, clean(row.turn.session))
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
        held = self._vaults.setdefault(vault, Vault())
        if held.embedder == embedder:
            return
        if any(chunk.vector is not None for chunk, _, _ in held.chunks()):
            raise Conflict(f"This vault holds vectors of {held.embedder}, not of {embedder}")
        held.embedder, held.dimension = embedder, 0
        held.revision += 1

    async def reset(self, vault: VaultId) -> None:
        held = self._at(vault)
        for chunk, _, _ in held.chunks():
            chunk.vector = chunk.encoding = chunk.following = None
        held.embedder, held.dimension = "", 0
        held.encoder = held.next_encoder = ""
        held.revision += 1

    async def warm(self, vault: VaultId) -> int:
        return len(list(self._at(vault).kept()))

    async def check(self) -> None:
        """Memory can always be written."""

    async def close(self) -> None:
        """Nothing is held open; what was stored stays for the next user of this object."""

    def _at(self, vault: VaultId) -> Vault:
        """The vault; an empty one, which is not kept, if it was never written."""
        return self._vaults.get(vault) or Vault()
