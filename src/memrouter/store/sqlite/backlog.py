"""Marks of vaults whose chunks wait for vectors, kept by process, found again after a crash."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import threading
from pathlib import Path

from memrouter.domain import VaultId
from memrouter.store.sqlite.database import Database, mapped
from memrouter.store.sqlite.files import Files
from memrouter.store.statements import statements

_MANY = 1_000


class Marks:
    """The marks of this process. Blocking; several threads may use it.

    A vault that is written again and again keeps its mark, so that a write costs no second commit;
    marks of vaults that are done are taken away together, now and then and at the end.
    """

    def __init__(self, files: Files) -> None:
        """Opens nothing yet."""
        self._files = files
        self._folder = folder = files.folder
        self._running = folder / "run"
        self._owner = f"{os.getpid()}-{secrets.token_hex(8)}"
        self._lock: int | None = None
        self._opened: Database | None = None
        self._marked: set[VaultId] = set()
        self._done: set[VaultId] = set()
        self._busy = threading.Lock()

    def add(self, vault: VaultId) -> None:
        """Mark a vault, before its chunks are committed."""
        with self._busy:
            if vault not in self._marked:
                self._database().one("mark", vault, self._owner)
                self._marked.add(vault)
            self._done.discard(vault)

    def holds(self, vault: VaultId) -> bool:
        """Whether a vault is marked and known to have work."""
        return vault in self._marked and vault not in self._done

    def done(self, vault: VaultId) -> None:
        """Note that all chunks of a vault have their vectors; nobody may add any meanwhile."""
        with self._busy:
            if vault in self._marked:
                self._done.add(vault)
            if len(self._done) >= _MANY:
                self._sweep()

    def probe(self) -> None:
        """Raise StoreError if nothing can be written."""
        with self._busy, self._database().transaction():
            self._database().one("mark", "", self._owner)
            self._database().one("unmark", "", self._owner)

    def orphans(self) -> list[VaultId]:
        """Vaults that processes which are no more left behind; they are this process's now."""
        with self._busy:
            for (owner,) in self._database().all("owners"):
                if owner != self._owner:
                    self._take_over(owner)
            found = [VaultId(row[0]) for row in self._database().all("marked", self._owner)]
            self._marked.update(found)
            return [vault for vault in found if vault not in self._done]

    def close(self) -> None:
        """Take away what is done; what is not stays for the next process."""
        with self._busy:
            if self._opened is None:
                return
            self._sweep()
            self._opened.close()
            self._opened = None
            if self._lock is not None:
                os.close(self._lock)
                self._lock = None
            if not self._marked:
                (self._running / f"{self._owner}.lock").unlink(missing_ok=True)

    def _database(self) -> Database:
        if self._opened is None:
            self._opened = self._files.open(self._folder / "backlog.db", statements("backlog"))
            with mapped(self._running):
                self._running.mkdir(mode=0o700, exist_ok=True)
                self._lock = _locked(self._running / f"{self._owner}.lock", create=True)
        return self._opened

    def _sweep(self) -> None:
        """Take away the marks of vaults that are done."""
        if self._done:
            with self._database().transaction():
                rows = [(vault, self._owner) for vault in self._done]
                self._database().many("unmark", rows)
            self._marked -= self._done
            self._done.clear()

    def _take_over(self, owner: str) -> None:
        path = self._running / f"{owner}.lock"
        with mapped(path):
            lock = _locked(path, create=False)
            if lock is None and path.exists():
                return  # it lives
        with self._database().transaction():
            self._database().one("take_over", self._owner, owner)
            self._database().one("drop_owner", owner)
        path.unlink(missing_ok=True)
        if lock is not None:
            os.close(lock)


def lives(path: Path) -> bool:
    """Whether the process whose lock file this is still runs."""
    with mapped(path):
        lock = _locked(path, create=False)
        if lock is None:
            return path.exists()
        os.close(lock)
        return False


def _locked(path: Path, *, create: bool) -> int | None:
    """A descriptor with an exclusive lock on the file; None if it is not to be had."""
    flags = os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if create else 0)
    with contextlib.suppress(FileNotFoundError):
        descriptor = os.open(path, flags, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
        else:
            return descriptor
    return None
