"""Power loss: whatever was answered had been written and synced before; so had its file's name."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apsw
import pytest

from memrouter.store.sqlite import database
from memrouter.testing.provider import ScriptedProvider

from .conftest import World, started
from .memory_client import UPLOAD, Api


@dataclass(slots=True)
class Disk:
    """Which files hold something that is not synced, and which syncs there were."""

    loose: set[str] = field(default_factory=set)
    syncs: int = 0

    def of(self, folder: Path) -> set[str]:
        """Names of files in a folder that a power cut could damage; indexes live in memory."""
        found = {Path(name) for name in self.loose}
        return {p.name for p in found if folder in p.parents and not p.name.endswith("-shm")}


class _Watched(apsw.VFS):
    """Every file of SQLite, seen from below."""

    def __init__(self, disk: Disk) -> None:
        self.usual = apsw.vfs_names()[0]
        super().__init__("watched", self.usual, makedefault=True)
        self.disk = disk

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:
        path = name.filename() if isinstance(name, apsw.URIFilename) else name or ""
        return _File(self.usual, self.disk, path, name, flags)


class _File(apsw.VFSFile):
    def __init__(self, usual: str, disk: Disk, path: str, name: Any, flags: list[int]) -> None:
        super().__init__(usual, name, flags)
        self._disk = disk
        self._path = path

    def xWrite(self, data: Any, offset: int) -> None:
        super().xWrite(data, offset)
        self._disk.loose.add(self._path)

    def xSync(self, flags: int) -> None:
        super().xSync(flags)
        self._disk.syncs += 1
        self._disk.loose.discard(self._path)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    disk = Disk()
    vfs = _Watched(disk)
    monkeypatch.setattr(database, "_PLAIN", "watched")
    yield disk
    vfs.unregister()


@pytest.fixture
async def world(
    disk: Disk, tmp_path: Path, provider: ScriptedProvider, served: tuple[ScriptedProvider, int]
) -> AsyncIterator[World]:
    async with started(tmp_path, provider, served[1]) as found:
        yield found


async def acts(world: World) -> AsyncIterator[str]:
    """Everything that promises durability, once each; its name, when it has been answered."""
    client = world.client(world.account_key)
    answer = await client.post("/v1/keys", {"name": "user"})
    assert answer.status == 201
    yield "mint"
    key = answer.json["key"]
    api = Api(world, key)
    await api.say("I like tea", "Noted")
    yield "ingest"
    await api("POST", "/upload", UPLOAD)
    yield "upload"
    for stream in (False, True):
        assert (await world.ask(key, f"I am {stream}", stream=stream)).status == 200
        yield f"chat, stream={stream}"
    listed = await api("GET", "")
    await api("DELETE", f"/{listed['memories'][0]['id']}")
    yield "delete one"
    await api("DELETE", "")
    yield "clear"
    put = await client.send("PUT", "/v1/account/provider-keys/groq", {"key": "sk-" + "x" * 30})
    assert put.status in (200, 201)
    yield "provider key"


async def unsynced(world: World, disk: Disk) -> dict[str, set[str]]:
    """Act → the files with loose ends right after its answer, vectors of the backlog aside."""
    found = {}
    before = disk.syncs
    async for act in acts(world):
        assert disk.syncs > before, f"{act} synced nothing"
        if loose := disk.of(world.parts.folder) - {"usage.db-wal"}:
            found[act] = loose
        await world.embedded()
        before = disk.syncs
    return found


async def test_what_was_answered_had_been_synced(world: World, disk: Disk) -> None:
    assert await unsynced(world, disk) == {}


class TestWithoutFullSyncs:
    """The test above can fail."""

    @pytest.fixture(autouse=True)
    def _normal(self, monkeypatch: pytest.MonkeyPatch) -> None:
        pragmas = tuple(p.replace("FULL", "NORMAL") for p in database._PRAGMAS)
        assert pragmas != database._PRAGMAS
        monkeypatch.setattr(database, "_PRAGMAS", pragmas)

    async def test_it_would_be_seen(
        self,
        disk: Disk,
        tmp_path: Path,
        provider: ScriptedProvider,
        served: tuple[ScriptedProvider, int],
    ) -> None:
        async with started(tmp_path, provider, served[1]) as world:
            loose: dict[str, set[str]] = {}
            async for act in acts(world):
                loose[act] = disk.of(world.parts.folder)
                await world.embedded()
        assert all(loose.values()), loose


async def test_names_of_new_files_are_synced(
    world: World, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite syncs the folder of a new file with its log; the folders above are ours to sync."""
    synced: list[Path] = []
    real = os.fsync

    def note(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink())
        real(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    api = Api(world, await world.key())
    await api.say("I like tea", "Noted")
    path = await world.vault_file(api.key)
    folder = world.parts.folder
    assert folder / "vaults" in synced  # the name of vaults/ab
    assert folder in synced  # the name of vaults
    assert path.stat().st_mode & 0o777 == 0o600
