"""The models of every provider that the caller has a key for, and of no other."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, cast

import pytest
from starlette.routing import Router

from memrouter.config import Provider as Setting
from memrouter.edge import auth
from memrouter.edge.callers import Callers
from memrouter.edge.catalog import Catalog, Listed, Shelf
from memrouter.edge.models_api import ModelsApi, listed
from memrouter.edge.provider_keys import ProviderKeys
from memrouter.edge.relay import Relay
from memrouter.edge.routes import Edge
from memrouter.edge.targets import Targets
from memrouter.ops.metrics import Metrics
from memrouter.secrets import Sealer
from memrouter.testing.asgi import Answer, Client
from memrouter.testing.clock import FixedClock
from memrouter.testing.directory import MemoryDirectory
from memrouter.upstream import providers
from memrouter.upstream.providers import Provider
from memrouter.wire.table import FORMATS

KEY = "mk_" + "k" * 40
NOW = datetime(2026, 6, 5, 21, tzinfo=UTC)


def shelf(provider: str, *names: str, fetched: datetime | None = NOW) -> Shelf:
    models = tuple(Listed(name=name) for name in names)
    return Shelf(provider=provider, models=models, fetched=fetched)


class FakeCatalog:
    """Knows the same two models of every provider."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    async def shelf(self, provider: Provider, key: str) -> Shelf:
        self.asked.append((provider.name, key))
        return shelf(provider.name, "a", "b/c:free")


class World:
    def __init__(self, settings: dict[str, Setting] | None = None, default: str = "") -> None:
        self.directory = MemoryDirectory()
        self.keys = ProviderKeys(self.directory, Sealer("a secret of some length"))
        self.catalog = FakeCatalog()
        api = ModelsApi(
            Callers(self.directory),
            providers.table(settings or {}),
            self.keys,
            cast("Catalog", self.catalog),
            default_model=default,
        )
        own = Router(api.routes(), redirect_slashes=False)
        nobody = cast("Any", None)
        self.edge = Edge(cast("Relay", nobody), cast("Targets", nobody), FORMATS, own, Metrics())

    async def started(self) -> World:
        self.account = await self.directory.add_account()
        await self.directory.add_key(
            self.account, auth.digest(KEY), masked="mk_…", name="n", now=FixedClock().now()
        )
        return self

    async def get(self, path: str = "/v1/models", **headers: str) -> Answer:
        headers = headers or {"authorization": f"Bearer {KEY}"}
        return await Client(self.edge).get(path, **headers)


ONE = {"openai": Setting(api_key="sk-server")}


async def test_the_list_in_all_its_shapes() -> None:
    world = await World(ONE, default="openai/a").started()
    answer = await world.get()
    assert answer.status == 200
    assert answer.json == {
        "providers": [{"provider": "openai", "models": ["a", "b/c:free"]}],
        "models": ["openai/a", "openai/b/c:free"],
        "default": "openai/a",
        "catalog_updated": "2026-06-05T21:00:00.000Z",
        "object": "list",
        "data": [
            {"id": "openai/a", "object": "model", "created": 0, "owned_by": "openai"},
            {"id": "openai/b/c:free", "object": "model", "created": 0, "owned_by": "openai"},
        ],
    }


async def test_nobody_asks_without_a_key() -> None:
    world = await World(ONE).started()
    answer = await world.get(authorization="Bearer mk_" + "x" * 40)
    assert answer.status == 401
    assert not world.catalog.asked


def own(**more: Any) -> Setting:
    return Setting(base_url="http://10.0.0.1:8000", **more)


