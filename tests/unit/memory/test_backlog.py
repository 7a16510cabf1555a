"""Every chunk gets its vector in the end, and vaults take turns."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime

import numpy as np
import pytest

from memrouter.domain import NewTurn, Piece, Scope, VaultId, Vectors
from memrouter.errors import EmbedderError
from memrouter.memory import backlog
from memrouter.memory.backlog import Backlog, passage
from memrouter.memory.encoders import Encoders
from memrouter.ports import Asked
from memrouter.testing.store import MemoryVaultStore

NOW = datetime(2023, 5, 8, 13, 56, tzinfo=UTC)


class Counting:
    """Counts what it embeds; fails as often as it is told."""

    dimension = 2
    instant = True

    def __init__(self, failures: int = 0, name: str = "counting") -> None:
        self.name = name
        self.failures = failures
        self.batches: list[list[str]] = []

    async def query(self, text: str, rarity: Mapping[str, float]) -> Asked:
        """Never asked here."""
        raise NotImplementedError

    async def passages(self, texts: Sequence[str]) -> Vectors:
        """See Embedder.passages."""
        if self.failures:
            self.failures -= 1
            raise EmbedderError("not now")
        self.batches.append(list(texts))
        return np.tile(np.array([1, 0], np.float32), (len(texts), 1))


async def fill(store: MemoryVaultStore, vault: str, count: int) -> None:
    """Store turns of one chunk each."""
    turns = [
        NewTurn(
            role="user",
            text=f"{vault}{n}",
            created=NOW,
            pieces=(Piece(text=f"{vault}{n}", tokens=1, terms=b""),),
        )
        for n in range(count)
    ]
    await store.remember(VaultId(vault), turns, now=NOW)


async def until(met: Callable[[], Awaitable[bool]]) -> None:
    """Wait for the background."""
    async with asyncio.timeout(5):
        while not await met():  # noqa: ASYNC110 - the store tells nobody
            await asyncio.sleep(0.001)


async def work(made: Backlog, met: Callable[[], Awaitable[bool]]) -> None:
    """Run the backlog until something is so."""
    running = asyncio.create_task(made.run())
    try:
        await until(met)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def done(store: MemoryVaultStore, *vaults: str) -> Callable[[], Awaitable[bool]]:
    """Whether these vaults have all their vectors."""

    async def met() -> bool:
        return not any([await store.pending(VaultId(v), 1) for v in vaults])

    return met


async def test_what_an_earlier_process_left_is_found_at_start() -> None:
    store, embedder = MemoryVaultStore(), Counting()
    await fill(store, "a", 3)
    counted: list[int] = []
    made = Backlog(store, embedder, on_embedded=counted.append)
    await work(made, done(store, "a"))
    assert sum(counted) == 3
    assert embedder.batches == [[passage(f"a{n}", NOW) for n in range(3)]]


async def test_vaults_take_turns() -> None:
    store, embedder = MemoryVaultStore(), Counting()
    await fill(store, "a", backlog.BATCH + 1)
    await fill(store, "b", 1)
    made = Backlog(store, embedder)
    made.add(VaultId("a"))
    made.add(VaultId("b"))
    made.add(VaultId("a"))
    assert made.waiting == 2
    await work(made, done(store, "a", "b"))
    assert [len(batch) for batch in embedder.batches] == [backlog.BATCH, 1, 1]


async def test_a_failure_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backlog, "_RETRY_S", (0.001,))
    store, embedder = MemoryVaultStore(), Counting(failures=3)
    await fill(store, "a", 1)
    waiting: list[int] = []
    made = Backlog(store, embedder, on_waiting=waiting.append)
    await work(made, done(store, "a"))
    assert len(embedder.batches) == 1


async def test_an_empty_vault_is_no_work() -> None:
    store, embedder = MemoryVaultStore(), Counting()
    assert await Backlog(store, embedder).drain_some(VaultId("nobody")) == 0
    assert embedder.batches == []


async def test_an_encoder_reads_each_turn_with_the_one_before_it() -> None:
    store, embedder, encoder = MemoryVaultStore(), Counting(), Counting(name="encoder")
    await fill(store, "a", backlog.ENCODED + 1)
    made = Backlog(store, embedder, encoders=Encoders(encoder))
    made.add(VaultId("a"))

    async def met() -> bool:
        signals = await store.signals(Scope(vault=VaultId("a")))
        return signals.encoder == "encoder" and bool(signals.encoded.all())

    await work(made, met)
    assert [len(batch) for batch in encoder.batches] == [backlog.ENCODED, 1]
    assert encoder.batches[0][1] == "(8 May 2023) a0\na1"
    assert embedder.batches[0][1] == "(8 May 2023) a1"


async def test_without_an_encoder_nothing_is_encoded() -> None:
    store = MemoryVaultStore()
    await fill(store, "a", 1)
    made = Backlog(store, Counting())
    assert await made.encode_some(VaultId("a")) == 0
    assert (await store.stats(Scope(vault=VaultId("a")))).unencoded == 0


PASSAGES = {
    "alone": ("hi", "", "(8 May 2023) hi"),
    "after a short turn": ("Rex", "Who?", "(8 May 2023) Who?\nRex"),
    "after a long turn": ("Rex", "x" * (backlog.SHORT + 1), "(8 May 2023) Rex"),
}


@pytest.mark.parametrize(("text", "before", "embedded"), PASSAGES.values(), ids=PASSAGES)
def test_what_is_embedded(text: str, before: str, embedded: str) -> None:
    assert passage(text, NOW, before) == embedded
