"""Lists of models: read as any provider writes them, fetched once, kept, never in the way."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import pytest

from memrouter.config import Provider as Setting
from memrouter.domain import Target
from memrouter.edge import catalog
from memrouter.edge.catalog import FRESH_S, RETRY_S, Catalog, Listed, models_in
from memrouter.errors import UpstreamError
from memrouter.testing.clock import FixedClock
from memrouter.upstream import providers
from memrouter.upstream.providers import Provider

OPENAI = {"object": "list", "data": [{"id": "gpt-5.5", "object": "model", "created": 5}]}
BODIES: dict[str, tuple[Any, list[str] | None]] = {
    "openai": (OPENAI, ["gpt-5.5"]),
    "anthropic": (
        {"data": [{"type": "model", "id": "claude-opus-4.8"}], "has_more": False},
        ["claude-opus-4.8"],
    ),
    "gemini": (
        {"models": [{"name": "models/gemini-3.5-flash"}, {"name": "models/a/b"}]},
        ["gemini-3.5-flash", "a/b"],
    ),
    "a bare list": ([{"id": "a"}, {"id": "b"}], ["a", "b"]),
    "twice": ([{"id": "a"}, {"id": "a"}], ["a"]),
    "an empty list": ({"data": []}, []),
    "null data": ({"data": None, "models": [{"name": "a"}]}, ["a"]),
    "odd items": ({"data": [None, 1, "x", {}, {"id": 5}, {"id": ""}, {"id": "a"}]}, ["a"]),
    "an error": ({"error": {"message": "no"}}, None),
    "no list": ({"data": {"id": "a"}}, None),
    "a number": (5, None),
}


@pytest.mark.parametrize(("body", "names"), BODIES.values(), ids=BODIES)
def test_lists_as_providers_write_them(body: Any, names: list[str] | None) -> None:
    found = models_in(json.dumps(body).encode())
    assert (None if found is None else [model.name for model in found]) == names


@pytest.mark.parametrize("body", [b"", b"<html>", b"{", b"\xff", b"[" * 100_000])
def test_what_is_no_list(body: bytes) -> None:
    assert models_in(body) is None


def test_when_a_model_was_made() -> None:
    assert models_in(json.dumps(OPENAI).encode()) == (Listed(name="gpt-5.5", created=5),)


class FakeAnswer:
    def __init__(self, status: int, blocks: Sequence[bytes], *, breaks: bool = False) -> None:
        self.status = status
        self.headers: Sequence[tuple[bytes, bytes]] = ()
        self.closed = False
        self._blocks = blocks
        self._breaks = breaks

    @property
    def ended(self) -> bool:
        raise NotImplementedError

    async def read(self) -> bytes:
        raise NotImplementedError

    async def blocks(self) -> AsyncIterator[bytes]:
        for block in self._blocks:
            yield block
        if self._breaks:
            raise UpstreamError("broke off")

    async def close(self) -> None:
        self.closed = True


class FakeUpstream:
    """Answers with what `work` gives."""

    def __init__(self) -> None:
        self.asked: list[tuple[Target, dict[str, str]]] = []
        self.work: Callable[[], FakeAnswer] = lambda: FakeAnswer(200, [json.dumps(OPENAI).encode()])
        self.hold: asyncio.Event | None = None
        self.answers: list[FakeAnswer] = []

    async def send(
        self,
        method: str,
        target: Target,
        headers: Sequence[tuple[str, str]],
        body: bytes | AsyncIterator[bytes],
    ) -> FakeAnswer:
        assert (method, body) == ("GET", b"")
        self.asked.append((target, dict(headers)))
        if self.hold is not None:
            await self.hold.wait()
        self.answers.append(self.work())
        return self.answers[-1]

    async def close(self) -> None:
        raise NotImplementedError


def provider(name: str = "openai", **setting: Any) -> Provider:
    table = providers.table({name: Setting(**setting)})
    found = table.get(name)
    assert found is not None
    return found


class World:
    def __init__(self) -> None:
        self.seconds = 50.0
        self.upstream = FakeUpstream()
        self.clock = FixedClock()
        self.catalog = Catalog(self.upstream, self.clock, lambda: self.seconds)

    async def names(self, row: Provider | None = None, key: str = "sk-x") -> list[str]:
        shelf = await self.catalog.shelf(row or provider(), key)
        return [model.name for model in shelf.models]

    async def settle(self) -> None:
        while self.catalog._fetching:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0)


@pytest.fixture
def world() -> World:
    return World()


ASKED: dict[str, tuple[Provider, str, dict[str, str]]] = {
    "openai": (
        provider("openai"),
        "https://api.openai.com/v1/models",
        {"authorization": "Bearer sk-x"},
    ),
    "anthropic": (
        provider("anthropic"),
        "https://api.anthropic.com/v1/models?limit=1000",
        {"x-api-key": "sk-x", "anthropic-version": "2023-06-01"},
    ),
    "google": (
        provider("google"),
        "https://generativelanguage.googleapis.com/v1beta/models?pageSize=1000",
        {"x-goog-api-key": "sk-x"},
    ),
    "one's own": (
        provider("own", base_url="http://10.0.0.1:8000/api"),
        "http://10.0.0.1:8000/api/models",
        {"authorization": "Bearer sk-x"},
    ),
}


@pytest.mark.parametrize(("row", "url", "headers"), ASKED.values(), ids=ASKED)
async def test_how_a_provider_is_asked(
    world: World, row: Provider, url: str, headers: dict[str, str]
) -> None:
    await world.names(row)
    [(target, sent)] = world.upstream.asked
    assert target.url == url
    assert dict(target.headers) == headers
    assert not target.guarded
    assert "sk-x" not in str(sent)
    assert world.upstream.answers[0].closed


async def test_without_a_key_it_is_asked_without_one(world: World) -> None:
    await world.names(provider("ollama"), key="")
    assert world.upstream.asked[0][0].headers == ()


async def test_a_list_is_fetched_once(world: World) -> None:
    for _ in range(5):
        assert await world.names() == ["gpt-5.5"]
        world.seconds += FRESH_S / 6
    assert len(world.upstream.asked) == 1


async def test_whoever_asks_meanwhile_waits_for_the_same_answer(world: World) -> None:
    world.upstream.hold = asyncio.Event()
    asking = [asyncio.create_task(world.names()) for _ in range(10)]
    await asyncio.sleep(0.01)
    asking[0].cancel()
    world.upstream.hold.set()
    assert await asyncio.gather(*asking[1:]) == [["gpt-5.5"]] * 9
    assert len(world.upstream.asked) == 1


async def test_an_old_list_is_served_while_the_new_one_comes(world: World) -> None:
    await world.names()
    first = world.clock.now()
    world.clock.advance(seconds=FRESH_S + 1)
    world.seconds += FRESH_S + 1
    world.upstream.work = lambda: FakeAnswer(200, [b'[{"id": "new"}]'])
    shelf = await world.catalog.shelf(provider(), "sk-x")
    assert ([m.name for m in shelf.models], shelf.fetched) == (["gpt-5.5"], first)
    await world.settle()
    shelf = await world.catalog.shelf(provider(), "sk-x")
    assert ([m.name for m in shelf.models], shelf.fetched) == (["new"], world.clock.now())
    assert len(world.upstream.asked) == 2


async def test_an_old_list_stays_where_no_new_one_comes(world: World) -> None:
    await world.names()
    world.upstream.work = lambda: FakeAnswer(500, [b"no"])
    for _ in range(3):
        world.seconds += FRESH_S + 1
        assert await world.names() == ["gpt-5.5"]
        await world.settle()


async def test_every_key_sees_its_own_list(world: World) -> None:
    await world.names(key="sk-a")
    world.upstream.work = lambda: FakeAnswer(200, [b'[{"id": "fine-tuned"}]'])
    assert await world.names(key="sk-b") == ["fine-tuned"]
    assert await world.names(key="sk-a") == ["gpt-5.5"]
    assert b"sk-a" not in repr(world.catalog._shelves).encode()


def _raises() -> FakeAnswer:
    raise UpstreamError("unreachable")


FAILURES: dict[str, Callable[[], FakeAnswer]] = {
    "unreachable": _raises,
    "a wrong key": lambda: FakeAnswer(401, [b'{"error": "no"}']),
    "a list, but not of success": lambda: FakeAnswer(500, [b'[{"id": "x"}]']),
    "html": lambda: FakeAnswer(200, [b"<html>"]),
    "an error with 200": lambda: FakeAnswer(200, [b'{"error": "no"}']),
    "broken off": lambda: FakeAnswer(200, [b'[{"id": "x"}'], breaks=True),
    "endless": lambda: FakeAnswer(200, [b" " * (1 << 20)] * 20),
}


@pytest.mark.parametrize("work", FAILURES.values(), ids=FAILURES)
async def test_the_configured_models_where_none_are_told(
    world: World, work: Callable[[], FakeAnswer]
) -> None:
    row = provider(models=("gpt-own", "gpt-*"))
    world.upstream.work = work
    shelf = await world.catalog.shelf(row, "sk-x")
    assert ([m.name for m in shelf.models], shelf.fetched) == (["gpt-own"], None)
    assert all(answer.closed for answer in world.upstream.answers)
    await world.names(row)
    assert len(world.upstream.asked) == 1  # left alone for a while
    world.seconds += RETRY_S + 1
    world.upstream.work = FakeUpstream().work
    assert await world.names(row) == ["gpt-5.5"]


async def test_a_provider_that_hangs_is_not_waited_for(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalog, "TIMEOUT_S", 0.01)
    world.upstream.hold = asyncio.Event()
    async with asyncio.timeout(5):
        assert await world.names() == []


async def test_it_can_be_stopped_in_the_middle(world: World) -> None:
    world.upstream.hold = asyncio.Event()
    asking = asyncio.create_task(world.names())
    await asyncio.sleep(0.01)
    await world.catalog.close()
    await asyncio.wait({asking})
    assert asking.cancelled()


async def test_lists_do_not_fill_the_memory(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "_MOST_SHELVES", 4)
    for i in range(20):
        await world.names(key=f"sk-{i}")
    assert len(world.catalog._shelves) <= 4
