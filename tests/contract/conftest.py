"""Every implementation of the stores' ports, one after the other."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from memrouter.ports import Directory, VaultStore
from memrouter.secrets import VAULT_KEYS, Sealer
from memrouter.store.sqlite.directory import SqliteDirectory
from memrouter.store.sqlite.files import Files
from memrouter.store.sqlite.vaults import SqliteVaultStore
from memrouter.testing.directory import MemoryDirectory
from memrouter.testing.store import MemoryVaultStore


def encrypted(folder: Path) -> Files:
    return Files(folder, Sealer("a secret of some length", VAULT_KEYS), encrypt=True)


@pytest.fixture(
    params=["memory", "sqlite", "sqlite, encrypted", "sqlite, one vault open at a time, no cache"]
)
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], VaultStore]:
    """Opens the same store again and again, as several processes do."""
    if request.param == "memory":
        only = MemoryVaultStore()
        return lambda: only
    if request.param == "sqlite":
        return lambda: SqliteVaultStore(tmp_path)
    if request.param == "sqlite, encrypted":
        return lambda: SqliteVaultStore(tmp_path, files=encrypted(tmp_path))
    return lambda: SqliteVaultStore(tmp_path, open_vaults=1, cache_bytes=0)


@pytest.fixture
async def store(open_store: Callable[[], VaultStore]) -> AsyncIterator[VaultStore]:
    opened = open_store()
    yield opened
    await opened.close()


@pytest.fixture
async def other(open_store: Callable[[], VaultStore]) -> AsyncIterator[VaultStore]:
    """Another process's view of `store`."""
    opened = open_store()
    yield opened
    await opened.close()


@pytest.fixture(params=["memory", "sqlite", "sqlite, encrypted"])
def open_directory(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Directory]:
    """Opens the same directory again and again, as several processes do."""
    if request.param == "memory":
        only = MemoryDirectory()
        return lambda: only
    if request.param == "sqlite, encrypted":
        return lambda: SqliteDirectory(tmp_path, encrypted(tmp_path))
    return lambda: SqliteDirectory(tmp_path)


@pytest.fixture
async def directory(open_directory: Callable[[], Directory]) -> AsyncIterator[Directory]:
    opened = open_directory()
    yield opened
    await opened.close()


@pytest.fixture
async def elsewhere(open_directory: Callable[[], Directory]) -> AsyncIterator[Directory]:
    """Another process's view of `directory`."""
    opened = open_directory()
    yield opened
    await opened.close()
