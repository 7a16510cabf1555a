from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from memrouter.errors import StoreError, VaultCorrupted, VaultLocked
from memrouter.secrets import VAULT_KEYS, Sealer
from memrouter.store.sqlite import files as module
from memrouter.store.sqlite.database import Database
from memrouter.store.sqlite.files import Files, Kind, kind

SECRET = "a secret of some length"
CANARY = "The canary sings at dawn."
SQL = {
    "schema_1": "CREATE TABLE note (text TEXT NOT NULL) STRICT;",
    "begin": "BEGIN IMMEDIATE",
    "commit": "COMMIT",
    "rollback": "ROLLBACK",
    "add": "INSERT INTO note (text) VALUES (?)",
    "all": "SELECT text FROM note ORDER BY rowid",
}


def opened(folder: Path, secret: str = SECRET, *, encrypt: bool = False) -> Files:
    return Files(folder, Sealer(secret, VAULT_KEYS), encrypt=encrypt)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ab" / "abcd.db"


def fill(files: Files, path: Path, *texts: str) -> Database:
    database = files.open(path, SQL)
    with database.transaction():
        database.many("add", [(text,) for text in texts])
    return database


def read(files: Files, path: Path) -> list[str]:
    database = files.open(path, SQL)
    try:
        return [row[0] for row in database.all("all")]
    finally:
        database.close()


def traces(folder: Path) -> list[str]:
    """Files that hold the canary in plain text."""
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return [path.name for path in paths if b"canary" in path.read_bytes()]


@pytest.mark.parametrize(
    ("encrypt", "expected", "found"),
    [(False, "plain", ["abcd.db-wal"]), (True, "encrypted", [])],
    ids=["plain", "encrypted"],
)
def test_new_files(
    path: Path, tmp_path: Path, encrypt: bool, expected: Kind, found: list[str]
) -> None:
    files = opened(tmp_path, encrypt=encrypt)
    assert kind(path) == "new"
    database = fill(files, path, CANARY)
    assert traces(tmp_path) == found  # in the log, too
    database.close()
    assert kind(path) == expected
    assert read(files, path) == [CANARY]
    files.close()


def test_a_setting_encrypts_what_is_opened_and_decrypts_nothing(path: Path, tmp_path: Path) -> None:
    plain, encrypting = opened(tmp_path), opened(tmp_path, encrypt=True)
    fill(plain, path, CANARY).close()
    assert traces(tmp_path) == ["abcd.db"]
    assert read(encrypting, path) == [CANARY]
    assert traces(tmp_path) == []
    assert read(plain, path) == [CANARY]
    assert kind(path) == "encrypted"
    assert path.stat().st_mode & 0o777 == 0o600


def test_there_and_back(path: Path, tmp_path: Path) -> None:
    files = opened(tmp_path)
    fill(files, path, CANARY).close()
    assert files.convert(path, encrypt=True)
    assert not files.convert(path, encrypt=True)
    assert kind(path) == "encrypted"
    assert files.convert(path, encrypt=False)
    assert not files.convert(path, encrypt=False)
    assert kind(path) == "plain"
    assert read(files, path) == [CANARY]
    assert files.keyring.files() == []
    assert not files.convert(tmp_path / "none.db", encrypt=True)


def test_the_plain_file_is_overwritten(path: Path, tmp_path: Path) -> None:
    files = opened(tmp_path)
    fill(files, path, CANARY).close()
    other = tmp_path / "another name of the same file"
    other.hardlink_to(path)
    files.convert(path, encrypt=True)
    assert set(other.read_bytes()) == {0}


def test_a_file_in_use_stays_as_it_is(path: Path, tmp_path: Path) -> None:
    plain = opened(tmp_path)
    database = fill(plain, path, "before")
    with pytest.raises(StoreError, match="locked"):
        opened(tmp_path).convert(path, encrypt=True)
    encrypting = opened(tmp_path, encrypt=True)
    assert read(encrypting, path) == ["before"]  # nobody is kept waiting for it
    with database.transaction():
        database.one("add", "after")
    database.close()
    assert read(encrypting, path) == ["before", "after"]
    assert kind(path) == "encrypted"


