"""Opens the files of a data folder, plain and encrypted ones; turns one kind into the other.

A file that is there is opened as what it is. A new one, and a plain one that nobody else has open,
becomes what the setting says. Nothing is decrypted by a setting: that takes a command.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import apsw

from memrouter.errors import StoreError, VaultCorrupted
from memrouter.secrets import Sealer
from memrouter.store.sqlite.database import Database, make_folder, mapped, unlock
from memrouter.store.sqlite.keyring import Keyring

Kind = Literal["new", "plain", "encrypted"]

_HEADER = b"SQLite format 3\0"
_LOCK = ".lock"
_BLOCK_BYTES = 1 << 20
_URI = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE | apsw.SQLITE_OPEN_URI


class Files:
    """The SQLite files of one data folder. Blocking; several threads and processes may use it."""

    def __init__(
        self, folder: Path, sealer: Sealer | None = None, *, encrypt: bool = False
    ) -> None:
        """Opens nothing yet.

        sealer   wraps the keys of encrypted files
        encrypt  make new files encrypted, and plain ones when they are opened
        """
        self.folder = folder
        self.encrypt = encrypt
        self.sealer = sealer
        self.keyring = Keyring(folder, sealer)

    def open(self, path: Path, sql: Mapping[str, str], **options: Any) -> Database:
        """See Database. Raises VaultLocked if SECRET_KEY does not open it, and StoreError."""
        found = kind(path)
        if found == "plain" and self.encrypt:
            self._convert_if_free(path)
        elif found == "encrypted" and self.keyring.find(path.stem) == b"":
            self._finish_destroying(path)
        with shared(path):
            return Database(path, sql, key=self.key(path), **options)

    def key(self, path: Path) -> bytes | None:
        """What a file is encrypted with, made if it is to be; None if it is plain.

        Raises VaultCorrupted if nobody knows, VaultLocked if SECRET_KEY does not tell.
        """
        found = kind(path)
        if found == "plain":
            return None
        if found == "new":
            return self.keyring.make(path.stem) if self.encrypt else None
        key = self.keyring.find(path.stem)
        if not key:
            raise VaultCorrupted(
                f"{path.name} is damaged, or encrypted and its key is not here",
                "Restore it from a backup, with keyring.db; it was left as it is",
            )
        return key

    def convert(self, path: Path, *, encrypt: bool) -> bool:
        """Encrypt or decrypt a file; whether it was not so already. Killed, it has done nothing.

        Raises StoreError if any process has it open.
        """
        with alone(path):
            found = kind(path)
            if found == "new" or (found == "encrypted") == encrypt:
                return False
            old = self.key(path)
            new = self.keyring.make(path.stem) if encrypt else None
            rewrite(path, path, old, new)
            if not encrypt:
                self.keyring.forget(path.stem)
        return True

    def destroy(self, path: Path) -> None:
        """Remove a file; if it is encrypted, its key first. Who has it open sees that it went."""
        with alone(path):
            self.keyring.destroy(path.stem)
            _remove(path)
            self.keyring.forget(path.stem)

    def elsewhere(self, folder: Path) -> Files:
        """The same SECRET_KEY over another folder. Encrypts nothing there."""
        return Files(folder, self.sealer)

    def close(self) -> None:
        self.keyring.close()

    def _finish_destroying(self, path: Path) -> None:
        """A process was killed between the key and the file."""
        with alone(path):
            if kind(path) == "encrypted" and self.keyring.find(path.stem) == b"":
                _remove(path)
                self.keyring.forget(path.stem)

    def _convert_if_free(self, path: Path) -> None:
        try:
            self.convert(path, encrypt=True)
        except StoreError:
            if kind(path) != "plain":
                raise
            # Another process, which does not encrypt, has it open: it stays plain for now.


def kind(path: Path) -> Kind:
    """What a file is, by its first bytes."""
    with mapped(path):
        if not path.exists():
            return "new"
        # By SQLite's own means: whoever closes a handle of the system's drops the locks that this
        # process has on the file.
        file = apsw.VFSFile("unix", str(path), [apsw.SQLITE_OPEN_READONLY, 0])
        try:
            if file.xFileSize() == 0:
                return "new"
            return "plain" if file.xRead(len(_HEADER), 0) == _HEADER else "encrypted"
        finally:
            file.xClose()


def rewrite(source: Path, target: Path, old: bytes | None, new: bytes | None) -> None:
    """Put a copy of a SQLite file under another key in a place, whole or not at all.

    source  nobody has it open; may be the target, whose plain text is overwritten then
    raises  StoreError if somebody has it open, or it is damaged
    """
    fresh = target.with_name(target.name + ".new")
    with mapped(source):
        fresh.unlink(missing_ok=True)
        make_folder(target.parent)
        os.close(os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        connection = apsw.Connection(str(source), flags=_URI)
        try:
            unlock(connection, old)
            connection.execute("PRAGMA temp_store = MEMORY")
            connection.execute("PRAGMA secure_delete = ON")
            connection.set_busy_timeout(1_000)
            connection.pragma("journal_mode", "delete")  # busy if anyone has it open
            connection.execute("VACUUM INTO ?", (_uri(fresh, new),))
        finally:
            connection.close()
        _put_in_place(fresh, target, wipe=old is None)


def copied(source: Path, target: Path, old: bytes | None, new: bytes | None) -> None:
    """Put a checked copy of a file that nobody writes in a place; the source stays as it is.

    Raises StoreError if it is damaged.
    """
    fresh = target.with_name(target.name + ".new")
    with alone(target), mapped(source):
        fresh.unlink(missing_ok=True)
        os.close(os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        connection = apsw.Connection(f"{_uri(source, old)}&immutable=1", flags=_URI)
        try:
            connection.execute("PRAGMA temp_store = MEMORY")
            damage = connection.execute("PRAGMA integrity_check(1)").fetchall()[0][0]
            if damage != "ok":
                raise VaultCorrupted(f"{source.name} is damaged", "Use an older backup")
            connection.execute("VACUUM INTO ?", (_uri(fresh, new),))
        finally:
            connection.close()
        for end in ("-wal", "-shm", "-journal"):
            target.with_name(target.name + end).unlink(missing_ok=True)
        _put_in_place(fresh, target, wipe=kind(target) == "plain")


def _uri(path: Path, key: bytes | None) -> str:
    quoted = str(path.absolute()).replace("%", "%25").replace("?", "%3f").replace("#", "%23")
    return (
        f"file:{quoted}?key=" if key is None else f"file:{quoted}?cipher=aegis&key=raw:{key.hex()}"
    )


def _put_in_place(fresh: Path, target: Path, *, wipe: bool) -> None:
    _sync(fresh)
    before = os.open(target, os.O_RDWR | os.O_CLOEXEC) if target.exists() else None
    try:
        fresh.replace(target)
        _sync(target.parent)
        if before is not None and wipe:
            _overwrite(before)
    finally:
        if before is not None:
            os.close(before)


def _overwrite(descriptor: int) -> None:
    left = os.fstat(descriptor).st_size
    os.lseek(descriptor, 0, os.SEEK_SET)
    while left > 0:
        left -= os.write(descriptor, bytes(min(left, _BLOCK_BYTES)))
    os.fsync(descriptor)


def _remove(path: Path) -> None:
    with mapped(path):
        for end in ("", "-wal", "-shm", "-journal", ".new"):
            path.with_name(path.name + end).unlink(missing_ok=True)
        if path.parent.exists():
            _sync(path.parent)


def _sync(path: Path) -> None:
    opened = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


# Who opens a file finds its log by name. So nobody may open one while it is put in the place of
# another: the log would be the other's.


@contextmanager
def shared(path: Path) -> Iterator[None]:
    """Nobody replaces or removes the file, in any process, while this lasts."""
    with _locked(path, fcntl.LOCK_SH):
        yield


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Nobody opens, replaces or removes the file while this lasts. Some others wait, too."""
    with _locked(path, fcntl.LOCK_EX):
        yield


@contextmanager
def _locked(path: Path, how: int) -> Iterator[None]:
    with mapped(path):
        make_folder(path.parent)
        descriptor = os.open(path.parent / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, how)
        yield
    finally:
        os.close(descriptor)
