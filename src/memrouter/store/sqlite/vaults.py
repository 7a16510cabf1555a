"""The embedded vault store: one SQLite file a vault. Implements ports.VaultStore."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TypeVar

from memrouter.domain import (
    Analysis,
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
from memrouter.errors import StoreError
from memrouter.ops.logs import logger
from memrouter.ports import Place, Ready, Signals, Stored
from memrouter.store.sqlite import arrays, encoding, postings, reindexing, writing
from memrouter.store.sqlite import vault as file
from memrouter.store.sqlite.backlog import Marks
from memrouter.store.sqlite.database import Database, mapped
from memrouter.store.sqlite.files import Files
from memrouter.store.sqlite.pool import OpenVaults
from memrouter.store.sqlite.signals import SignalCache, View

T = TypeVar("T")
log = logger(__name__)

_QUICK = 128
"""Rows that may be looked up without leaving the event loop; some 200 µs at most."""
NOTHING = arrays.build(())
"""The signals of a vault that was never written."""


class SqliteVaultStore:
    """See ports.VaultStore. Used by one event loop; other processes may use the same folder."""

    def __init__(
        self,
        folder: Path,
        *,
        files: Files | None = None,
        open_vaults: int = 1_024,
        threads: int = 4,
        cache_bytes: int = 24 << 20,
        analysis: Analysis | None = None,
    ) -> None:
        """Opens nothing yet.

        folder       data folder; vaults lie in `vaults/ab/abcdef….db` under it
        files        opens its files; None if none is encrypted or shall be
        open_vaults  vaults held open at once; more only while that many are in use
        cache_bytes  for the signals of recently used vaults
        analysis     makes terms anew that other rules made, after a vault was opened
        """
        files = files or Files(folder)
        self._folder = folder / "vaults"
        self._analysis = analysis
        self._renewing: dict[VaultId, asyncio.Task[None]] = {}
        self._listing: dict[View, asyncio.Task[None]] = {}
        self._vaults = OpenVaults(
            files,
            limit=open_vaults,
            threads=threads,
            analysis=analysis.version if analysis else 0,
            on_outdated=self._renew,
        )
        self._cache = SignalCache(cache_bytes)
        self._marks = Marks(files)

    # --- recall ---

    async def signals(self, scope: Scope, *, core: bool = True) -> Signals:
        view = View(scope.vault, file.storable(scope.session), core)
        found = self._vaults.at_once(scope.vault, lambda db: self._cache.peek(view, db))
        if found is None:
            found = await self._vaults.read(scope.vault, lambda db: self._cache.get(view, db))
        if found is None:
            return NOTHING
        if postings.wanted(found):
            self._list(view)
        return found

    async def chunks(self, vault: VaultId, ids: Sequence[int]) -> Sequence[Chunk]:
        if not ids:
            return ()
        return await self._quick(vault, lambda db: file.chunks(db, ids), len(ids)) or ()

    # --- history ---

    async def known(self, vault: VaultId, chains: Sequence[bytes]) -> Mapping[bytes, Place]:
        if not chains:
            return {}
        return await self._quick(vault, lambda db: file.known(db, chains), len(chains)) or {}

    async def ends_of(self, scope: Scope, digest: bytes, limit: int = 32) -> Sequence[bytes]:
        where: tuple[str, ...] = (file.storable(scope.session),)
        name = "ends_of"
        if scope.conversation:
            where += (file.storable(scope.conversation),)
            name = "ends_of_in_conversation"
        rows = await self._quick(scope.vault, lambda db: db.all(name, digest, *where, limit), limit)
        return [row[0] for row in rows or ()]

    async def recent(self, scope: Scope, limit: int) -> Sequence[Memory]:
        where = (file.storable(scope.session), file.storable(scope.conversation))
        rows = await self._vaults.read(scope.vault, lambda db: db.all("recent", *where, limit))
        return [file.memory_of(row) for row in reversed(rows or ())]

    async def blocks(
        self, vault: VaultId, keys: Sequence[bytes], since: datetime
    ) -> tuple[Mapping[bytes, Block], int]:
        work = partial(file.blocks, keys=keys, since=since)
        return await self._quick(vault, work, len(keys)) or ({}, 0)

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
        adds_work = any(turn.pieces for turn in turns)

        def work(db: Database) -> Stored:
            def mark() -> None:
                self._marks.add(vault)

            told = (turns, block, used, dropped, now)
            if ready is not None and adds_work:
                stored = writing.remember(db, *told, ready, encoder, mark=mark)
                if stored is not None:
                    return stored
            if adds_work:
                mark()
            stored = writing.remember(db, *told, None, encoder)
            assert stored is not None
            return stored

        return await self._vaults.write(vault, work)

    # --- vectors ---

    async def pending(self, vault: VaultId, limit: int) -> Sequence[Pending]:
        found = await self._vaults.read(vault, lambda db: file.pending(db, limit))
        if not found:
            await self._settle(vault)
        return found or ()

    async def set_vectors(
        self, vault: VaultId, embedder: str, ids: Sequence[int], vectors: Vectors
    ) -> None:
        if self._vaults.path(vault).exists():
            await self._vaults.write(
                vault, lambda db: writing.set_vectors(db, embedder, ids, vectors)
            )

    async def encode_by(self, vault: VaultId, encoder: str) -> int:
        if not self._vaults.path(vault).exists():
            return 0

        def work(db: Database) -> int:
            if encoder:
                self._marks.add(vault)
            return encoding.encode_by(db, encoder)

        return await self._vaults.write(vault, work)

    async def unencoded(self, vault: VaultId, encoder: str, limit: int) -> Sequence[Pending]:
        found = await self._vaults.read(vault, lambda db: file.unencoded(db, encoder, limit))
        if not found:
            await self._settle(vault)
        return found or ()

    async def set_encodings(
        self, vault: VaultId, encoder: str, ids: Sequence[int], vectors: Vectors
    ) -> None:
        if self._vaults.path(vault).exists():
            await self._vaults.write(
                vault, lambda db: encoding.set_encodings(db, encoder, ids, vectors)
            )

    async def backlog(self) -> AsyncIterator[VaultId]:
        for vault in await self._vaults.elsewhere(lambda: list(self._marks.orphans())):
            yield vault

    async def embedder(self, vault: VaultId) -> str | None:
        row = await self._vaults.read(vault, lambda db: db.one("embedder"))
        return row[0] or None if row else None

    async def choose_embedder(self, vault: VaultId, embedder: str) -> None:
        await self._vaults.write(vault, lambda db: writing.choose_embedder(db, embedder))

    async def reset(self, vault: VaultId) -> None:
        if not self._vaults.path(vault).exists():
            return

        def work(db: Database) -> None:
            self._marks.add(vault)
            writing.reset(db)

        await self._vaults.write(vault, work)

    # --- looking and deleting ---

    async def vaults(self) -> AsyncIterator[VaultId]:
        for folder in await self._vaults.elsewhere(lambda: _inside(self._folder, "*")):
            for path in await self._vaults.elsewhere(partial(_inside, folder, "*.db")):
                yield VaultId(path.stem)

    async def stats(self, scope: Scope) -> VaultStats:
        session = file.storable(scope.session)
        found = await self._vaults.read(scope.vault, lambda db: file.stats(db, session))
        return found or VaultStats()

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

        return await self._vaults.read(scope.vault, rows) or ()

    async def memory(self, vault: VaultId, id: int) -> Memory | None:
        row = await self._vaults.read(vault, lambda db: db.one("memory", id))
        return None if row is None else file.memory_of(row)

    async def delete(self, vault: VaultId, id: int) -> bool:
        if not self._vaults.path(vault).exists():
            return False
        return await self._vaults.write(vault, lambda db: writing.delete(db, id))

    async def clear(self, vault: VaultId, session: str | None) -> int:
        if not self._vaults.path(vault).exists():
            return 0
        named = None if session is None else file.storable(session)
        return await self._vaults.write(vault, lambda db: writing.clear(db, named))

    async def expire(self, vault: VaultId, before: datetime) -> int:
        row = await self._vaults.read(vault, lambda db: db.one("oldest"))
        if row is None or row[0] is None or row[0] >= file.millis(before):
            return 0
        return await self._vaults.write(vault, lambda db: writing.expire(db, before))

    async def destroy(self, vault: VaultId) -> int:
        if not self._vaults.path(vault).exists():
            return 0
        # Rows first: in the free space of the file system, too, no plain text is left.
        deleted = await self.clear(vault, None)
        await self._vaults.destroy(vault)
        return deleted

    async def warm(self, vault: VaultId) -> int:
        view = View(vault, "", core=True)

        def work(db: Database) -> int:
            self._cache.get(view, db)
            row = db.one("count_all")
            return int(row[0]) if row else 0

        return await self._vaults.read(vault, work) or 0

    async def check(self) -> None:
        await self._vaults.elsewhere(self._marks.probe)

    async def close(self) -> None:
        under_way = [*self._renewing.values(), *self._listing.values()]
        for task in under_way:
            task.cancel()  # the next opening begins anew
        await asyncio.gather(*under_way, return_exceptions=True)
        await self._vaults.close()
        await asyncio.to_thread(self._marks.close)

    async def _quick(self, vault: VaultId, work: Callable[[Database], T], size: int) -> T | None:
        """Read a few rows: at once where that can be, in a thread otherwise."""
        found = self._vaults.at_once(vault, work) if size <= _QUICK else None
        return await self._vaults.read(vault, work) if found is None else found

    def _list(self, view: View) -> None:
        """Have lists made of the terms of a large vault, while questions do without."""
        if view not in self._listing:
            work = self._vaults.elsewhere(partial(self._cache.list_terms, view))
            task = self._listing[view] = asyncio.create_task(work)
            task.add_done_callback(lambda _: self._listing.pop(view, None))

    # --- terms of other rules ---

    def _renew(self, vault: VaultId) -> None:
        if vault not in self._renewing:
            task = self._renewing[vault] = asyncio.create_task(self._renewed(vault))
            task.add_done_callback(lambda _: self._renewing.pop(vault, None))

    async def _renewed(self, vault: VaultId) -> None:
        analysis = self._analysis
        assert analysis is not None

        def make() -> reindexing.Terms:
            db = self._vaults.opened(vault)
            try:
                return reindexing.terms(db, analysis)
            finally:
                db.close()

        try:
            made = await self._vaults.elsewhere(make)
            await self._vaults.write(vault, lambda db: reindexing.renew(db, analysis, made))
        except StoreError as e:  # the old terms serve on; the next opening tries again
            log.warning("terms not renewed", vault=vault, error=type(e).__name__)

    # --- marks ---

    async def _settle(self, vault: VaultId) -> None:
        """Note that a vault has no backlog; with its writes held back, so that none slips by."""

        def work(db: Database) -> None:
            row = db.one("has_pending")
            if row is None or not row[0]:
                self._marks.done(vault)

        if self._marks.holds(vault):
            await self._vaults.write(vault, work)


def _inside(folder: Path, pattern: str) -> list[Path]:
    with mapped(folder):
        return sorted(folder.glob(pattern))
