"""The keys of encrypted files: one each, random, wrapped by SECRET_KEY; gone before its file is."""

from __future__ import annotations

import secrets
import threading
from pathlib import Path

from memrouter.errors import StoreError, VaultLocked
from memrouter.secrets import SealBroken, Sealer
from memrouter.store.sqlite.database import Database
from memrouter.store.statements import statements

FILE = "keyring.db"
_KEY_BYTES = 32
_SEAL = ""


class Keyring:
    """The keys in one data folder. Blocking; several threads and processes may use it."""

    def __init__(self, folder: Path, sealer: Sealer | None) -> None:
        """Opens nothing yet.

        sealer  wraps the keys under SECRET_KEY; without it none can be made or read
        """
        self._path = folder / FILE
        self._sealer = sealer
        self._opened: Database | None = None
        self._busy = threading.Lock()

    def check(self) -> None:
        """Raise VaultLocked if SECRET_KEY is not the one that wrapped the keys."""
        with self._busy:
            self._find(_SEAL)

    def find(self, file: str) -> bytes | None:
        """The key of a file; None if it has none, b"" if it was destroyed. Raises VaultLocked."""
        with self._busy:
            return self._find(file)

    def make(self, file: str) -> bytes:
        """The key of a file, made if need be; on the disk when this returns. Raises VaultLocked."""
        with self._busy:
            database, sealer = self._database(), self._needed()
            self._find(_SEAL)  # a key that this SECRET_KEY wraps among those of another is a trap
            with database.transaction():
                database.one("add", _SEAL, sealer.seal(" "))
                held = database.one("find", file)
                if held is not None and not held[0]:
                    database.one("drop", file)  # its file is gone, or the caller saw to it
                key = secrets.token_bytes(_KEY_BYTES)
                database.one("add", file, sealer.seal(f"{file} {key.hex()}"))
            found = self._find(file)
            assert found
            return found

    def destroy(self, file: str) -> None:
        """Overwrite a key, on the disk as well: what it has encrypted can be read by nobody."""
        with self._busy:
            if self._path.exists():
                self._database().one("destroy", file)
                self._database().shrink()

    def forget(self, file: str) -> None:
        """Drop the mark of a key that was destroyed, once its file is gone."""
        with self._busy:
            if self._path.exists():
                self._database().one("drop", file)

    def files(self) -> list[str]:
        """The files that have a key."""
        with self._busy:
            if not self._path.exists():
                return []
            return [file for file, key in self._database().all("all") if file and key]

    def rewrap(self) -> int:
        """Wrap every key under the first of the secrets; return how many. Raises VaultLocked."""
        with self._busy:
            if not self._path.exists():
                return 0
            database, sealer = self._database(), self._needed()
            with database.transaction():
                rows = [row for row in database.all("all") if row[1]]
                for file, wrapped in rows:
                    try:
                        database.one("change", sealer.reseal(wrapped), file)
                    except SealBroken:
                        raise _locked(file or FILE) from None
            database.shrink()  # what the old secret opens is nowhere any more
            return sum(bool(file) for file, _ in rows)

    def close(self) -> None:
        with self._busy:
            if self._opened is not None:
                self._opened.close()
                self._opened = None

    def _find(self, file: str) -> bytes | None:
        if not self._path.exists():
            return None
        row = self._database().one("find", file)
        if row is None or not row[0]:
            return None if row is None else b""
        try:
            named, _, key = self._needed().open(row[0]).partition(" ")
        except SealBroken:
            raise _locked(file or FILE) from None
        if named != file:
            raise StoreError(f"The key of {file} in {FILE} is another file's", "Restore a backup")
        return bytes.fromhex(key)

    def _needed(self) -> Sealer:
        if self._sealer is None:
            raise _locked(FILE)
        return self._sealer

    def _database(self) -> Database:
        if self._opened is None:
            self._opened = Database(self._path, statements("keyring"))
        return self._opened


def _locked(file: str) -> VaultLocked:
    return VaultLocked(
        f"{file} cannot be opened with this SECRET_KEY",
        "Set MEMROUTER_SECRET_KEY to the one it was made with, behind a comma if there is a newer "
        "one, or put back secret.key; nothing was changed",
    )
