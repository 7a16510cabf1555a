"""Behind a provider that goes wrong: the client gets what came, or an error, and memory nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from time import perf_counter

import pytest

from memrouter.testing.asgi import Answer
from memrouter.testing.faults import FAULTS, TEXT, FaultyProvider, faulty, reply
from memrouter.testing.provider import ScriptedProvider

from .conftest import World, started, until

READ_S = 0.3
TICK_S = 0.02
POOLED = 10
"""Connections, both ends of each in this process, that may idle in the pool, or not."""
SAID = "My cow is called Berta."


@pytest.fixture
async def wrong() -> AsyncIterator[FaultyProvider]:
    async with faulty(TICK_S) as provider:
        yield provider


@pytest.fixture
async def world(
    tmp_path: Path, provider: ScriptedProvider, wrong: FaultyProvider
) -> AsyncIterator[World]:
    async with started(tmp_path, provider, wrong.port, read_timeout_s=READ_S) as found:
        yield found


async def ask(world: World, key: str, fault: str, *, stream: bool) -> Answer:
    return await world.ask(key, SAID, stream=stream, headers={"x_fault": fault})


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("fault", [f for f in FAULTS if f != "endless"])
async def test_the_client_gets_what_came_and_memory_what_is_whole(
    world: World, wrong: FaultyProvider, fault: str, stream: bool
) -> None:
    wire = FAULTS[fault](reply(streamed=stream))
    key = await world.key()
    began = perf_counter()
    answer = await ask(world, key, fault, stream=stream)
    assert perf_counter() - began < 5
    refused = wire.seen == "refused" and answer.status == 502
    if not refused:
        assert answer.status == wire.status
        assert answer.broken or wire.seen != "broken"
    if wire.seen == "whole":
        assert answer.body == wire.body
        assert not answer.broken
    elif not refused and wire.seen in ("broken", "refused"):
        assert wire.body.startswith(answer.body)
    else:
        assert "openai" in answer.json["error"]
        assert answer.json["hint"]
    stored = await world.stored(key)
    if wire.stored is not None:
        assert any(TEXT in text for text in stored) == wire.stored
    assert wrong.requests == [fault]
    await asyncio.sleep(2 * TICK_S)
    following = await ask(world, key, "", stream=stream)
    assert following.body == reply(streamed=stream).body
    await until(lambda: wrong.connections <= 1)


async def test_an_endless_answer_ends_when_its_client_leaves(
    world: World, wrong: FaultyProvider
) -> None:
    key = await world.key()
    body = {"model": "gpt-5.5", "messages": [{"role": "user", "content": SAID}], "stream": True}
    client = world.client(key, x_fault="endless")
    async with client.call("POST", "/v1/chat/completions", body) as call:
        blocks = call.blocks()
        for _ in range(20):
            await anext(blocks)
        assert wrong.connections == 1
    await until(lambda: wrong.connections == 0)
    await until(lambda: world.store.calls == 0)
    assert TEXT not in await world.stored(key)


async def test_faults_leave_no_task_and_no_socket(world: World) -> None:
    key = await world.key()

    async def all_faults() -> None:
        names = [f for f in FAULTS if f != "endless"]
        for at in range(0, len(names), 5):
            some = names[at : at + 5]
            await asyncio.gather(*(ask(world, key, f, stream=f < "m") for f in some))
        await world.embedded()

    await all_faults()
    before = await settled()
    for _ in range(2):
        await all_faults()
    tasks, files = await settled()
    assert tasks <= before[0] + POOLED
    assert files <= before[1] + POOLED


async def settled() -> tuple[int, int]:
    """Tasks and open files once all connections but those in the pool are closed."""
    seen: list[tuple[int, int]] = []
    for _ in range(20):
        await asyncio.sleep(0.02)
        seen.append((len(asyncio.all_tasks()), _open_files()))
    return min(seen)


def _open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))
