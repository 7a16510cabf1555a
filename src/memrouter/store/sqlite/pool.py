"""Vault files held open: a bounded number, each connection with one thread at a time."""

from __future__ import annotations

import asyncio
import re
import resource
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from memrouter.domain import VaultId
from memrouter.errors import StoreError, VaultCorrupted
from memrouter.store.sqlite.database import Database, Replaced
from memrouter.store.sqlite.files import Files
from memrouter.store.statements import statements

T = TypeVar("T")

_FILE_NAME = re.compile(r"[0-9A-Za-z][0-9A-Za-z_-]{0,127}")
_CACHE_KB = 32
"""Pages kept a connection. The system has them, too."""
_FILES_A_VAULT = 6
"""Two connections with the database and its log each, the log's index, and one to spare."""
_OTHER_FILES = 256
"""File handles that the rest of the process may want."""


@dataclass(slots=True)
class _Connection:
    """One connection to a vault, and who has it."""

    database: Database | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    users: int = 0
    """Who uses it, and who waits for it."""

    def close(self) -> None:
        database, self.database = self.database, None
        if database is not None:
            database.close()


@dataclass(slots=True)
class _Open:
    """A vault's connections.

    One does all there is to do while one thing is done at a time. Reads that come while it is in
    use have a second one, so that none waits for another request's commit.
    """

    users: int = 0
    outdated: bool = False
    """Whether other rules made its terms, and nobody was told."""
    main: _Connection = field(default_factory=_Connection)
    spare: _Connection = field(default_factory=_Connection)

    @property
    def for_reading(self) -> _Connection:
        return self.spare if self.main.users else self.main

    def close(self) -> None:
        self.spare.close()
        self.main.close()


