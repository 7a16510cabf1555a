from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import pytest
from starlette.routing import Router

from memrouter import __version__
from memrouter.domain import VaultId, Vectors
from memrouter.edge import ops_api
from memrouter.edge.ops_api import OpsApi
from memrouter.errors import StoreFull
from memrouter.memory.backlog import Backlog
from memrouter.ops.metrics import Metrics
from memrouter.ports import Asked
from memrouter.testing.asgi import Answer, Client
from memrouter.testing.store import MemoryVaultStore


class Named:
    """An embedder that only has a name. Implements ports.Embedder."""

    name = "some-embedder"
    dimension = 4
    instant = True

    async def query(self, text: str, rarity: Mapping[str, float]) -> Asked:
        raise AssertionError

    async def passages(self, texts: Sequence[str]) -> Vectors:
        raise AssertionError


class Store(MemoryVaultStore):
    """A store that can be made to fail or hang."""

    failure = ""

    async def check(self) -> None:
        if self.failure == "full":
            raise StoreFull("The disk is full")
        if self.failure == "hangs":
            await asyncio.Event().wait()


class World:
    def __init__(self) -> None:
        self.store = Store()
        self.backlog = Backlog(self.store, Named())
        self.metrics = Metrics()
        self.stopping = False
        api = OpsApi(self.store, Named(), self.backlog, self.metrics, lambda: self.stopping)
        self.client = Client(Router(api.routes()))

    async def health(self) -> Answer:
        return await self.client.get("/health")


@pytest.fixture
def world() -> World:
    return World()


async def test_in_health_all_is_ok(world: World) -> None:
    world.backlog.add(VaultId("v"))
    answer = await world.health()
    assert answer.status == 200
    assert answer.json == {
        "status": "ok",
        "version": __version__,
        "store": "ok",
        "embedder": "some-embedder",
        "backlog": 1,
    }


@pytest.mark.parametrize(("failure", "said"), [("full", "StoreFull"), ("hangs", "TimeoutError")])
async def test_without_a_store_it_serves_all_the_same(
    world: World, monkeypatch: pytest.MonkeyPatch, failure: str, said: str
) -> None:
    monkeypatch.setattr(ops_api, "_CHECK_S", 0.01)
    world.store.failure = failure
    answer = await world.health()
    assert answer.status == 200
    assert answer.json["status"] == "degraded"
    assert answer.json["store"] == f"failing: {said}"


async def test_while_it_stops_balancers_are_to_send_nothing_more(world: World) -> None:
    world.stopping = True
    answer = await world.health()
    assert (answer.status, answer.json["status"]) == (503, "stopping")


async def test_metrics_are_in_prometheus_format(world: World) -> None:
    world.metrics.stored.inc(3)
    answer = await world.client.get("/metrics")
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    assert "memrouter_stored_turns_total 3.0\n" in answer.body.decode()
