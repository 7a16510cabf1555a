from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from memrouter.domain import NewTurn, Piece, Scope, VaultId
from memrouter.errors import StoreError
from memrouter.memory import retention
from memrouter.memory.retention import Retention
from memrouter.testing.clock import FixedClock
from memrouter.testing.store import MemoryVaultStore

NOW = datetime(2026, 6, 5, tzinfo=UTC)
A, B = VaultId("a"), VaultId("b")


def turn(text: str, days: float) -> NewTurn:
    piece = Piece(text=text, tokens=1, terms=b"\0" * 4)
    created = NOW - timedelta(days=days)
    return NewTurn(role="user", text=text, created=created, pieces=(piece,), digest=text.encode())


async def filled() -> MemoryVaultStore:
    store = MemoryVaultStore()
    await store.remember(A, [turn("old", 31), turn("young", 29)], now=NOW)
    await store.remember(B, [turn("older", 400)], now=NOW)
    return store


async def left(store: MemoryVaultStore) -> list[str]:
    return [m.text for v in (A, B) for m in await store.memories(Scope(vault=v), whole=True)]


async def test_what_is_too_old_goes() -> None:
    store = await filled()
    counts: list[int] = []
    sweeper = Retention(store, FixedClock(NOW), 30, on_expired=counts.append)
    assert await sweeper.sweep() == 2
    assert await left(store) == ["young"]
    assert counts == [1, 1]
    assert await sweeper.sweep() == 0


async def test_without_a_setting_nothing_is_forgotten() -> None:
    store = await filled()
    await asyncio.wait_for(Retention(store, FixedClock(NOW), 0).run(), 5)
    assert await left(store) == ["old", "young", "older"]


async def test_a_vault_that_fails_keeps_no_other_one(monkeypatch: pytest.MonkeyPatch) -> None:
    store = await filled()
    expire = store.expire

    async def failing(vault: VaultId, before: datetime) -> int:
        if vault == A:
            raise StoreError("damaged")
        return await expire(vault, before)

    monkeypatch.setattr(store, "expire", failing)
    assert await Retention(store, FixedClock(NOW), 30).sweep() == 1
    assert await left(store) == ["old", "young"]


async def test_it_looks_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "_EVERY_S", 0.01)
    store = await filled()
    running = asyncio.create_task(Retention(store, FixedClock(NOW), 30).run())
    for _ in range(2):
        async with asyncio.timeout(10):
            while await left(store) != ["young"]:  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.005)
        await store.remember(B, [turn("older", 400)], now=NOW)
    running.cancel()
