"""How a database file is opened, and how a transaction is run: the only place that does either."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import apsw

from memrouter.errors import VaultNewer

BUSY_MS = 5_000
"""How long to wait for another process's transaction."""
_STATEMENTS = 32
"""Prepared statements kept a connection; we have fewer per kind of connection."""


def make_folder(folder: Path) -> None:
    """Make a folder for its owner only, and its name durable in the folder above."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(mode=0o700, exist_ok=True)
    handle = os.open(folder.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def reader(path: Path, *, cache_kib: int = 256, key: bytes | None = None) -> apsw.Connection:
    """Open a file to read. Raises apsw.CantOpenError if there is none."""
    # Not SQLITE_OPEN_READONLY: a reader of a WAL file may have to recover it after a crash.
    connection = _open(path, apsw.SQLITE_OPEN_READWRITE, cache_kib, key)
    try:
        connection.pragma("query_only", True)
    except BaseException:
        connection.close()
        raise
    return connection


def writer(
    path: Path,
    migrations: Sequence[str],
    *,
    what: str,
    cache_kib: int = 256,
    key: bytes | None = None,
) -> apsw.Connection:
    """Open a file to write, made and brought to the newest schema first if need be.

    migrations  script n brings a file of version n to n + 1; see `migrate`
    key         encrypts the file, if given
    """
    if not path.exists():
        make_folder(path.parent)
        _touch(path)
    connection = _open(path, apsw.SQLITE_OPEN_READWRITE, cache_kib, key)
    try:
        connection.pragma("synchronous", "full")
        connection.pragma("secure_delete", True)
        migrate(connection, migrations, what=what)
    except BaseException:
        connection.close()
        raise
    return connection


def _touch(path: Path) -> None:
    # Only the first process gets a handle, and before SQLite has one: closing a handle of a file
    # would drop the locks that this process holds on it.
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except FileExistsError:
        pass


def _open(path: Path, flags: int, cache_kib: int, key: bytes | None) -> apsw.Connection:
    connection = apsw.Connection(str(path), flags=flags, statementcachesize=_STATEMENTS)
    try:
        connection.set_busy_timeout(BUSY_MS)
        if key is not None:
            connection.pragma("hexkey", key.hex())
        connection.config(apsw.SQLITE_DBCONFIG_ENABLE_FKEY, 1)
        connection.config(apsw.SQLITE_DBCONFIG_DQS_DML, 0)
        connection.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 1)
        connection.pragma("cache_size", -cache_kib)
    except BaseException:
        connection.close()
        raise
    return connection


def migrate(connection: apsw.Connection, migrations: Sequence[str], *, what: str) -> None:
    """Bring a file to version len(migrations), in one transaction; several processes may try.

    Raises VaultNewer if the file is of a later version than is known here.
    """
    newest = len(migrations)
    if version(connection, newest, what=what) == newest:
        return
    _use_wal(connection)
    with writing(connection):
        found = version(connection, newest, what=what)
        for step in migrations[found:]:
            connection.execute(step)
        if found < newest:
            connection.pragma("user_version", newest)


def version(connection: apsw.Connection, newest: int, *, what: str) -> int:
    """Version of a file's schema, 0 if it has none yet. Raises VaultNewer if it is too new."""
    found = int(connection.pragma("user_version"))
    if found > newest:
        raise VaultNewer(
            f"{what} has schema version {found}, this memrouter knows {newest} at most",
            "Start the newer memrouter that wrote it, or restore a backup from before the upgrade",
        )
    return found


def _use_wal(connection: apsw.Connection) -> None:
    # The switch fails at once, without waiting, while another process makes the same file.
    deadline = time.monotonic() + BUSY_MS / 1000
    while True:
        try:
            connection.pragma("journal_mode", "wal")
        except apsw.BusyError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.005)
        else:
            return


@contextmanager
def writing(connection: apsw.Connection) -> Iterator[apsw.Connection]:
    """A transaction that holds the file's write lock from its start."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield connection
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


@contextmanager
def reading(connection: apsw.Connection) -> Iterator[apsw.Connection]:
    """A transaction in which every statement sees the same state."""
    connection.execute("BEGIN")
    try:
        yield connection
    finally:
        if connection.in_transaction:
            connection.execute("COMMIT")
