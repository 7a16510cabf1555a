from __future__ import annotations

import asyncio
import json
import os
import shutil
import time
from pathlib import Path

import pytest

from memrouter.domain import Scope, VaultId
from memrouter.errors import Conflict, NotFound, StoreError
from memrouter.secrets import VAULT_KEYS, Sealer
from memrouter.store.sqlite import backups as module
from memrouter.store.sqlite.backups import MANIFEST, Report, backup, restore
from memrouter.store.sqlite.directory import SqliteDirectory
from memrouter.store.sqlite.files import Files, kind
from memrouter.store.sqlite.vaults import SqliteVaultStore

from .test_vaults import NOW, turn

SECRET, NEW = "a secret of some length", "a new secret of some length"
A, B = VaultId("aa01"), VaultId("bb01")


def nothing(_done: int, _total: int) -> None:
    """Nobody watches."""


class Place:
    """A data folder, its backup and where it is restored."""

    def __init__(self, folder: Path, *, encrypt: bool = False) -> None:
        self.folder, self.copy, self.back = folder / "data", folder / "copy", folder / "back"
        self.encrypt = encrypt

    def files(self, folder: Path, secret: str = SECRET) -> Files:
        return Files(folder, Sealer(secret, VAULT_KEYS), encrypt=self.encrypt)

    async def write(self, vault: VaultId, *texts: str) -> None:
        store = SqliteVaultStore(self.folder, files=self.files(self.folder))
        await store.remember(vault, [turn(text) for text in texts], now=NOW)
        await store.close()

    async def texts(self, vault: VaultId, folder: Path | None = None) -> list[str]:
        folder = folder or self.back
        store = SqliteVaultStore(folder, files=self.files(folder))
        found = await store.memories(Scope(vault=vault), whole=True, limit=100_000)
        await store.close()
        return [memory.text for memory in found]

    def back_up(self) -> Report:
        time.sleep(2 * module._SETTLED_S)
        files = self.files(self.folder)
        try:
            return backup(files, self.copy, "now", nothing)
        finally:
            files.close()

    def restore(
        self, only: str | None = None, *, force: bool = False, secret: str = SECRET
    ) -> Report:
        scratch = self.back.parent / "scratch"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        files = self.files(self.back, secret)
        try:
            return restore(self.copy, files, scratch, only=only, force=force, on_file=nothing)
        finally:
            files.close()


