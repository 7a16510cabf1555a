"""Logs and metrics hold ids, counts and durations: no text of a user, no key, whatever happens."""

from __future__ import annotations

import asyncio
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from memrouter.app import Parts
from memrouter.errors import MemrouterError
from memrouter.memory.forgive import attempt
from memrouter.testing.provider import ScriptedProvider
from memrouter.testing.script import Answer

from .conftest import CHAT, PROVIDER_KEY, World, messages, started

SAID = "canary-said"
ANSWERED = "canary-answered"
CANARIES = (
    SAID,
    ANSWERED,
    "canary-session",
    "canary-conversation",
    "canary-model",
    "canary-header",
    "canary-query",
    "canary-system",
    "canary-error",
    PROVIDER_KEY,
    "sk-client-canary",
)


async def exercise(world: World) -> list[str]:
    """Requests of every kind, good and bad; returns the keys that were used."""
    key = await world.key("canary-name")
    client = world.client(key, x_canary="canary-header")
    body: dict[str, Any] = {
        "model": "canary-model",
        "messages": [{"role": "system", "content": "canary-system"}, *messages([f"I am {SAID}."])],
        "session_id": "canary-session",
        "user": "canary-user",
    }
    path = f"{CHAT}?foo=canary-query"
    said = Answer(text=f"Hello {ANSWERED}.")
    world.provider.queue(said, said, said)
    for more in (
        {},
        {"stream": True},
        {"memory_mode": "canary-error"},
        {"density": "canary-error"},
    ):
        await client.post(path, {**body, **more})
    await client.post(path, {**body, "messages": "canary-error"})
    await client.post(path, b'{"canary-error": ')
    await client.post(CHAT, body, x_provider_key="sk-client-canary")
    for error in (
        Answer(status=400, message="canary-error"),
        Answer(status=500, body=b"canary-error"),
        Answer(text=f"{ANSWERED} and so on", cut_after_bytes=40),
    ):
        world.provider.queue(error)
        await client.post(CHAT, body)
    async with client.call("POST", CHAT, {**body, "stream": True}) as call:
        await anext(call.blocks())
    for other in (f"{key}:canary-error", "mk_canary-error" + "x" * 40, "canary-error"):
        await world.client(other).post(CHAT, body)
    await client.post("/v1/memory/search", {"query": SAID, "limit": 5})
    await client.post("/v1/memory/search", {"query": 1})
    await client.post("/v1/keys", {"name": "canary-name"})
    for path in ("/canary-error", "/v1/memory/canary-error", "/v1/models/canary-model", "/health"):
        await client.get(path)
    await client.get(f"/v1/memory/search?key={key}")
    return [key, world.account_key]


def nothing_of(keys: list[str], told: str) -> None:
    assert [canary for canary in CANARIES if canary in told] == []
    assert [key for key in keys if key in told or key[5:30] in told] == []
    assert "canary" not in told


async def test_logs_and_metrics_tell_nothing_that_was_said(
    world: World, logged: io.StringIO
) -> None:
    keys = await exercise(world)
    lines = [json.loads(line) for line in logged.getvalue().splitlines()]
    assert len([line for line in lines if line["event"] == "request"]) > 15
    nothing_of(keys, logged.getvalue())
    metrics = (await world.client(keys[0]).get("/metrics")).body.decode()
    assert "memrouter_requests_total" in metrics
    nothing_of(keys, metrics)


async def test_every_request_is_logged_with_the_id_that_its_client_got(
    world: World, logged: io.StringIO
) -> None:
    key = await world.key()
    answers = [await world.ask(key, "hi"), await world.client(key).get("/nope")]
    requests = [json.loads(line) for line in logged.getvalue().splitlines()]
    ids = [line["request"] for line in requests if line["event"] == "request"]
    assert ids == [answer.headers["x-request-id"] for answer in answers]


async def test_what_could_not_be_relayed_is_logged_with_provider_and_reason(
    world: World, logged: io.StringIO
) -> None:
    body = {"model": "ollama/none", "messages": [{"role": "user", "content": SAID}]}
    answer = await world.client(await world.key()).post(CHAT, body)
    assert answer.status == 502
    lines = [json.loads(line) for line in logged.getvalue().splitlines()]
    told = next(line for line in lines if line["event"] == "not relayed")
    assert (told["provider"], told["error"]) == ("ollama", "UpstreamError")
    assert told["request"] == answer.headers["x-request-id"]
    assert SAID not in logged.getvalue()


class Talkative(Exception):
    """An error that quotes a user."""


@pytest.mark.parametrize("failing", ["store", "embedder"])
async def test_a_failure_in_memory_is_logged_without_its_text(
    tmp_path: Path,
    provider: ScriptedProvider,
    served: tuple[ScriptedProvider, int],
    logged: io.StringIO,
    failing: str,
) -> None:
    class Broken:
        def __init__(self, part: Any) -> None:
            self._part = part

        def __getattr__(self, name: str) -> Any:
            if name not in ("query", "passages", "signals", "remember", "known"):
                return getattr(self._part, name)

            async def fail(*_: Any, **__: Any) -> Any:
                if broken:
                    raise Talkative(SAID)
                return await getattr(self._part, name)(*_, **__)

            return fail

    broken = False

    def wrap(parts: Parts) -> Any:
        part: dict[str, Any] = {failing: Broken(getattr(parts, failing))}
        return replace(parts, **part)

    async with started(tmp_path, provider, served[1], wrap=wrap, settle=False) as world:
        key = await world.key()
        await world.ask(key, f"I am called {SAID}.")
        await asyncio.sleep(0.05)
        broken = True
        answer = await world.ask(key, "What am I called?")
        assert answer.status == 200
        assert "x-memory-error" in answer.headers
        assert SAID not in answer.headers["x-memory-error"]
        broken = False
    assert "Talkative" in logged.getvalue()
    nothing_of([key], logged.getvalue())


async def test_what_a_failure_is_called_in_a_header_is_ours() -> None:
    async def fail() -> None:
        raise MemrouterError("our own words")

    tried = await attempt(fail, 1.0, "recall")
    assert tried.error == "recall: MemrouterError: our own words"
