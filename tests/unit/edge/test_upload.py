"""Uploads store each memory once, and continue conversations."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from memrouter.domain import Budget, Memory, NewTurn, Scope, VaultId
from memrouter.edge.jsonl import Item
from memrouter.edge.upload import Chains, Uploads
from memrouter.memory import engine, lineage
from memrouter.memory.historian import Historian
from memrouter.memory.settings import MemorySettings
from memrouter.ports import Stored, VaultStore
from memrouter.testing.clock import FixedClock
from memrouter.testing.store import MemoryVaultStore

VAULT = VaultId("v")
NOW = datetime(2026, 6, 5, 21, tzinfo=UTC)
SETTINGS = MemorySettings(
    budgets={"default": Budget(memories=30, tokens=2_000)},
    zone=UTC,
    count=lambda text: len(text.split()),
    chunk_tokens=16,
)


def item(text: str, **fields: Any) -> Item:
    return Item(**{"role": "user", "text": text, "created": NOW, **fields})


class Writes:
    """Of memory what uploads need: it stores, and knows how much at a time."""

    def __init__(self, store: VaultStore) -> None:
        self.store = store
        self.sizes: list[int] = []

    async def add(self, scope: Scope, turns: Sequence[NewTurn]) -> Stored:
        self.sizes.append(len(turns))
        assert all(turn.pieces for turn in turns)
        return await self.store.remember(scope.vault, turns, now=NOW)


class World:
    def __init__(self) -> None:
        self.store = MemoryVaultStore()
        self.clock = FixedClock(NOW)
        self.writes = Writes(self.store)
        historian = Historian(self.store, SETTINGS)
        self.uploads = Uploads(
            self.store, historian, cast("engine.Memory", self.writes), self.clock
        )

    async def upload(self, *items: Item, chains: Chains | None = None) -> int:
        return await self.uploads.store(VAULT, items, chains)

    async def stored(self) -> Sequence[Memory]:
        return await self.store.memories(Scope(vault=VAULT), limit=100_000, whole=True)


@pytest.fixture
def world() -> World:
    return World()


A = item("a")
ONCE: dict[str, tuple[list[Item], int]] = {
    "the same twice": ([A, A], 1),
    "another text": ([A, item("b")], 2),
    "another role": ([A, item("a", role="assistant")], 2),
    "another session": ([A, item("a", session="s")], 2),
    "another time": ([A, item("a", created=NOW - timedelta(milliseconds=1))], 2),
    "no time, held": ([A, item("a", created=None)], 1),
    "no time, twice": ([item("a", created=None), item("a", created=None)], 1),
    "no time, then one that is another": (
        [item("a", created=None), item("a", created=NOW - timedelta(days=1))],
        2,
    ),
    "another model or place, the same words": ([A, item("a", model="m", position=7)], 1),
}


@pytest.mark.parametrize(("items", "count"), ONCE.values(), ids=ONCE)
@pytest.mark.parametrize("apart", [False, True])
async def test_what_is_held_is_not_stored(
    world: World, items: list[Item], count: int, apart: bool
) -> None:
    if apart:
        for one in items:
            await world.upload(one)
    else:
        await world.upload(*items)
    assert len(await world.stored()) == count
    assert await world.upload(*items) == 0
    assert len(await world.stored()) == count


async def test_order_time_and_fields_stay(world: World) -> None:
    items = [
        item("a", role="system", session="s", conversation="c", position=4, model="m"),
        item("b", created=None),
        item("c", created=NOW - timedelta(days=400)),
    ]
    assert await world.upload(*items) == 3
    first, second, third = await world.stored()
    assert (first.role, first.session, first.conversation) == ("system", "s", "c")
    assert (first.position, first.model, first.created) == (4, "m", NOW)
    assert (second.text, second.created) == ("b", NOW)
    assert third.created == NOW - timedelta(days=400)


async def test_many_are_stored_in_transactions_of_some(world: World) -> None:
    items = [item(f"Item {n}") for n in range(2_345)]
    assert await world.upload(*items) == 2_345
    assert world.writes.sizes == [1_000, 1_000, 345]
    assert [memory.text for memory in await world.stored()] == [i.text for i in items]


async def test_a_conversation_is_known_when_its_client_resends_it(world: World) -> None:
    said = [("user", "hi"), ("assistant", "hello"), ("user", "bye")]
    await world.upload(*(item(t, role=r, conversation="c", session="s") for r, t in said))
    scope = Scope(vault=VAULT, session="s", conversation="c")
    digests = [lineage.digest(cast("Any", r), t) for r, t in said]
    chains = lineage.chains(lineage.root(scope), digests)
    places = await world.store.known(VAULT, chains)
    assert [places[chain].position for chain in chains] == [0, 1, 2]


async def test_what_is_known_but_not_held_is_stored(world: World) -> None:
    lines = [item("hi", conversation="c"), item("bye", conversation="c")]
    await world.upload(*lines)
    await world.store.delete(VAULT, (await world.stored())[0].id)
    assert await world.upload(*lines) == 1
    assert sorted(memory.text for memory in await world.stored()) == ["bye", "hi"]
    assert await world.upload(*lines) == 0


async def test_two_conversations_that_begin_alike(world: World) -> None:
    lines = [
        item("hi", conversation="auto_1", position=0),
        item("hi", conversation="auto_2", position=0, created=NOW - timedelta(days=9)),
    ]
    assert await world.upload(*lines) == 2
    assert len(await world.stored()) == 2


CHAINED: dict[str, tuple[list[int | None], list[int], int]] = {
    "in order": ([0, 1, 2], [0, 1, 2], 3),
    "without places": ([None, None], [0, 1], 2),
    "places that begin later": ([3, 4], [3, 4], 0),
    "a gap": ([0, 1, 3, 4], [0, 1, 3, 4], 2),
    "the same place twice": ([0, 0, 1], [0, 0, 1], 1),
}


@pytest.mark.parametrize(("given", "positions", "known"), CHAINED.values(), ids=CHAINED)
def test_chains(given: list[int | None], positions: list[int], known: int) -> None:
    chains = Chains()
    placed = [
        chains.place(item(str(n), conversation="c", position=position), b"%16d" % n)
        for n, position in enumerate(given)
    ]
    assert [position for position, _, _ in placed] == positions
    assert [bool(chain) for _, chain, _ in placed] == [n < known for n in range(len(given))]
    followed = placed[:known]
    assert [parent for _, _, parent in followed[1:]] == [chain for _, chain, _ in followed[:-1]]


def test_without_a_conversation_there_is_no_chain() -> None:
    assert Chains().place(item("a", position=3), b"x" * 16) == (3, b"", b"")