USABLE: dict[str, tuple[dict[str, Setting], dict[str, str], dict[str, str], list[Any]]] = {
    "none": ({}, {}, {}, []),
    "configured": (ONE, {}, {}, [("openai", "sk-server")]),
    "configured without a key": ({"openai": Setting(models=("gpt-5.5",))}, {}, {}, []),
    "stored": ({}, {"anthropic": "sk-stored"}, {}, [("anthropic", "sk-stored")]),
    "stored before configured": (ONE, {"openai": "sk-stored"}, {}, [("openai", "sk-stored")]),
    "one that needs no key": ({"ollama": Setting()}, {}, {}, [("ollama", "")]),
    "one's own": ({"own": own()}, {}, {}, [("own", "")]),
    "one's own, with a key": ({"own": own(api_key="k")}, {}, {}, [("own", "k")]),
    "several, in the order of the table": (
        {"own": own(), "groq": Setting(api_key="g"), **ONE},
        {"anthropic": "sk-stored"},
        {},
        [("openai", "sk-server"), ("anthropic", "sk-stored"), ("groq", "g"), ("own", "")],
    ),
    "brought along": (
        ONE,
        {"openai": "sk-stored"},
        {"x_memory_key": KEY, "authorization": "Bearer sk-mine"},
        [("openai", "Bearer sk-mine")],
    ),
    "brought along for another": (
        ONE,
        {},
        {"x_memory_key": KEY, "x_api_key": "sk-ant", "anthropic_version": "2023-06-01"},
        [("openai", "sk-server"), ("anthropic", "sk-ant")],
    ),
    "brought along in our own header": (
        {},
        {},
        {"authorization": f"Bearer {KEY}", "x_provider_key": "sk-mine"},
        [("openai", "sk-mine")],
    ),
}


@pytest.mark.parametrize(("settings", "stored", "headers", "asked"), USABLE.values(), ids=USABLE)
async def test_who_is_asked_with_which_key(
    settings: dict[str, Setting],
    stored: dict[str, str],
    headers: dict[str, str],
    asked: list[Any],
) -> None:
    world = await World(settings).started()
    for provider, key in stored.items():
        await world.keys.put(world.account, provider, key)
    answer = await world.get(**headers)
    assert answer.status == 200
    assert world.catalog.asked == asked
    assert [p["provider"] for p in answer.json["providers"]] == [name for name, _ in asked]


async def test_a_stored_key_that_cannot_be_opened_is_not_replaced_by_the_servers() -> None:
    world = await World(ONE).started()
    sealed = Sealer("another secret of some length").seal("sk-stored")
    await world.directory.set_provider_key(world.account, "openai", sealed)
    assert (await world.get()).json["providers"] == []


FOUND = {
    "openai/a": "openai/a",
    "a": "openai/a",
    "openai/b/c:free": "openai/b/c:free",
    "openai%2Fb%2Fc%3Afree": "openai/b/c:free",
    "b/c:free": "openai/b/c:free",
    "groq/a": "groq/a",
}


@pytest.mark.parametrize("name", FOUND)
async def test_one_model(name: str) -> None:
    world = await World({**ONE, "groq": Setting(api_key="g")}).started()
    answer = await world.get(f"/v1/models/{name}")
    assert answer.status == 200, answer.body
    assert (answer.json["id"], answer.json["object"]) == (FOUND[name], "model")


@pytest.mark.parametrize("name", ["x", "openai/", "anthropic/a", "%00", "a" * 2000, "%F0%9F%98%80"])
async def test_a_model_that_is_not_there(name: str) -> None:
    world = await World(ONE).started()
    answer = await world.get(f"/v1/models/{name}")
    assert answer.status == 404
    assert set(answer.json) == {"error", "hint"}


LISTS: dict[str, tuple[Sequence[Shelf], str | None, list[str]]] = {
    "nothing": ([], None, []),
    "an empty shelf": ([shelf("openai")], None, []),
    "only configured": ([shelf("own", "m", fetched=None)], None, ["own/m"]),
    "the newest counts": (
        [shelf("a", "m", fetched=NOW.replace(year=2025)), shelf("b", "m")],
        "2026-06-05T21:00:00.000Z",
        ["a/m", "b/m"],
    ),
}


@pytest.mark.parametrize(("shelves", "updated", "models"), LISTS.values(), ids=LISTS)
def test_lists(shelves: Sequence[Shelf], updated: str | None, models: list[str]) -> None:
    answer = listed(shelves, "")
    assert (answer.catalog_updated, answer.models, answer.default) == (updated, models, None)
    assert [model.id for model in answer.data] == models