@pytest.fixture(params=[False, True], ids=["plain", "encrypted"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    return Place(tmp_path, encrypt=request.param)


async def test_there_and_back(place: Place) -> None:
    await place.write(A, "one", "two")
    await place.write(B, "three")
    directory = SqliteDirectory(place.folder, place.files(place.folder))
    account = await directory.add_account()
    await directory.close()
    report = place.back_up()
    assert (report.unchanged, report.removed, report.failed) == (0, 0, ())
    assert report.copied == 5 + place.encrypt  # two vaults, three others, the keyring
    assert place.restore().failed == ()
    assert await place.texts(A) == ["one", "two"]
    assert await place.texts(B) == ["three"]
    directory = SqliteDirectory(place.back, place.files(place.back))
    assert await directory.first_account() == account
    await directory.close()


async def test_nothing_of_a_backup_is_open_to_others_or_plain(place: Place) -> None:
    await place.write(A, "The canary sings.")
    old = os.umask(0)
    try:
        place.back_up()
    finally:
        os.umask(old)
    paths = list(place.copy.rglob("*"))
    assert {p.stat().st_mode & 0o777 for p in paths if p.is_file()} == {0o600}
    assert {p.stat().st_mode & 0o777 for p in [place.copy, *paths] if p.is_dir()} == {0o700}
    assert not any("secret" in p.name for p in paths)
    traces = [p for p in paths if p.is_file() and b"canary" in p.read_bytes()]
    assert bool(traces) is not place.encrypt
    expected = "encrypted" if place.encrypt else "plain"
    assert kind(place.copy / "vaults" / "aa" / "aa01.db") == expected


async def test_the_next_run_copies_what_changed(place: Place) -> None:
    await place.write(A, "one")
    await place.write(B, "two")
    place.back_up()
    again = place.back_up()
    assert (again.copied, again.removed) == (0, 0)
    await place.write(B, "three")
    third = place.back_up()
    assert 1 <= third.copied <= 2  # the backlog's file may be written with it
    place.restore()
    assert await place.texts(B) == ["two", "three"]


async def test_a_folder_of_something_else_is_left_alone(place: Place) -> None:
    await place.write(A, "one")
    place.copy.mkdir()
    (place.copy / "mine.db").write_text("mine")
    with pytest.raises(Conflict, match="no backup"):
        place.back_up()
    place.copy = place.folder
    with pytest.raises(Conflict, match="data folder itself"):
        place.back_up()


async def test_what_was_deleted_goes_from_the_backup(place: Place) -> None:
    await place.write(A, "one")
    await place.write(B, "two")
    place.back_up()
    store = SqliteVaultStore(place.folder, files=place.files(place.folder))
    await store.destroy(A)
    await store.close()
    assert place.back_up().removed == 1
    place.restore()
    assert await place.texts(A) == []
    assert await place.texts(B) == ["two"]


async def test_one_vault_alone_is_put_back(place: Place) -> None:
    await place.write(A, "one")
    await place.write(B, "two")
    place.back_up()
    place.back = place.folder
    await place.write(A, "later")
    await place.write(B, "later")
    with pytest.raises(Conflict, match="overwritten"):
        place.restore(A)
    assert place.restore(A, force=True).copied == 1
    assert await place.texts(A) == ["one"]
    assert await place.texts(B) == ["two", "later"]


async def test_a_backup_opens_under_a_newer_secret(tmp_path: Path) -> None:
    place = Place(tmp_path, encrypt=True)
    await place.write(A, "one")
    place.back_up()
    with pytest.raises(StoreError, match="SECRET_KEY"):
        raise StoreError(place.restore(secret=NEW).failed[0][1])
    assert place.restore(secret=f"{NEW},{SECRET}", force=True).failed == ()
    place.files = lambda folder, secret=NEW: Files(folder, Sealer(NEW, VAULT_KEYS))  # type: ignore[method-assign]
    assert await place.texts(A) == ["one"]


async def test_nothing_is_overwritten_unasked(place: Place) -> None:
    await place.write(A, "one")
    place.back_up()
    place.restore()
    with pytest.raises(Conflict, match="overwritten"):
        place.restore()
    with pytest.raises(NotFound):
        place.restore("cc01")
    place.copy = place.folder / "no backup"
    with pytest.raises(NotFound):
        place.restore()


async def test_a_damaged_copy_is_named_and_the_others_restored(place: Place) -> None:
    await place.write(A, "one")
    await place.write(B, "two")
    place.back_up()
    path = place.copy / "vaults" / "aa" / "aa01.db"
    damaged = bytearray(path.read_bytes())
    damaged[5_000] ^= 1
    path.write_bytes(damaged)
    report = place.restore()
    assert [name for name, _ in report.failed] == ["vaults/aa/aa01.db"]
    assert not (place.back / "vaults" / "aa" / "aa01.db").exists()
    assert await place.texts(B) == ["two"]


async def test_a_vault_that_cannot_be_read_keeps_its_copy(place: Place) -> None:
    await place.write(A, "one")
    place.back_up()
    path = place.folder / "vaults" / "aa" / "aa01.db"
    path.write_bytes(b"garbage " * 2_000)
    assert [name for name, _ in place.back_up().failed] == ["vaults/aa/aa01.db"]
    place.restore()
    assert await place.texts(A) == ["one"]


async def test_a_run_that_broke_off_goes_on(place: Place) -> None:
    for number in range(6):
        await place.write(VaultId(f"{number}{number}01"), f"text {number}")
    await asyncio.sleep(2 * module._SETTLED_S)

    class Broken(Exception):
        pass

    def breaks(done: int, _total: int) -> None:
        if done == 4:
            raise Broken

    files = place.files(place.folder)
    with pytest.raises(Broken):
        backup(files, place.copy, "now", breaks)
    files.close()
    with pytest.raises(Conflict, match="not finished"):
        place.restore()
    with (place.copy / MANIFEST).open("ab") as manifest:
        manifest.write(b'{"file": "vaults/4')  # cut off by a crash
    report = place.back_up()
    assert report.unchanged >= 4
    assert place.restore().failed == ()
    assert await place.texts(VaultId("5501")) == ["text 5"]


async def test_every_copy_is_one_state_of_a_vault_that_is_written(place: Place) -> None:
    store = SqliteVaultStore(place.folder, files=place.files(place.folder))
    acknowledged = 0
    stop = asyncio.Event()
    written: asyncio.Queue[None] = asyncio.Queue()

    async def write() -> None:
        nonlocal acknowledged
        while not stop.is_set():
            await store.remember(A, [turn(f"text {acknowledged}")], now=NOW)
            acknowledged += 1
            written.put_nowait(None)

    writing = asyncio.create_task(write())
    for round in range(3):
        for _ in range(5):
            await written.get()
        before = acknowledged
        await asyncio.to_thread(place.back_up)
        assert (await asyncio.to_thread(place.restore, force=True)).failed == ()
        found = await place.texts(A)
        assert len(found) >= before > 0, round
        assert found == [f"text {n}" for n in range(len(found))]
    stop.set()
    await writing
    await store.close()


def test_a_manifest_of_a_newer_format_is_refused(tmp_path: Path) -> None:
    (tmp_path / "copy").mkdir()
    head = json.dumps({"format": 9, "complete": True}, separators=(",", ":"))
    (tmp_path / "copy" / MANIFEST).write_text(head + "\n")
    with pytest.raises(StoreError, match="format 9"):
        Place(tmp_path).restore()
