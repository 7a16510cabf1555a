from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest

from memrouter.errors import StoreError, StoreFull, VaultCorrupted, VaultNewer
from memrouter.store.sqlite.database import Database, mapped

ONE = {
    "schema_1": "CREATE TABLE note (text TEXT NOT NULL UNIQUE) STRICT;",
    "begin": "BEGIN IMMEDIATE",
    "commit": "COMMIT",
    "rollback": "ROLLBACK",
    "add": "INSERT INTO note (text) VALUES (?)",
    "all": "SELECT text FROM note ORDER BY rowid",
}
TWO = {
    **ONE,
    "schema_2": "ALTER TABLE note ADD COLUMN size INTEGER; UPDATE note SET size = length(text);",
    "sizes": "SELECT size FROM note",
}
BROKEN = {**TWO, "schema_3": "CREATE TABLE more (id INTEGER); SELECT * FROM nothing;"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "down" / "notes.db"


def made(path: Path, *texts: str) -> None:
    """Make a file of version 1 and close it."""
    database = Database(path, ONE)
    with database.transaction():
        database.many("add", [(text,) for text in texts])
    database.close()


def test_a_file_is_durable_private_and_overwrites_what_is_deleted(path: Path) -> None:
    old = os.umask(0)
    try:
        database = Database(path, ONE)
        database.one("add", "x")
    finally:
        os.umask(old)
    modes = {p.name: p.stat().st_mode & 0o777 for p in path.parent.iterdir()}
    assert modes == {"notes.db": 0o600, "notes.db-wal": 0o600, "notes.db-shm": 0o600}
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert path.parent.parent.stat().st_mode & 0o777 == 0o700
    values = {
        name: database._db.pragma(name)
        for name in ("journal_mode", "synchronous", "secure_delete", "foreign_keys")
    }
    assert values == {
        "journal_mode": "wal",
        "synchronous": 2,
        "secure_delete": 1,
        "foreign_keys": 1,
    }
    database.close()


# --- versions ---


def test_an_older_file_is_brought_to_the_newest_schema(path: Path) -> None:
    made(path, "four")
    database = Database(path, TWO)
    assert database.all("sizes") == [(4,)]
    database.close()
    again = Database(path, TWO)
    assert again.all("all") == [("four",)]
    again.close()


def test_a_newer_file_is_refused_and_left_as_it_is(path: Path) -> None:
    made(path, "x")
    Database(path, TWO).close()
    before = path.read_bytes()
    with pytest.raises(VaultNewer, match=r"notes\.db has schema 2, this memrouter knows up to 1"):
        Database(path, ONE)
    assert path.read_bytes() == before


def test_a_migration_that_fails_changes_nothing(path: Path) -> None:
    made(path, "x")
    with pytest.raises(StoreError):
        Database(path, BROKEN)
    database = Database(path, ONE)
    assert database.all("all") == [("x",)]
    assert database._db.pragma("user_version") == 1
    database.close()


def test_a_new_file_is_filled_once(path: Path) -> None:
    for _ in range(2):
        database = Database(path, ONE, first=[("add", ("first",))])
        assert database.all("all") == [("first",)]
        database.close()


MAKE = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from memrouter.store.sqlite.database import Database
from memrouter.store.statements import statements
sys.stdin.readline()
for n in range(20):
    Database(Path(sys.argv[1]) / f"{n}.db", statements("vault"), first=[("new_meta", ("v", 0))])
"""


def test_processes_that_make_the_same_file_at_once_get_along(tmp_path: Path) -> None:
    source = str(Path(__file__).parents[4] / "src")
    command = [sys.executable, "-c", MAKE, str(tmp_path), source]
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(4)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(b"\n")
        process.stdin.flush()
    for process in processes:
        _, errors = process.communicate(timeout=60)
        assert (process.returncode, errors) == (0, b"")
    assert len(list(tmp_path.glob("*.db"))) == 20


# --- damage ---

DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "not a database": lambda _: b"This is a text file that somebody put here.\n" * 500,
    "cut in its first page": lambda data: data[:1_000],
    "cut in half": lambda data: data[: len(data) // 2],
    "its head overwritten": lambda data: b"\xff" * 100 + data[100:],
    "its first page overwritten": lambda data: data[:100] + b"\xff" * 3_996 + data[4_096:],
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_what_is_damaged_is_refused_and_left_as_it_is(
    path: Path, damage: Callable[[bytes], bytes]
) -> None:
    made(path, *map(str, range(2_000)))
    path.write_bytes(damage(path.read_bytes()))
    before = path.read_bytes()
    with pytest.raises(VaultCorrupted, match=r"notes\.db is damaged"):
        Database(path, ONE).all("all")
    assert path.read_bytes() == before


def test_damage_further_on_is_found_when_it_is_read(path: Path) -> None:
    made(path, *map(str, range(2_000)))
    data = path.read_bytes()
    path.write_bytes(data[:-4_096] + b"\xff" * 4_096)
    database = Database(path, ONE)
    with pytest.raises(VaultCorrupted):
        database.all("all")
    database.close()


def test_an_empty_file_is_a_new_one(path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.touch()
    database = Database(path, ONE)
    assert database.all("all") == []
    database.close()


# --- failures ---


def test_a_full_disk_is_said_and_nothing_is_half_done(path: Path) -> None:
    database = Database(path, ONE)
    database.one("add", "before")
    database._db.pragma("max_page_count", database._db.pragma("page_count") + 2)
    with pytest.raises(StoreFull), database.transaction():
        database.many("add", [(f"{n} " * 100,) for n in range(1_000)])
    assert database.all("all") == [("before",)]
    database._db.pragma("max_page_count", 100_000)
    with database.transaction():
        database.one("add", "after")
    assert database.all("all") == [("before",), ("after",)]
    database.close()


def test_a_transaction_is_whole_or_nothing(path: Path) -> None:
    database = Database(path, ONE)
    with pytest.raises(StoreError), database.transaction():
        database.many("add", [("x",), ("x",)])
    assert database.all("all") == []
    database.close()


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError):
        Database(tmp_path / "file" / "notes.db", ONE)


RAISED: dict[str, tuple[Exception, type[StoreError]]] = {
    "not a database": (apsw.NotADBError("x"), VaultCorrupted),
    "corrupt": (apsw.CorruptError("x"), VaultCorrupted),
    "full": (apsw.FullError("x"), StoreFull),
    "no space left": (OSError(28, "No space left on device"), StoreFull),
    "busy": (apsw.BusyError("x"), StoreError),
    "input, output": (apsw.IOError("x"), StoreError),
    "read only": (apsw.ReadOnlyError("x"), StoreError),
    "cannot open": (apsw.CantOpenError("x"), StoreError),
    "SQL": (apsw.SQLError("near secret"), StoreError),
    "system": (PermissionError(13, "Permission denied"), StoreError),
}


@pytest.mark.parametrize(("raised", "expected"), RAISED.values(), ids=RAISED)
def test_everything_becomes_an_error_of_ours(raised: Exception, expected: type[StoreError]) -> None:
    with pytest.raises(StoreError) as caught, mapped(Path("/data/notes.db")):
        raise raised
    assert type(caught.value) is expected
    assert caught.value.hint
    assert "secret" not in str(caught.value)


def test_errors_do_not_say_what_was_being_written(path: Path) -> None:
    database = Database(path, ONE)
    database.one("add", "my secret")
    with pytest.raises(StoreError) as caught:
        database.one("add", "my secret")
    chain = [caught.value, caught.value.__cause__]
    assert all("secret" not in f"{error} {error!r}" for error in chain)
    assert "INSERT" not in str(caught.value)
    database.close()


def test_a_file_with_a_key_cannot_be_read_without(path: Path) -> None:
    database = Database(path, ONE, key=b"k" * 32)
    database.one("add", "my secret")
    database.close()
    assert b"SQLite format" not in path.read_bytes()
    again = Database(path, ONE, key=b"k" * 32)
    assert again.all("all") == [("my secret",)]
    again.close()
    for wrong in (None, b"x" * 32):
        with pytest.raises(VaultCorrupted):
            Database(path, ONE, key=wrong)


@pytest.mark.parametrize(("key", "through"), [(None, "unix"), (bytes(32), "multipleciphers-unix")])
def test_a_plain_file_is_not_looked_for_among_all_open_ones(
    path: Path, key: bytes | None, through: str
) -> None:
    database = Database(path, ONE, key=key)
    assert database._db.open_vfs == through
    database.close()


def test_an_insert_tells_its_row(path: Path) -> None:
    database = Database(path, {**ONE, "new": "INSERT OR IGNORE INTO note (text) VALUES (?)"})
    assert [database.insert("new", text) for text in ("a", "b", "a", "c")] == [1, 2, None, 3]
    with pytest.raises(StoreError):
        database.insert("add", "a")
    database.close()