KILL = """
import os, signal, sys
from pathlib import Path
sys.path[:0] = sys.argv[3:]
from store.sqlite.test_files import opened
count = int(sys.argv[2])
path = Path(sys.argv[1])
files = opened(path.parent.parent)
def hook(event, _):
    global count
    if event in {"open", "os.rename", "os.remove", "fcntl.flock"}:
        count -= 1
        if count == 0:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(hook)
files.convert(path, encrypt=not int(os.environ["BACK"]))
"""


@pytest.mark.parametrize("back", [False, True], ids=["encrypting", "decrypting"])
def test_a_conversion_killed_at_any_moment_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, back: bool
) -> None:
    monkeypatch.setenv("BACK", str(int(back)))
    sources = [str(Path(module.__file__).parents[3]), str(Path(__file__).parents[2])]
    killed, texts = 0, [f"{CANARY} {n}" for n in range(500)]
    for count in range(1, 30):
        path = tmp_path / str(count) / "ab" / "abcd.db"
        files = opened(path.parents[1], encrypt=back)
        fill(files, path, *texts).close()
        files.close()
        command = [sys.executable, "-c", KILL, str(path), str(count), *sources]
        done = subprocess.run(command, check=False, capture_output=True, timeout=60)
        again = opened(path.parents[1])
        assert read(again, path) == texts, (count, done.stderr)
        again.convert(path, encrypt=not back)
        assert kind(path) == ("plain" if back else "encrypted")
        assert read(again, path) == texts
        assert sorted(p.name for p in path.parent.iterdir()) == [".lock", "abcd.db"]
        again.close()
        if done.returncode == 0:
            break
        assert done.returncode == -9, done.stderr
        killed += 1
    assert 5 < killed < 29


@pytest.mark.parametrize("wrong", ["another secret of some length", ""], ids=["another", "none"])
def test_without_its_secret_nothing_opens_and_nothing_changes(
    path: Path, tmp_path: Path, wrong: str
) -> None:
    files = opened(tmp_path, encrypt=True)
    fill(files, path, CANARY).close()
    files.close()
    before = path.read_bytes()
    locked = opened(tmp_path, wrong) if wrong else Files(tmp_path)
    calls = (
        lambda: locked.open(path, SQL),
        lambda: locked.convert(path, encrypt=False),
    )
    for call in calls:
        with pytest.raises(VaultLocked, match=r"abcd|keyring") as caught:
            call()
        assert "SECRET_KEY" in caught.value.hint
    assert path.read_bytes() == before


def test_a_file_that_is_neither_is_refused(path: Path, tmp_path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"garbage " * 1_000)
    for files in (opened(tmp_path), opened(tmp_path, encrypt=True)):
        with pytest.raises(VaultCorrupted, match="damaged"):
            files.open(path, SQL)
    assert path.read_bytes() == b"garbage " * 1_000


def test_after_its_key_is_destroyed_no_copy_opens(path: Path, tmp_path: Path) -> None:
    files = opened(tmp_path, encrypt=True)
    fill(files, path, CANARY).close()
    copy = path.read_bytes()
    files.destroy(path)
    assert kind(path) == "new"
    path.write_bytes(copy)
    with pytest.raises(VaultCorrupted, match="its key is not here"):
        read(files, path)
    path.unlink()
    assert read(files, path) == []  # a new one has a new key
    path.write_bytes(copy)
    with pytest.raises(VaultCorrupted, match="damaged"):
        read(files, path)


def test_what_a_kill_left_between_key_and_file_is_taken_away(path: Path, tmp_path: Path) -> None:
    files = opened(tmp_path, encrypt=True)
    fill(files, path, CANARY).close()
    files.keyring.destroy(path.stem)
    assert read(files, path) == []
    fill(files, path, "anew").close()
    assert read(opened(tmp_path), path) == ["anew"]


def test_who_has_it_open_sees_that_it_went(path: Path, tmp_path: Path) -> None:
    files = opened(tmp_path, encrypt=True)
    database = fill(files, path, CANARY)
    assert not database.replaced()
    files.destroy(path)
    assert database.replaced()
    with pytest.raises(StoreError, match="removed"), database.transaction():
        raise AssertionError
    fresh = fill(files, path, "anew")
    database.close()  # takes nothing of the new one along
    assert read(files, path) == ["anew"]
    fresh.close()
    assert read(files, path) == ["anew"]
