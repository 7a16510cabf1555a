"""Opens SQLite files: durable, private, of a known schema; says plainly what is wrong with one."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import apsw

from memrouter.errors import StoreError, StoreFull, VaultCorrupted, VaultNewer

_PRAGMAS = (
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    "PRAGMA secure_delete = ON",
    "PRAGMA temp_store = MEMORY",
)
# Set aside for each connection it would be a third of what a vault that is held open takes.
apsw.shutdown()
apsw.config(apsw.SQLITE_CONFIG_LOOKASIDE, 0, 0)
apsw.config(apsw.SQLITE_CONFIG_MEMSTATUS, False)
apsw.initialize()

_BUSY_MS = 10_000
_PLAIN = "unix"
"""How SQLite gets at files that are not encrypted."""
_CHECKPOINTS = 50


class Database:
    """One SQLite file with named statements. Used by one thread at a time."""

    def __init__(
        self,
        path: Path,
        sql: Mapping[str, str],
        *,
        key: bytes | None = None,
        cache_kb: int = 512,
        first: Sequence[tuple[str, tuple[Any, ...]]] = (),
        statement_cache: int = 32,
    ) -> None:
        """Open a file, make it if need be, and bring it to the newest schema.

        sql    its statements by name; schema_1, schema_2 … bring it to these versions
        key    what it is encrypted with, 32 bytes; None for plain files
        first  statements that fill a new file
        raises StoreError and its subclasses
        """
        self.path = path
        self.notes: dict[Any, Any] = {}
        """What those who use it remember from one time to the next."""
        self._sql = sql
        with mapped(path):
            self._db = _connected(path, statement_cache, encrypted=key is not None)
            try:
                self._inode = path.stat().st_ino
                self._db.set_busy_timeout(_BUSY_MS)
                unlock(self._db, key)
                # What is said once is not kept prepared: it would be a tenth of what is.
                for pragma in (*_PRAGMAS, f"PRAGMA cache_size = -{cache_kb}"):
                    self._db.execute(pragma, can_cache=False).fetchall()
                self._migrate(first)
                # What was set aside before the size was known: a third of a connection's memory.
                self._db.execute("PRAGMA shrink_memory", can_cache=False)
            except BaseException:
                self._db.close(True)
                raise

    def all(self, name: str, *values: Any) -> list[tuple[Any, ...]]:
        """The rows of a named statement."""
        try:
            return self._db.execute(self._sql[name], values).fetchall()
        except (apsw.Error, OSError) as e:
            raise _ours(e, self.path) from e

    def one(self, name: str, *values: Any) -> tuple[Any, ...] | None:
        """Its first row, or None."""
        try:
            row: tuple[Any, ...] | None = self._db.execute(self._sql[name], values).fetchone()
        except (apsw.Error, OSError) as e:
            raise _ours(e, self.path) from e
        return row

    def insert(self, name: str, *values: Any) -> int | None:
        """Id of the row that a named statement inserted, or None if it inserted none."""
        try:
            self._db.execute(self._sql[name], values)
        except (apsw.Error, OSError) as e:
            raise _ours(e, self.path) from e
        return self._db.last_insert_rowid() if self._db.changes() else None

    def many(self, name: str, rows: Iterator[tuple[Any, ...]] | Sequence[tuple[Any, ...]]) -> None:
        """Run a named statement for every row."""
        with mapped(self.path):
            self._db.executemany(self._sql[name], rows)

    def replaced(self) -> bool:
        """Whether the file was removed, or another stands in its place: this one is nobody's."""
        try:
            return os.stat(self.path).st_ino != self._inode  # noqa: PTH116 - a third of the time
        except FileNotFoundError:
            return True

    def changed(self) -> int:
        """Rows that the last statement changed."""
        return self._db.changes()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Everything within is committed together, or nothing.

        Raises Replaced, and nothing is done, if the file is no more what stands in its place.
        """
        self.one("begin")
        try:
            self._check_in_place()
            yield
            self.one("commit")
        except BaseException:
            if self._db.in_transaction:
                self.one("rollback")
            raise

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Everything within sees the same state."""
        with mapped(self.path):
            self._db.execute("BEGIN")
        try:
            yield
        finally:
            if self._db.in_transaction:
                with mapped(self.path):
                    self._db.execute("COMMIT")

    def shrink(self, *, vacuum: bool = False) -> None:
        """Overwrite what was deleted in the write-ahead log, too; free its place with `vacuum`."""
        with mapped(self.path):
            if vacuum:
                # What was deleted is overwritten in the file before its place is given up.
                self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
                self._db.execute("VACUUM")
            for _ in range(_CHECKPOINTS):
                busy, _, _ = self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()[0]
                if not busy:
                    return
                time.sleep(0.01)  # another process reads; the next checkpoint does it, at last

    def close(self) -> None:
        with mapped(self.path):
            self._db.close()

    def _check_in_place(self) -> None:
        if self.replaced():
            raise Replaced(f"{self.path.name} was removed", "Open it again")

    def _migrate(self, first: Sequence[tuple[str, tuple[Any, ...]]]) -> None:
        newest = sum(1 for name in self._sql if name.startswith("schema_"))
        version = self._version(newest)
        self._write_ahead()
        if version == newest:
            return
        with self.transaction():
            version = self._version(newest)  # another process may have been faster
            for step in range(version, newest):
                self._db.execute(self._sql[f"schema_{step + 1}"])
            if version == 0:
                for name, values in first:
                    self._db.execute(self._sql[name], values)
            self._db.execute(f"PRAGMA user_version = {newest}")

    def _version(self, newest: int) -> int:
        version = int(self._db.pragma("user_version"))
        if version > newest:
            raise VaultNewer(
                f"{self.path.name} has schema {version}, this memrouter knows up to {newest}",
                "Run the memrouter that wrote it, or a newer one",
            )
        return version

    def _write_ahead(self) -> None:
        # Where another process makes the same file, this fails at once instead of waiting.
        for attempt in range(_BUSY_MS // 10):
            try:
                self._db.pragma("journal_mode", "wal")
            except apsw.BusyError:
                if attempt == _BUSY_MS // 10 - 1:
                    raise
                time.sleep(0.01)
            else:
                return


class Replaced(StoreError):
    """The file was removed, or another was put in its place, since it was opened."""


def unlock(connection: apsw.Connection, key: bytes | None) -> None:
    """Say what a file is encrypted with, before anything is read of it.

    AEGIS-256 authenticates every page and costs next to nothing (docs/decisions/0107). The key is
    random: it is used as it is, without the many rounds that a password needs.
    """
    if key is not None:
        connection.pragma("cipher", "aegis")
        connection.pragma("key", f"raw:{key.hex()}")


_connecting = threading.Lock()


def _connected(path: Path, statement_cache: int, *, encrypted: bool) -> apsw.Connection:
    """Open a file that only its owner may read, made if need be."""
    make_folder(path.parent)
    # Closing a handle drops the locks that this process has on the file: nobody may get one
    # between the two steps, and a file that is there is not touched.
    with _connecting:
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        # By default a file is looked for among all open ones, plain or not, for each page of a long
        # value: 4 µs a page with 1,000 vaults.
        vfs = None if encrypted else _PLAIN
        return apsw.Connection(str(path), vfs=vfs, statementcachesize=statement_cache)


def make_folder(folder: Path) -> None:
    """Make a folder for its owner only, and its name as durable as what will be in it."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    above = os.open(folder.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(above)
    finally:
        os.close(above)


@contextmanager
def mapped(path: Path) -> Iterator[None]:
    """Turn what SQLite and the system raise into our errors, without what was being written."""
    try:
        yield
    except (apsw.Error, OSError) as e:
        raise _ours(e, path) from e


def _ours(e: apsw.Error | OSError, path: Path) -> StoreError:
    """What SQLite or the system says, as our error."""
    match e:
        case apsw.NotADBError() | apsw.CorruptError():
            return VaultCorrupted(
                f"{path.name} is damaged", "Restore it from a backup; it was left as it is"
            )
        case apsw.FullError():
            return StoreFull("The disk under the store is full", "Free some space")
        case apsw.BusyError():
            return StoreError(f"{path.name} is locked by another process", "Try again")
        case OSError() if e.errno in (errno.ENOSPC, errno.EDQUOT):
            return StoreFull("The disk under the store is full", "Free some space")
        case OSError():
            return StoreError(f"{path.name}: {e.strerror}", "Check the folder and its mode")
        case _:
            return StoreError(
                f"{path.name}: {type(e).__name__}", "Run `memrouter doctor`; look at the disk"
            )
