"""The embedded vault store: one SQLite file a vault. Implements ports.VaultStore."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TypeVar

import numpy as np

from memrouter.domain import Block, Chunk, Memory, NewTurn, Scope, VaultId, VaultStats, Vectors
from memrouter.errors import VaultCorrupted
from memrouter.ports import Pending, Place, Ready, Signals, Stored
from memrouter.store.sqlite import vault as file
from memrouter.store.sqlite.backlog import Marks
from memrouter.store.sqlite.database import Database
from memrouter.store.sqlite.signals import Held, SignalCache, build, picked

T = TypeVar("T")

NOTHING = build((), 0, "")
"""The signals of a vault that was never written."""


@dataclass(slots=True)
class _Open:
    """A vault's connections: reads never wait for another request's commit."""

    users: int = 0
    reader: Database | None = None
    writer: Database | None = None
    reading: asyncio.Lock = field(default_factory=asyncio.Lock)
    writing: asyncio.Lock = field(default_factory=asyncio.Lock)

    def close(self) -> None:
        for database in (self.reader, self.writer):
            if database is not None:
                database.close()
        self.reader = self.writer = None


class SqliteVaultStore:
    """See ports.VaultStore. Used by one event loop; other processes may use the same folder."""

    def __init__(
        self,
        folder: Path,
        *,
        open_vaults: int = 256,
        threads: int = 4,
        cache_bytes: int = 128 << 20,
    ) -> None:
        """Opens nothing yet.

        folder       data folder; vaults lie in `vaults/ab/abcdef….db` under it
        open_vaults  vaults held open at once; more only while that many are in use
        cache_bytes  for the signals of recently used vaults
        """
        self._folder = folder
        self._limit = open_vaults
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="store")
        self._marking = ThreadPoolExecutor(1, thread_name_prefix="backlog")
        self._open: OrderedDict[VaultId, _Open] = OrderedDict()
        self._cache = SignalCache(cache_bytes)
        self._marks: Marks | None = None

    # --- recall ---

    async def signals(self, scope: Scope, *, core: bool = True) -> Signals:
        held = await self._read(scope.vault, lambda db: self._cache.get(scope.vault, db))
        return NOTHING if held is None else _seen(held, scope.session, core)

    async def chunks(self, vault: VaultId, ids: Sequence[int]) -> Sequence[Chunk]:
        if not ids:
            return ()
        return await self._read(vault, lambda db: file.chunks(db, ids)) or ()

    # --- history ---

    async def known(self, vault: VaultId, chains: Sequence[bytes]) -> Mapping[bytes, Place]:
        return await self._read(vault, lambda db: file.known(db, chains)) or {}

    async def ends_of(self, scope: Scope, digest: bytes, limit: int = 32) -> Sequence[bytes]:
        where: tuple[str, ...] = (file.storable(scope.session),)
        name = "ends_of"
        if scope.conversation:
            where += (file.storable(scope.conversation),)
            name = "ends_of_in_conversation"
        rows = await self._read(scope.vault, lambda db: db.all(name, digest, *where, limit))
        return [row[0] for row in rows or ()]

    async def recent(self, scope: Scope, limit: int) -> Sequence[Memory]:
        where = (file.storable(scope.session), file.storable(scope.conversation))
        rows = await self._read(scope.vault, lambda db: db.all("recent", *where, limit))
        return [file.memory_of(row) for row in reversed(rows or ())]

    async def blocks(
        self, vault: VaultId, keys: Sequence[bytes], since: datetime
    ) -> tuple[Mapping[bytes, Block], int]:
        return await self._read(vault, lambda db: file.blocks(db, keys, since)) or ({}, 0)

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
        adds_work = any(turn.pieces for turn in turns)
        if ready is not None and adds_work:
            stored = await self._write(
                vault, lambda db: _if_ready(db, ready, turns, block, used, dropped, now)
            )
            if stored is not None:
                return stored
        return await self._write(
            vault,
            lambda db: file.remember(db, turns, block, used, dropped, now, None),
            adds_work=adds_work,
        )

    # --- vectors ---

    async def pending(self, vault: VaultId, limit: int) -> Sequence[Pending]:
        found = await self._read(vault, lambda db: file.pending(db, limit))
        if not found:
            await self._settle(vault)
        return found or ()

    async def set_vectors(
        self, vault: VaultId, embedder: str, ids: Sequence[int], vectors: Vectors
    ) -> None:
        if self._path(vault).exists():
            await self._write(vault, lambda db: file.set_vectors(db, embedder, ids, vectors))

    async def backlog(self) -> AsyncIterator[VaultId]:
        for vault in await self._in(self._marking, lambda: list(self._known_marks().orphans())):
            yield vault

    async def embedder(self, vault: VaultId) -> str | None:
        row = await self._read(vault, lambda db: db.one("embedder"))
        return row[0] or None if row else None

    async def reset(self, vault: VaultId) -> None:
        if not self._path(vault).exists():
            return
        await self._write(vault, file.reset, adds_work=True)

    # --- looking and deleting ---

    async def vaults(self) -> AsyncIterator[VaultId]:
        found = await self._in(self._pool, lambda: sorted(self._folder.glob("vaults/*/*.db")))
        for path in found:
            yield VaultId(path.stem)

    async def stats(self, scope: Scope) -> VaultStats:
        session = file.storable(scope.session)
        return await self._read(scope.vault, lambda db: file.stats(db, session)) or VaultStats()

    async def memories(
        self, scope: Scope, *, after: int = 0, limit: int = 100, whole: bool = False
    ) -> Sequence[Memory]:
        session = file.storable(scope.session)

        def rows(db: Database) -> list[Memory]:
            found = (
                db.all("memories_whole", after, limit)
                if whole
                else db.all("memories", after, session, limit)
            )
            return [file.memory_of(row) for row in found]

        return await self._read(scope.vault, rows) or ()

    async def memory(self, vault: VaultId, id: int) -> Memory | None:
        row = await self._read(vault, lambda db: db.one("memory", id))
        return None if row is None else file.memory_of(row)

    async def delete(self, vault: VaultId, id: int) -> bool:
        if not self._path(vault).exists():
            return False
        return await self._write(vault, lambda db: file.delete(db, id))

    async def clear(self, vault: VaultId, session: str | None) -> int:
        if not self._path(vault).exists():
            return 0
        named = None if session is None else file.storable(session)
        return await self._write(vault, lambda db: file.clear(db, named))

    async def warm(self, vault: VaultId) -> int:
        held = await self._read(vault, lambda db: self._cache.get(vault, db))
        return 0 if held is None else len(np.unique(held.signals.memories))

    async def check(self) -> None:
        await self._in(self._marking, lambda: self._known_marks().probe())

    async def close(self) -> None:
        for entry in self._open.values():
            await self._in(self._pool, entry.close)
        self._open.clear()
        if self._marks is not None:
            await self._in(self._marking, self._marks.close)
            self._marks = None
        self._pool.shutdown()
        self._marking.shutdown()

    # --- files and threads ---

    def _path(self, vault: VaultId) -> Path:
        return self._folder / "vaults" / vault[:2] / f"{vault}.db"

    async def _in(self, pool: ThreadPoolExecutor, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(pool, work)

    async def _read(self, vault: VaultId, work: Callable[[Database], T]) -> T | None:
        """Run `work` on the vault's reader; None, and no file made, if it was never written."""
        async with self._borrowed(vault) as entry, entry.reading:
            if entry.reader is None and entry.writer is None and not self._path(vault).exists():
                return None
            return await self._in(self._pool, lambda: work(self._reader(vault, entry)))

    async def _write(
        self, vault: VaultId, work: Callable[[Database], T], *, adds_work: bool = False
    ) -> T:
        """Run `work` on the vault's writer, the vault marked first if that adds to the backlog."""
        async with self._borrowed(vault) as entry, entry.writing:
            if adds_work and not (self._marks is not None and self._marks.holds(vault)):
                await self._in(self._marking, lambda: self._known_marks().add(vault))
            return await self._in(self._pool, lambda: work(self._writer(vault, entry)))

    async def _settle(self, vault: VaultId) -> None:
        """Note that a vault has no backlog; with its writes held back, so that none slips by."""
        async with self._borrowed(vault) as entry, entry.writing:
            row = await self._read(vault, lambda db: db.one("has_pending"))
            if row is None or not row[0]:
                await self._in(self._marking, lambda: self._known_marks().done(vault))

    def _reader(self, vault: VaultId, entry: _Open) -> Database:
        if entry.reader is None:
            entry.reader = self._opened(vault)
        return entry.reader

    def _writer(self, vault: VaultId, entry: _Open) -> Database:
        if entry.writer is None:
            entry.writer = self._opened(vault)
        return entry.writer

    def _opened(self, vault: VaultId) -> Database:
        path = self._path(vault)
        database = Database(path, "vault", first=[("new_meta", (vault,))])
        row = database.one("vault_id")
        if row is None or row[0] != vault:
            database.close()
            raise VaultCorrupted(
                f"{path.name} is not the vault it is named for", "Restore it from a backup"
            )
        return database

    @asynccontextmanager
    async def _borrowed(self, vault: VaultId) -> AsyncIterator[_Open]:
        entry = self._open.get(vault)
        if entry is None:
            entry = self._open[vault] = _Open()
        entry.users += 1
        self._open.move_to_end(vault)
        try:
            yield entry
        finally:
            entry.users -= 1
            await self._evict()

    async def _evict(self) -> None:
        while len(self._open) > self._limit:
            idle = next((v for v, entry in self._open.items() if not entry.users), None)
            if idle is None:
                return
            entry = self._open.pop(idle)
            await self._in(self._pool, entry.close)

    def _known_marks(self) -> Marks:
        if self._marks is None:
            self._marks = Marks(self._folder)
        return self._marks


def _if_ready(
    db: Database,
    ready: Ready,
    turns: Sequence[NewTurn],
    block: Block | None,
    used: Sequence[bytes],
    dropped: Sequence[bytes],
    now: datetime,
) -> Stored | None:
    """Store turns with their vectors; nothing if the vault's are another embedder's."""
    row = db.one("embedder")
    if row is not None and row[0] not in ("", ready.embedder):
        return None
    return file.remember(db, turns, block, used, dropped, now, ready)


def _seen(held: Held, session: str, core: bool) -> Signals:
    """What of a vault's signals a scope may see: core and one session, or the session alone."""
    wanted = ({""} if core else set()) | {session}
    threads = [id for id, name in held.sessions.items() if name in wanted]
    if len(threads) == len(held.sessions):
        return held.signals
    rows = np.flatnonzero(np.isin(held.signals.groups, np.array(threads, np.int64)))
    return picked(held.signals, rows)
