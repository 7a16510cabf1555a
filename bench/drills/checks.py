"""Looks at the files of a store from outside."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import apsw

_BUSY_MS = 30_000


def databases(folder: Path) -> list[Path]:
    """Its SQLite files; what workers share of their metrics bears the same suffix."""
    metrics = folder / "run"
    found = (path for path in folder.rglob("*.db") if metrics not in path.parents)
    return sorted(path for path in found if path.stat().st_size)


def integrity(paths: Iterable[Path]) -> list[str]:
    """What SQLite finds wrong with files, by name."""
    faults = []
    for path in paths:
        try:
            db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
            db.set_busy_timeout(_BUSY_MS)
            rows = [str(row[0]) for row in db.execute("PRAGMA integrity_check")]
            db.close()
        except apsw.Error as e:
            rows = [f"{type(e).__name__}: {e}"]
        faults += [f"{path.name}: {row}" for row in rows if row != "ok"]
    return faults
