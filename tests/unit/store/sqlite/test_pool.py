from __future__ import annotations

import asyncio
import resource
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from memrouter.domain import VaultId
from memrouter.errors import StoreError, VaultCorrupted
from memrouter.store.sqlite.database import Database
from memrouter.store.sqlite.files import Files
from memrouter.store.sqlite.pool import OpenVaults

A, B = VaultId("aa01"), VaultId("bb01")


@pytest.fixture
async def vaults(tmp_path: Path) -> AsyncIterator[OpenVaults]:
    opened = OpenVaults(Files(tmp_path), limit=2, threads=2)
    yield opened
    await opened.close()


def touch(db: Database) -> None:
    db.one("next_revision")


def revision(db: Database) -> int:
    row = db.one("state")
    assert row is not None
    return int(row[0])


def listed(folder: Path) -> list[Path]:
    return list(folder.iterdir())


async def test_a_read_makes_no_file(vaults: OpenVaults, tmp_path: Path) -> None:
    assert await vaults.read(A, revision) is None
    assert listed(tmp_path) == []
    await vaults.write(A, touch)
    assert await vaults.read(A, revision) == 1
    assert vaults.path(A) == tmp_path / "vaults" / "aa" / "aa01.db"


BAD = ["", "..", "../x", "a/b", "a\0b", ".a", "a.b", "é", "a" * 129, "-a"]


@pytest.mark.parametrize("id", BAD)
async def test_what_cannot_be_a_file_name_is_refused(vaults: OpenVaults, id: str) -> None:
    with pytest.raises(StoreError):
        await vaults.read(VaultId(id), revision)
    with pytest.raises(StoreError):
        await vaults.write(VaultId(id), touch)


async def test_few_vaults_are_held_open_and_none_in_use_is_closed(vaults: OpenVaults) -> None:
    go = threading.Event()

    def slow(db: Database) -> int:
        go.wait(10)
        return revision(db)

    await vaults.write(A, touch)
    waiting = asyncio.create_task(vaults.read(A, slow))
    for n in range(20):
        await vaults.write(VaultId(f"cc{n}"), touch)
        assert len(vaults._open) <= 2
        assert A in vaults._open
    go.set()
    assert await waiting == 1
    assert await vaults.read(A, revision) == 1


async def test_reads_do_not_wait_for_a_write(vaults: OpenVaults) -> None:
    go = threading.Event()

    def slow(db: Database) -> None:
        with db.transaction():
            touch(db)
            go.wait(10)

    await vaults.write(A, touch)
    writing = asyncio.create_task(vaults.write(A, slow))
    await asyncio.sleep(0.05)
    assert await asyncio.wait_for(vaults.read(A, revision), 5) == 1
    go.set()
    await writing
    assert await vaults.read(A, revision) == 2


async def test_a_connection_is_its_threads_even_if_nobody_waits_any_more(
    vaults: OpenVaults,
) -> None:
    go, running, order = threading.Event(), threading.Event(), list[str]()

    def slow(db: Database) -> None:
        running.set()
        with db.transaction():
            touch(db)
            go.wait(10)
        order.append("slow")

    def quick(db: Database) -> None:
        touch(db)
        order.append("quick")

    await vaults.write(A, touch)
    given_up = asyncio.create_task(vaults.write(A, slow))
    await asyncio.to_thread(running.wait, 10)
    given_up.cancel()
    with pytest.raises(asyncio.CancelledError):
        await given_up
    next_one = asyncio.create_task(vaults.write(A, quick))
    await asyncio.sleep(0.05)
    assert order == []
    go.set()
    await next_one
    assert order == ["slow", "quick"]
    assert await vaults.read(A, revision) == 3


async def test_who_gives_up_waiting_takes_nothing(vaults: OpenVaults) -> None:
    go = threading.Event()
    await vaults.write(A, touch)
    first = asyncio.create_task(vaults.write(A, lambda db: go.wait(10)))
    await asyncio.sleep(0.02)
    second = asyncio.create_task(vaults.write(A, touch))
    await asyncio.sleep(0.02)
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    go.set()
    await first
    await vaults.write(A, touch)
    assert await vaults.read(A, revision) == 2
    assert vaults._open[A].users == 0


