"""Beyond capacity: recall goes first, then requests, with 503; a noisy key leaves others room."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from memrouter.app import Parts
from memrouter.testing.asgi import Call
from memrouter.testing.provider import ScriptedProvider
from memrouter.testing.script import NOTED, Answer

from .conftest import CHAT, World, messages, started, until
from .test_fail_open import Failing, hang

Served = tuple[ScriptedProvider, int]
SAID = "My cow is called Berta."


@asynccontextmanager
async def held(
    world: World, key: str, count: int, body: dict[str, Any] | None = None
) -> AsyncIterator[list[Call]]:
    """So many streams of a key that go on as long as the block."""
    world.provider.queue(*(Answer(text="One two", hold_after=1) for _ in range(count)))
    asked = {"model": "gpt-5.5", "messages": messages([SAID]), "stream": True, **(body or {})}
    async with AsyncExitStack() as stack:
        calls = [
            await stack.enter_async_context(world.client(key).call("POST", CHAT, asked))
            for _ in range(count)
        ]
        for call in calls:
            assert await call.head() == 200
        yield calls
    world.provider.release()


async def shed(world: World, what: str) -> float:
    text = (await world.client("").get("/metrics")).body.decode()
    found = [x for x in text.splitlines() if x.startswith(f'memrouter_shed_total{{what="{what}"')]
    return float(found[0].rpartition(" ")[2]) if found else 0.0


async def test_a_noisy_key_leaves_others_room_until_all_is_full(
    tmp_path: Path, provider: ScriptedProvider, served: Served
) -> None:
    async with started(tmp_path, provider, served[1], max_requests=5) as world:
        noisy, quiet, third = await world.key(), await world.key(), await world.key()
        async with held(world, noisy, 4):
            answer = await world.ask(noisy, SAID)
            assert answer.status == 503
            assert "This key has too many" in answer.json["error"]
            assert answer.headers["retry-after"] == "1"
            assert (await world.ask(quiet, SAID)).status == 200
            async with held(world, quiet, 1):
                answer = await world.ask(third, SAID)
                assert answer.status == 503
                assert "at capacity" in answer.json["error"]
                assert (await world.client(third).get("/health")).status == 200
        await until(lambda: world.store.calls == 0)
        assert (await world.ask(noisy, SAID)).status == 200
        assert await shed(world, "share") == 1
        assert await shed(world, "full") == 1


SHAPES: dict[str, tuple[str, dict[str, Any], tuple[str, ...]]] = {
    "openai": (CHAT, {"model": "gpt-5.5", "messages": messages([SAID])}, ("error",)),
    "responses": ("/v1/responses", {"model": "gpt-5.5", "input": SAID}, ("error",)),
    "anthropic": (
        "/v1/messages",
        {"model": "claude-opus-4.8", "max_tokens": 9, "messages": messages([SAID])},
        ("error", "type"),
    ),
    "gemini": (
        "/v1beta/models/gemini-3-pro:generateContent",
        {"contents": [{"role": "user", "parts": [{"text": SAID}]}]},
        ("error", "status"),
    ),
    "search": ("/v1/memory/search", {"query": "cow"}, ("error",)),
    "ingest": ("/v1/memory/ingest", {"messages": messages([SAID])}, ("error",)),
}


@pytest.mark.parametrize(("path", "body", "place"), SHAPES.values(), ids=SHAPES)
async def test_a_refusal_has_the_shape_of_what_was_asked(
    tmp_path: Path,
    provider: ScriptedProvider,
    served: Served,
    path: str,
    body: dict[str, Any],
    place: tuple[str, ...],
) -> None:
    async with started(tmp_path, provider, served[1], max_requests=1) as world:
        async with held(world, await world.key(), 1):
            key = await world.key()
            answer = await world.client(key).post(path, body)
            assert answer.status == 503
            assert answer.headers["retry-after"] == "1"
            assert answer.json["hint"]
            said = answer.json
            for name in place:
                said = said[name]
            assert isinstance(said, str)
            assert await world.stored(key) == []
        assert (await world.client(key).post(path, body)).status in (200, 202)


async def test_a_client_that_leaves_gives_its_place_back(
    tmp_path: Path, provider: ScriptedProvider, served: Served
) -> None:
    async with started(tmp_path, provider, served[1], max_requests=1) as world:
        key = await world.key()
        for _ in range(3):
            async with held(world, key, 1) as [call]:
                call.leave()
            await until(lambda: world.store.calls == 0)
        for path in ("/v1/nothing", "/v1/memory/nothing"):
            await world.client("mk_" + "x" * 40).post(path, {})
        assert (await world.client(key).post(CHAT, b"not json")).status == 400
        assert (await world.ask(key, SAID)).status == 200


async def test_large_bodies_are_bounded_together(
    tmp_path: Path, provider: ScriptedProvider, served: Served
) -> None:
    async with started(tmp_path, provider, served[1], max_bodies_mb=1) as world:
        noisy, quiet = await world.key(), await world.key()
        large = {"x": "x" * 700_000}
        async with held(world, noisy, 1, large):
            refused = await world.ask(quiet, SAID, **large)
            assert refused.status == 503
            assert "bodies" in refused.json["error"]
            chunked = {"transfer-encoding": "chunked"}
            assert (await world.ask(quiet, SAID, **large, headers=chunked)).status == 503
            lines = b'{"content":"%b"}\n' % (b"x " * 300_000)
            uploaded = await world.client(quiet).post("/v1/memory/upload", lines)
            assert uploaded.status == 503
            assert (await world.ask(quiet, SAID)).status == 200
        assert await shed(world, "body") == 3
        assert (await world.ask(quiet, SAID, **large)).status == 200


async def test_recall_is_left_out_first(
    tmp_path: Path, provider: ScriptedProvider, served: Served
) -> None:
    """What is said is stored all the same."""
    broken: list[Failing] = []

    def wrap(parts: Parts) -> Any:
        broken.append(Failing(parts.store, ("blocks",), hang))
        return replace(parts, store=broken[0])

    limits: dict[str, Any] = {"max_recalls": 1, "recall_timeout_s": 5.0}
    async with started(tmp_path, provider, served[1], wrap=wrap, **limits) as world:
        first, second = await world.key(), await world.key()
        broken[0].fails = True
        waiting = asyncio.create_task(world.ask(first, SAID))
        await until(lambda: world.store.calls == 1)
        answer = await world.ask(second, SAID)
        assert answer.status == 200
        assert NOTED.encode() in answer.body
        assert answer.headers["x-memory-error"] == "recall: Overloaded: too many at a time"
        assert await world.stored(second) == [SAID, NOTED]
        assert await shed(world, "recall") == 1
        broken[0].fails = False
        broken[0].over.set()
        assert (await waiting).status == 200
        assert "x-memory-error" not in (await world.ask(second, SAID)).headers


async def test_a_store_that_hangs_gathers_only_so_much(
    tmp_path: Path, provider: ScriptedProvider, served: Served
) -> None:
    broken: list[Failing] = []

    def wrap(parts: Parts) -> Any:
        broken.append(Failing(parts.store, ("remember",), hang))
        return replace(parts, store=broken[0])

    limits: dict[str, Any] = {"max_commits": 2, "commit_timeout_s": 0.05}
    async with started(tmp_path, provider, served[1], wrap=wrap, settle=False, **limits) as world:
        key = await world.key()
        broken[0].fails = True
        answers = [await world.ask(key, SAID) for _ in range(4)]
        assert [a.status for a in answers] == [200] * 4
        said = [a.headers.get("x-memory-error", "") for a in answers]
        assert said[:2] == ["", ""]
        assert all("Overloaded: too many exchanges wait to be stored" in s for s in said[2:])
        assert await shed(world, "memory") == 2
        broken[0].fails = False
        broken[0].over.set()
        await until(lambda: world.store.calls == 0)
        assert "x-memory-error" not in (await world.ask(key, SAID)).headers
