"""One place where what SQLite and the file system raise becomes a StoreError.

Messages name the file's kind and the result code, never SQL, parameters or text that users wrote.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

import apsw

from memrouter.errors import StoreError, StoreFull, VaultCorrupted

_FULL_HINT = "Free some disk space; nothing that was acknowledged is lost"
_CORRUPT_HINT = "Restore this file from a backup; other vaults are not affected"
_HINTS = {
    apsw.SQLITE_BUSY: "Another process holds it; try again",
    apsw.SQLITE_LOCKED: "Another process holds it; try again",
    apsw.SQLITE_READONLY: "Check the owner and mode of the data folder",
    apsw.SQLITE_PERM: "Check the owner and mode of the data folder",
    apsw.SQLITE_CANTOPEN: "Check the owner and mode of the data folder, and the limit of open files",
    apsw.SQLITE_IOERR: "Check the disk under the data folder",
}
_CORRUPT = frozenset({apsw.SQLITE_CORRUPT, apsw.SQLITE_NOTADB, apsw.SQLITE_FORMAT})
_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})


@contextmanager
def mapped(what: str) -> Iterator[None]:
    """Raise StoreError or a subclass for whatever goes wrong inside; `what` names the file."""
    try:
        yield
    except apsw.Error as e:
        raise _of_sqlite(what, e) from None
    except OSError as e:
        raise _of_system(what, e) from None


def _of_sqlite(what: str, error: apsw.Error) -> StoreError:
    code = getattr(error, "result", 0) & 0xFF
    if code in _CORRUPT:
        return VaultCorrupted(f"{what} is damaged or not a database", _CORRUPT_HINT)
    if code == apsw.SQLITE_FULL:
        return StoreFull(f"{what} cannot grow: the disk is full", _FULL_HINT)
    extended = getattr(error, "extendedresult", 0)
    names = apsw.mapping_extended_result_codes
    name = names.get(extended) or apsw.mapping_result_codes.get(code) or type(error).__name__
    return StoreError(f"{what} cannot be read or written: {name}", _HINTS.get(code, ""))


def _of_system(what: str, error: OSError) -> StoreError:
    if error.errno in _NO_SPACE:
        return StoreFull(f"{what} cannot grow: the disk is full", _FULL_HINT)
    name = errno.errorcode.get(error.errno or 0, type(error).__name__)
    return StoreError(
        f"{what} cannot be read or written: {name}", "Check the owner and mode of the data folder"
    )