class OpenVaults:
    """Runs work on vault files, in threads. Used by one event loop."""

    def __init__(
        self,
        files: Files,
        *,
        limit: int,
        threads: int,
        analysis: int = 0,
        on_outdated: Callable[[VaultId], None] = lambda vault: None,
    ) -> None:
        """Opens nothing yet.

        files    opens them; they lie in `vaults/ab/abcdef….db` of its folder
        limit    vaults open at once; more only while that many are in use, fewer if the system
                 allows this process fewer files
        threads  for reading; as many again for writing, so that no read waits for a commit
        analysis     version of the rules that terms are made by; 0 if nobody knows
        on_outdated  told of an opened vault whose terms other rules made
        """
        self._analysis = analysis
        self._on_outdated = on_outdated
        self._files = files
        self._folder = files.folder / "vaults"
        self._limit = max(1, min(limit, _affordable()))
        self._readers = ThreadPoolExecutor(threads, thread_name_prefix="store-read")
        self._writers = ThreadPoolExecutor(threads, thread_name_prefix="store-write")
        self._open: OrderedDict[VaultId, _Open] = OrderedDict()
        self._running: set[asyncio.Future[Any]] = set()
        self._in_place: set[Database] = set()
        """Those whose files were looked at in this turn of the event loop."""
        self._closed = False

    def path(self, vault: VaultId) -> Path:
        """Where a vault lies. Raises StoreError for what cannot be a vault's id."""
        if not _FILE_NAME.fullmatch(vault):
            raise StoreError("This is not the id of a vault")
        return self._folder / vault[:2] / f"{vault}.db"

    async def read(self, vault: VaultId, work: Callable[[Database], T]) -> T | None:
        """Run `work` on a connection of the vault; None, and no file made, if there is no vault."""

        def run(entry: _Open, connection: _Connection) -> T | None:
            if connection.database is not None and connection.database.replaced():
                connection.close()
            if connection.database is None:
                if not self.path(vault).exists():
                    return None
                connection.database = self._opened(vault, entry)
            try:
                return work(connection.database)
            except VaultCorrupted:
                connection.close()  # a file put back in its place is found at the next use
                raise

        entry = self._entry(vault)
        return await self._run(vault, entry, entry.for_reading, self._readers, run)

    def at_once(self, vault: VaultId, work: Callable[[Database], T]) -> T | None:
        """Run `work` here and now if the vault is open and idle, otherwise return None.

        For what takes a few microseconds: a thread would cost ten times that. A vault that is
        open was used a moment ago, so what is read of it is in memory.
        """
        entry = self._open.get(vault)
        if entry is None or self._closed:
            return None
        connection = entry.for_reading
        database = connection.database
        if database is None or connection.users:
            return None
        self._open.move_to_end(vault)
        if self._is_replaced(database):
            return None
        try:
            return work(database)
        except VaultCorrupted:
            connection.close()
            raise

    def _is_replaced(self, database: Database) -> bool:
        """Whether its file is; it is looked at once a turn of the event loop: recalls read much."""
        if database in self._in_place:
            return False
        if database.replaced():
            return True
        if not self._in_place:
            asyncio.get_running_loop().call_soon(self._in_place.clear)
        self._in_place.add(database)
        return False

    async def write(self, vault: VaultId, work: Callable[[Database], T]) -> T:
        """Run `work` on the vault's main connection; the file is made if need be."""

        def run(entry: _Open, connection: _Connection) -> T:
            if connection.database is None:
                connection.database = self._opened(vault, entry)
            try:
                return work(connection.database)
            except Replaced:  # before anything was done
                connection.close()
                connection.database = self._opened(vault, entry)
                return work(connection.database)
            except VaultCorrupted:
                connection.close()
                raise

        entry = self._entry(vault)
        return await self._run(vault, entry, entry.main, self._writers, run)

    async def destroy(self, vault: VaultId) -> None:
        """Remove a vault's file, and its key before. Others who have it open see that it went."""

        def run(entry: _Open, connection: _Connection) -> None:
            connection.close()
            self._files.destroy(self.path(vault))

        entry = self._entry(vault)
        await self._run(vault, entry, entry.main, self._writers, run)

    async def elsewhere(self, work: Callable[[], T]) -> T:
        """Run `work`, which is not about one vault, off the event loop."""
        self._check_open()
        return await self._shielded(asyncio.get_running_loop().run_in_executor(self._writers, work))

    async def close(self) -> None:
        """Let what runs end, then close every file."""
        self._closed = True
        while self._running:
            await asyncio.wait(self._running)
        entries = list(self._open.values())
        self._open.clear()
        run = asyncio.get_running_loop().run_in_executor
        closing = [run(self._writers, entry.close) for entry in entries]
        ended = await asyncio.gather(*closing, return_exceptions=True)
        self._readers.shutdown()
        self._writers.shutdown()
        self._files.close()
        for failed in ended:
            if isinstance(failed, BaseException):
                raise failed

    def _entry(self, vault: VaultId) -> _Open:
        self._check_open()
        entry = self._open.get(vault)
        if entry is None:
            entry = self._open[vault] = _Open()
        self._open.move_to_end(vault)
        return entry

    async def _run(
        self,
        vault: VaultId,
        entry: _Open,
        connection: _Connection,
        pool: ThreadPoolExecutor,
        work: Callable[[_Open, _Connection], T],
    ) -> T:
        """Run `work` with one of the vault's connections to itself.

        Who waits may be cancelled; the connection stays taken until the thread is done with it.
        """
        entry.users += 1
        connection.users += 1
        try:
            await connection.lock.acquire()
        except BaseException:
            connection.users -= 1
            self._give_back(entry)
            raise
        future = asyncio.get_running_loop().run_in_executor(pool, work, entry, connection)

        def done(_: asyncio.Future[T]) -> None:
            connection.users -= 1
            connection.lock.release()
            self._give_back(entry)
            if entry.outdated and not self._closed:
                entry.outdated = False
                self._on_outdated(vault)

        future.add_done_callback(done)
        return await self._shielded(future)

    async def _shielded(self, future: asyncio.Future[T]) -> T:
        self._running.add(future)
        future.add_done_callback(self._running.discard)
        return await asyncio.shield(future)

    def _give_back(self, entry: _Open) -> None:
        entry.users -= 1
        while len(self._open) > self._limit and not self._closed:
            idle = next((v for v, other in self._open.items() if not other.users), None)
            if idle is None:
                return
            closing = self._open.pop(idle)
            if closing.main.database is not None or closing.spare.database is not None:
                future = asyncio.get_running_loop().run_in_executor(self._writers, closing.close)
                self._running.add(future)
                future.add_done_callback(self._closed_one)

    def _closed_one(self, future: asyncio.Future[None]) -> None:
        self._running.discard(future)
        future.exception()  # what cannot be closed has nobody to tell; the next use will

    def _check_open(self) -> None:
        if self._closed:
            raise StoreError("The store is closed")

    def _opened(self, vault: VaultId, entry: _Open) -> Database:
        database = self.opened(vault)
        row = database.one("analysis")
        if self._analysis and row is not None and row[0] != self._analysis:
            entry.outdated = True
        return database

    def opened(self, vault: VaultId) -> Database:
        """A connection of the caller's own; the file is made if need be. Blocking."""
        path, first = self.path(vault), [("new_meta", (vault, self._analysis))]
        database = self._files.open(path, statements("vault"), first=first, cache_kb=_CACHE_KB)
        row = database.one("vault_id")
        if row is None or row[0] != vault:
            database.close()
            raise VaultCorrupted(
                f"{path.name} is not the vault it is named for", "Restore it from a backup"
            )
        return database


def _affordable() -> int:
    """How many vaults the system lets this process hold open."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return 1 << 30
    return max(8, (files - _OTHER_FILES) // _FILES_A_VAULT)