async def test_closing_waits_for_what_runs_and_refuses_what_comes(tmp_path: Path) -> None:
    vaults = OpenVaults(Files(tmp_path), limit=2, threads=2)
    go = threading.Event()

    def slow(db: Database) -> None:
        go.wait(10)
        touch(db)

    running = asyncio.create_task(vaults.write(A, slow))
    await asyncio.sleep(0.05)
    closing = asyncio.create_task(vaults.close())
    await asyncio.sleep(0.05)
    assert not closing.done()
    go.set()
    await asyncio.gather(running, closing)
    with pytest.raises(StoreError, match="closed"):
        await vaults.read(A, revision)
    await vaults.close()
    assert not vaults.path(A).with_name("aa01.db-wal").exists()


async def test_the_file_of_another_vault_is_refused(vaults: OpenVaults, tmp_path: Path) -> None:
    await vaults.write(A, touch)
    await vaults.close()
    vaults.path(B).parent.mkdir()
    vaults.path(A).rename(vaults.path(B))
    again = OpenVaults(Files(tmp_path), limit=2, threads=1)
    with pytest.raises(VaultCorrupted, match=r"bb01\.db is not the vault it is named for"):
        await again.read(B, revision)
    await again.close()


async def test_damage_stays_with_its_vault_and_ends_with_it(
    vaults: OpenVaults, tmp_path: Path
) -> None:
    for vault in (A, B):
        await vaults.write(vault, touch)
    await vaults.close()
    good = vaults.path(A).read_bytes()
    vaults.path(A).write_bytes(b"garbage " * 1_000)
    again = OpenVaults(Files(tmp_path), limit=9, threads=1)
    for _ in range(2):
        with pytest.raises(VaultCorrupted):
            await again.read(A, revision)
        with pytest.raises(VaultCorrupted):
            await again.write(A, touch)
    assert await again.read(B, revision) == 1
    vaults.path(A).write_bytes(good)
    assert await again.read(A, revision) == 1
    await again.close()


def test_no_more_files_are_opened_than_the_system_allows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1_024, 4_096))
    assert OpenVaults(Files(tmp_path), limit=10_000, threads=1)._limit == 128
    assert OpenVaults(Files(tmp_path), limit=10, threads=1)._limit == 10


async def test_quick_reads_run_at_once_where_the_vault_is_open_and_idle(
    vaults: OpenVaults,
) -> None:
    go = threading.Event()
    assert vaults.at_once(A, revision) is None
    await vaults.write(A, touch)
    assert vaults.at_once(A, revision) == 1
    busy = asyncio.create_task(vaults.read(A, lambda db: go.wait(10)))
    await asyncio.sleep(0.02)
    assert vaults.at_once(A, revision) is None
    go.set()
    await busy
    assert vaults.at_once(A, revision) == 1


async def test_quick_reads_look_once_a_turn_whether_the_file_is_in_place(
    vaults: OpenVaults,
) -> None:
    await vaults.write(A, touch)
    assert vaults.at_once(A, revision) == 1
    vaults.path(A).rename(vaults.path(A).with_suffix(".gone"))
    assert vaults.at_once(A, revision) == 1  # what was asked before it went
    await asyncio.sleep(0)
    assert vaults.at_once(A, revision) is None
    await asyncio.sleep(0)
    assert vaults.at_once(A, revision) is None


async def test_a_second_connection_is_opened_only_beside_one_in_use(vaults: OpenVaults) -> None:
    go = threading.Event()

    def slow(db: Database) -> None:
        with db.transaction():
            touch(db)
            go.wait(10)

    await vaults.write(A, touch)
    await vaults.read(A, revision)
    assert vaults._open[A].spare.database is None
    writing = asyncio.create_task(vaults.write(A, slow))
    await asyncio.sleep(0.02)
    assert vaults.at_once(A, revision) is None
    assert await vaults.read(A, revision) == 1
    assert vaults.at_once(A, revision) == 1  # by the second one, beside the commit
    go.set()
    await writing
    assert vaults.at_once(A, revision) == 2
    await vaults.write(A, touch)
    assert vaults.at_once(A, revision) == 3
