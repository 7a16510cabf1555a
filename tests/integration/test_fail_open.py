"""Whatever goes wrong in memory, the request goes to the provider as the client wrote it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

import pytest

from memrouter.app import Parts
from memrouter.embed.static import StaticEmbedder
from memrouter.errors import EmbedderError, StoreFull
from memrouter.ports import Asked
from memrouter.testing.provider import ScriptedProvider
from memrouter.testing.script import NOTED

from .conftest import World, messages, started

Served = tuple[ScriptedProvider, int]
FACT = "My dog is called Rex."
QUESTION = "What is my dog called?"
CANARY = "text-of-a-user"


Failure = Callable[[asyncio.Event], Awaitable[Any]]


class Failing:
    """A part of which some methods fail while it is told to."""

    def __init__(self, part: Any, methods: Sequence[str], failure: Failure) -> None:
        self._part = part
        self._methods = methods
        self._failure = failure
        self.fails = False
        self.over = asyncio.Event()
        """Ends what hangs."""

    def __getattr__(self, name: str) -> Any:
        if name not in self._methods or not self.fails:
            return getattr(self._part, name)

        async def fail(*_: Any, **__: Any) -> Any:
            return await self._failure(self.over)

        return fail


async def full(_: asyncio.Event) -> Any:
    raise StoreFull("The disk is full")


async def bug(_: asyncio.Event) -> Any:
    raise KeyError(CANARY)


async def hang(over: asyncio.Event) -> Any:
    await over.wait()
    raise StoreFull("late")


async def nonsense(_: asyncio.Event) -> Any:
    return None


STORE = ("signals", "chunks", "blocks", "known", "ends_of", "remember", "recent")
# failure → what x-memory-error says
FAILURES: dict[str, tuple[Failure, str]] = {
    "the disk is full": (full, "recall: StoreFull: The disk is full"),
    "a bug": (bug, "recall: KeyError"),
    "it hangs": (hang, "recall took longer than 100 ms"),
    "it answers nonsense": (nonsense, "recall: TypeError"),
}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(("failure", "said"), FAILURES.values(), ids=FAILURES)
async def test_a_store_that_fails_is_done_without(
    tmp_path: Path,
    provider: ScriptedProvider,
    served: Served,
    failure: Failure,
    said: str,
    stream: bool,
) -> None:
    broken: list[Failing] = []

    def wrap(parts: Parts) -> Any:
        broken.append(Failing(parts.store, STORE, failure))
        return replace(parts, store=broken[0])

    limits = {"recall_timeout_s": 0.1, "commit_timeout_s": 0.1}
    async with started(tmp_path, provider, served[1], wrap=wrap, settle=False, **limits) as world:
        key = await world.key()
        broken[0].fails = True
        began = perf_counter()
        answer = await world.ask(key, FACT, stream=stream, memory_mode="on", x=1)
        assert perf_counter() - began < 5
        assert answer.status == 200
        assert NOTED.encode() in answer.body
        assert not answer.broken
        assert answer.headers["x-memory-error"] == said
        assert answer.headers["x-memory-tokens-injected"] == "0"
        assert provider.requests[-1].json == {
            "model": "gpt-5.5",
            "messages": messages([FACT]),
            "stream": stream,
            "x": 1,
        }
        metrics = (await world.client(key).get("/metrics")).body.decode()
        assert 'memrouter_failed_open_total{error="' in metrics
        assert CANARY not in metrics
        broken[0].fails = False
        broken[0].over.set()


async def test_when_the_store_is_back_memory_is(
    tmp_path: Path, provider: ScriptedProvider, served: Served
) -> None:
    broken: list[Failing] = []

    def wrap(parts: Parts) -> Any:
        broken.append(Failing(parts.store, STORE, full))
        return replace(parts, store=broken[0])

    async with started(tmp_path, provider, served[1], wrap=wrap) as world:
        key = await world.key()
        await world.ask(key, FACT)
        broken[0].fails = True
        assert "x-memory-error" in (await world.ask(key, "lost")).headers
        broken[0].fails = False
        await world.embedded()
        answer = await world.ask(key, QUESTION)
        assert "x-memory-error" not in answer.headers
        assert "Rex" in provider.prompts[-1].memory
        assert "lost" not in await world.stored(key)


class NoEmbedder(StaticEmbedder):
    """An embedder that is there but fails."""

    failing = False

    async def query(self, text: str, rarity: Any) -> Asked:
        if self.failing:
            raise EmbedderError("The embedder broke")
        return await super().query(text, rarity)


async def test_an_embedder_that_fails_is_done_without(
    tmp_path: Path, provider: ScriptedProvider, served: Served
) -> None:
    embedder = NoEmbedder()

    def wrap(parts: Parts) -> Parts:
        return replace(parts, embedder=embedder)

    async with started(tmp_path, provider, served[1], wrap=wrap) as world:
        key = await world.key()
        await world.ask(key, FACT)
        await world.embedded()
        embedder.failing = True
        answer = await world.ask(key, QUESTION)
        assert answer.status == 200
        assert answer.headers["x-memory-error"] == "recall: EmbedderError: The embedder broke"
        assert provider.requests[-1].json["messages"] == messages([QUESTION])
        # What was said is stored all the same.
        assert QUESTION in await world.stored(key)


DAMAGE = {
    "overwritten": b"\x00" * 8192,
    "text": b"this is no database, " * 500,
    "empty": b"",
    "cut off": None,
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
async def test_a_broken_vault_file_is_one_persons_trouble_only(
    tmp_path: Path, provider: ScriptedProvider, served: Served, damage: bytes | None
) -> None:
    async with started(tmp_path, provider, served[1]) as world:
        alice, bob = await world.key("alice"), await world.key("bob")
        for key in (alice, bob):
            await world.ask(key, FACT)
        await world.embedded()
        file = await world.vault_file(alice)
        keys = {"alice": alice, "bob": bob}
    data = file.read_bytes()
    for beside in file.parent.glob(f"{file.name}-*"):
        beside.unlink()
    file.write_bytes(data[: len(data) // 2] if damage is None else damage)
    async with started(tmp_path, provider, served[1]) as world:
        for _ in range(2):
            answer = await world.ask(keys["alice"], QUESTION)
            assert answer.status == 200
            if damage != b"":  # an empty file is an empty vault
                assert answer.headers["x-memory-error"].startswith("recall: Vault")
            assert provider.requests[-1].json["messages"] == messages([QUESTION])
        assert (await world.client(alice).get("/health")).status == 200
        answer = await world.ask(keys["bob"], QUESTION)
        assert "x-memory-error" not in answer.headers
        assert "Rex" in provider.prompts[-1].memory


async def test_recall_has_a_time_budget(
    tmp_path: Path, provider: ScriptedProvider, served: Served
) -> None:
    """A store that is slow costs the budget, not more; and what it was asked it may finish."""
    broken: list[Failing] = []

    async def slow(_: asyncio.Event) -> Any:
        await asyncio.sleep(1.0)
        raise StoreFull("late")

    def wrap(parts: Parts) -> Any:
        broken.append(Failing(parts.store, ("signals",), slow))
        return replace(parts, store=broken[0])

    async with started(tmp_path, provider, served[1], wrap=wrap, recall_timeout_s=0.05) as world:
        key = await world.key()
        await world.ask(key, FACT)
        await world.embedded()
        broken[0].fails = True
        began = perf_counter()
        answer = await world.ask(key, QUESTION)
        assert perf_counter() - began < 0.9
        assert answer.headers["x-memory-error"] == "recall took longer than 50 ms"
        assert QUESTION in await world.stored(key)


async def test_no_memory_key_no_request(world: World) -> None:
    """Who is not known is not served, with or without memory."""
    for key in ("mk_" + "x" * 40, "sk-something", ""):
        answer = await world.ask(key, "hi")
        assert answer.status == 401
        assert "error" in answer.json
    assert world.provider.requests == []
