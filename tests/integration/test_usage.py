"""Usage and limits: what exchanges cost, by the provider's figures or ours, and when it stops."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from memrouter.app import Parts
from memrouter.edge import auth
from memrouter.errors import StoreError
from memrouter.testing.provider import ScriptedProvider
from memrouter.testing.script import Answer as Said

from .conftest import CHAT, World, started, until

USAGE = "/v1/account/usage"
GEMINI = "/v1beta/models/gemini-3.5-flash"
ASKED = "Where do I keep my walrus?"
TURN = [{"role": "user", "content": ASKED}]
FORMATS: dict[str, tuple[str, dict[str, Any], str]] = {
    "chat": (CHAT, {"model": "gpt-5.5", "messages": TURN}, "openai/gpt-5.5"),
    "chat, streamed": (
        CHAT,
        {
            "model": "openai/gpt-5.5",
            "messages": TURN,
            "stream": True,
            "stream_options": {"include_usage": True},
        },
        "openai/gpt-5.5",
    ),
    "responses": ("/v1/responses", {"model": "gpt-5.5", "input": ASKED}, "openai/gpt-5.5"),
    "responses, streamed": (
        "/v1/responses",
        {"model": "gpt-5.5", "input": ASKED, "stream": True},
        "openai/gpt-5.5",
    ),
    "messages": (
        "/v1/messages",
        {"model": "claude-opus-4.8", "max_tokens": 99, "messages": TURN},
        "anthropic/claude-opus-4.8",
    ),
    "messages, streamed": (
        "/v1/messages",
        {"model": "claude-opus-4.8", "max_tokens": 99, "messages": TURN, "stream": True},
        "anthropic/claude-opus-4.8",
    ),
    "gemini": (
        f"{GEMINI}:generateContent",
        {"contents": [{"role": "user", "parts": [{"text": ASKED}]}]},
        "google/gemini-3.5-flash",
    ),
    "gemini, streamed": (
        f"{GEMINI}:streamGenerateContent?alt=sse",
        {"contents": [{"role": "user", "parts": [{"text": ASKED}]}]},
        "google/gemini-3.5-flash",
    ),
    "gemini, streamed as an array": (
        f"{GEMINI}:streamGenerateContent",
        {"contents": [{"role": "user", "parts": [{"text": ASKED}]}]},
        "google/gemini-3.5-flash",
    ),
    "/v3": (
        "/v3/http://127.0.0.1:{port}/v1/chat/completions",
        {"model": "gpt-5.5", "messages": TURN},
        "127.0.0.1/gpt-5.5",
    ),
}
ANSWER = "In the bathtub, as you told me. " * 20


async def usage(world: World, key: str, query: str = "") -> dict[str, Any]:
    answer = await world.client(key).get(USAGE + query)
    assert answer.status == 200, answer.body
    found: dict[str, Any] = answer.json
    return found


async def change(world: World, key: str, **limits: int) -> None:
    record = await world.parts.directory.key(auth.digest(key))
    assert record is not None
    answer = await world.client(world.account_key).send("PATCH", f"/v1/keys/{record.id}", limits)
    assert answer.status == 200, answer.body


@pytest.mark.parametrize("mode", ["on", "off"])
@pytest.mark.parametrize(("path", "body", "model"), FORMATS.values(), ids=FORMATS)
async def test_the_providers_own_figures(
    world: World,
    served: tuple[ScriptedProvider, int],
    path: str,
    body: dict[str, Any],
    model: str,
    mode: str,
) -> None:
    key = await world.key()
    world.provider.queue(Said(text=ANSWER))
    headers = {"x_memory_mode": mode, "x_provider_key": "sk-x"}
    answer = await world.client(key, **headers).post(path.format(port=served[1]), body)
    assert answer.status == 200, answer.body
    found = await usage(world, key)
    assert found["total_requests"] == found["measured_requests"] == 1
    assert found["total_input_tokens"] == world.provider.prompts[-1].tokens
    assert found["total_output_tokens"] == len(ANSWER) // 4
    assert list(found["by_model"]) == [model]
    assert [day["date"] for day in found["daily"]] == ["2026-06-05"]


WITHOUT = {name: row for name, row in FORMATS.items() if name != "/v3"}


@pytest.mark.parametrize("mode", ["on", "off"])
@pytest.mark.parametrize(("path", "body", "model"), WITHOUT.values(), ids=WITHOUT)
async def test_our_counts_where_the_provider_gives_none(
    world: World, path: str, body: dict[str, Any], model: str, mode: str
) -> None:
    key = await world.key()
    world.provider.queue(Said(text=ANSWER, usage=False))
    answer = await world.client(key, x_memory_mode=mode).post(path, body)
    assert answer.status == 200, answer.body
    found = await usage(world, key)
    assert (found["total_requests"], found["measured_requests"]) == (1, 0)
    assert found["total_input_tokens"] == pytest.approx(12, abs=6)
    assert found["total_output_tokens"] == pytest.approx(180, rel=0.3)
    assert list(found["by_model"]) == [model]


async def test_memory_tokens_are_those_that_were_added(world: World) -> None:
    key = await world.key()
    await world.ask(key, "My walrus lives in the bathtub.")
    await world.embedded()
    answer = await world.ask(key, ASKED)
    injected = int(answer.headers["x-memory-tokens-injected"])
    assert injected > 0
    found = await usage(world, key)
    assert found["total_memory_tokens"] == injected
    assert found["total_requests"] == 2


async def test_memory_endpoints_count_what_they_processed(world: World) -> None:
    key = await world.key()
    client = world.client(key)
    await client.post("/v1/memory/ingest", {"model": "openai/gpt-5.5", "messages": TURN})
    await client.post("/v1/memory/prepare", {"messages": TURN})
    found = await usage(world, key)
    assert found["total_requests"] == 2
    assert found["measured_requests"] == 0
    assert set(found["by_model"]) == {"openai/gpt-5.5", "memory"}


async def test_passed_through_requests_count_by_their_usage(world: World) -> None:
    key = await world.key()
    client = world.client(key)
    body = {"model": "openai/text-embedding-3-small", "input": ["one two three four"] * 5}
    embedded = await client.post("/v1/embeddings", body)
    assert embedded.status == 200
    await client.post("/v1/audio/speech", {"model": "tts-1", "input": "hi", "voice": "x"})
    await client.get("/v1/files")
    found = await usage(world, key)
    assert found["total_requests"] == 2
    assert found["measured_requests"] == 1
    assert found["total_input_tokens"] == embedded.json["usage"]["prompt_tokens"]
    assert set(found["by_model"]) == {"openai/text-embedding-3-small", "openai/tts-1"}


REFUSED = {
    "a failure": Said(status=500),
    "too many": Said(status=429),
    "a wrong key": Said(status=401),
}


@pytest.mark.parametrize("said", REFUSED.values(), ids=REFUSED)
async def test_what_the_provider_refused_is_no_usage(world: World, said: Said) -> None:
    key = await world.key()
    world.provider.queue(said)
    assert (await world.ask(key, ASKED)).status == said.status
    assert (await usage(world, key))["total_requests"] == 0


@pytest.mark.parametrize("mode", ["on", "off"])
async def test_an_answer_that_breaks_off_is_counted_once(world: World, mode: str) -> None:
    key = await world.key()
    world.provider.queue(Said(text=ANSWER, cut_after=5))
    body = {"model": "gpt-5.5", "messages": TURN, "stream": True}
    async with world.client(key, x_memory_mode=mode).call("POST", CHAT, body) as call:
        async for _ in call.blocks():
            pass
    assert call.broken
    found = await usage(world, key)
    assert (found["total_requests"], found["measured_requests"]) == (1, 0)
    assert found["total_input_tokens"] > 0


async def test_a_client_that_leaves_is_counted(world: World) -> None:
    key = await world.key()
    world.provider.queue(Said(text=ANSWER, hold_after=5))
    body = {"model": "gpt-5.5", "messages": TURN, "stream": True}
    async with world.client(key).call("POST", CHAT, body) as call:
        await call.head()
    world.provider.release()
    assert (await usage(world, key))["total_requests"] == 1


async def test_usage_outlives_the_router(
    tmp_path: Path, provider: ScriptedProvider, served: tuple[ScriptedProvider, int]
) -> None:
    account_key = "mk_" + "a" * 40
    for requests in (1, 2):
        async with started(tmp_path, provider, served[1], account_key=account_key) as world:
            await world.ask(account_key, ASKED)
            found = await usage(world, account_key)
            assert found["total_requests"] == requests


async def test_an_account_sees_each_of_its_users(world: World) -> None:
    key = await world.key()
    await world.ask(key, ASKED)
    listed = (await world.client(world.account_key).get("/v1/keys")).json["keys"]
    [id] = [k["id"] for k in listed if not k["account"]]
    assert (await usage(world, world.account_key, f"?key={id}"))["total_requests"] == 1
    assert (await usage(world, world.account_key))["total_requests"] == 0
    other = await world.key()
    assert (await world.client(other).get(f"{USAGE}?key={id}")).status == 403


class DeafDirectory:
    """A directory that takes no usage."""

    def __init__(self, directory: Any) -> None:
        self._directory = directory

    def __getattr__(self, name: str) -> Any:
        return getattr(self._directory, name)

    async def add_usage(self, rows: Any) -> None:
        raise StoreError("The disk is full")

    async def usage(self, *_: Any) -> Any:
        raise StoreError("The disk is full")


async def test_counting_is_never_in_the_way(
    tmp_path: Path, provider: ScriptedProvider, served: tuple[ScriptedProvider, int]
) -> None:
    def wrap(parts: Parts) -> Parts:
        directory: Any = DeafDirectory(parts.directory)
        return replace(parts, directory=directory)

    async with started(tmp_path, provider, served[1], wrap=wrap) as world:
        key = await world.key()
        await change(world, key, quota_tokens=5)
        assert (await world.ask(key, ASKED)).status == 200
        assert (await world.client(key).get(USAGE)).status == 500


async def test_counting_costs_next_to_nothing(world: World) -> None:
    """A sum in a dict: a hundred thousand of them are no second, and one row."""
    from memrouter.domain import UsageRow  # noqa: PLC0415
    from memrouter.edge.usage import Meter  # noqa: PLC0415

    key = await world.key()
    record = await world.parts.directory.key(auth.digest(key))
    assert record is not None
    meter = Meter(world.parts.directory, world.clock)
    day = world.clock.now().date()
    began = time.perf_counter()
    for _ in range(10_000):
        meter.add(
            UsageRow(key=record.id, day=day, model="m", measured=True, requests=1, input_tokens=1)
        )
    assert time.perf_counter() - began < 1
    await meter.flush()
    assert (await usage(world, key))["by_model"]["m"]["requests"] == 10_000


# --- limits ---


async def test_a_used_up_quota_is_402_with_a_hint(world: World) -> None:
    key = await world.key()
    await change(world, key, quota_tokens=5)
    assert (await world.ask(key, ASKED)).status == 200
    asked = len(world.provider.requests)
    for path, body in (
        (CHAT, {"model": "gpt-5.5", "messages": TURN}),
        ("/v1/embeddings", {"model": "x", "input": "y"}),
        ("/v1/memory/prepare", {"messages": TURN}),
        ("/v1/memory/ingest", {"messages": TURN}),
    ):
        answer = await world.client(key).post(path, body)
        assert answer.status == 402, path
        assert "quota" in answer.json["error"]
        assert "2026-07-01" in answer.json["hint"]
    assert len(world.provider.requests) == asked
    for path in ("/v1/memory/stats", "/v1/memory/export", USAGE, "/v1/models"):
        assert (await world.client(key).get(path)).status == 200, path
    assert (await world.client(key).send("DELETE", "/v1/memory")).status == 200
    await change(world, key, quota_tokens=0)
    assert (await world.ask(key, ASKED)).status == 200


async def test_402_and_429_in_the_providers_own_shapes(world: World) -> None:
    key = await world.key()
    await change(world, key, quota_tokens=1)
    await world.ask(key, ASKED)
    path, body, _ = FORMATS["messages"]
    answer = await world.client(key).post(path, body)
    assert (answer.status, answer.json["error"]["type"]) == (402, "billing_error")
    path, body, _ = FORMATS["gemini"]
    answer = await world.client(key).post(path, body)
    assert (answer.status, answer.json["error"]["code"]) == (402, 402)
    await change(world, key, quota_tokens=0, rate_per_minute=1)
    path, body, _ = FORMATS["messages"]
    answers = [await world.client(key).post(path, body) for _ in range(2)]
    assert answers[1].status == 429
    assert answers[1].json["error"]["type"] == "rate_limit_error"


async def test_a_new_month_starts_anew(world: World) -> None:
    key = await world.key()
    await change(world, key, quota_tokens=1)
    await world.ask(key, ASKED)
    assert (await world.ask(key, ASKED)).status == 402
    world.clock.advance(days=26)
    assert (await world.ask(key, ASKED)).status == 200


async def test_a_rate_limit_is_429_with_retry_after(world: World) -> None:
    key, other = await world.key(), await world.key()
    await change(world, key, rate_per_minute=3)
    answers = [await world.ask(key, ASKED) for _ in range(4)]
    assert [answer.status for answer in answers] == [200, 200, 200, 429]
    assert 1 <= int(answers[3].headers["retry-after"]) <= 20
    assert set(answers[3].json) == {"error", "hint"}
    assert (await world.client(key).get("/v1/memory/stats")).status == 429
    assert (await world.client(key).get(USAGE)).status == 200
    assert (await world.ask(other, ASKED)).status == 200


async def test_the_quota_is_that_of_all_processes(
    tmp_path: Path, provider: ScriptedProvider, served: tuple[ScriptedProvider, int]
) -> None:
    account_key = "mk_" + "a" * 40
    async with (
        started(tmp_path, provider, served[1], account_key=account_key) as one,
        started(tmp_path, provider, served[1], account_key=account_key) as other,
    ):
        one.account_key = account_key
        key = await one.key()
        await change(one, key, quota_tokens=5)
        assert (await one.ask(key, ASKED)).status == 200
        await usage(one, key)  # writes what was counted
        assert (await other.ask(key, ASKED)).status == 402


async def test_usage_is_written_every_second(world: World) -> None:
    key = await world.key()
    await world.ask(key, ASKED)
    record = await world.parts.directory.key(auth.digest(key))
    assert record is not None
    day = world.clock.now().date()
    rows: list[Any] = []

    async def look() -> None:
        while not rows:
            rows.extend(await world.parts.directory.usage(record.id, day, day))
            await asyncio.sleep(0.02)

    looking = asyncio.create_task(look())
    await until(lambda: bool(rows), timeout_s=5)
    await looking
