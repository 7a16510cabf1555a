"""Answers pass through as they come; what was said is stored before they end."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from memrouter.testing.provider import ScriptedProvider
from memrouter.testing.script import NOTED, Answer, Prompt

from .conftest import CHAT, World, messages, started, until

FACT = "My dog is called Rex."


def body(*texts: str, **more: Any) -> dict[str, Any]:
    return {"model": "gpt-5.5", "messages": messages(texts), **more}


async def test_a_stream_arrives_as_it_comes(world: World) -> None:
    key = await world.key()
    world.provider.queue(Answer(text="one two three four", hold_after=3))
    async with world.client(key).call("POST", CHAT, body("count", stream=True)) as call:
        assert await call.head() == 200
        assert call.headers["content-type"].startswith("text/event-stream")
        blocks = call.blocks()
        seen = b""
        while b"one" not in seen:
            seen += await anext(blocks)
        assert b"four" not in seen
        world.provider.release()
        seen += b"".join([block async for block in blocks])
    assert seen.endswith(b"data: [DONE]\n\n")
    assert not call.broken


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_what_was_said_is_stored_before_the_answer_ends(world: World, stream: bool) -> None:
    key = await world.key()
    for n in range(5):
        text = f"fact number {n}"
        async with world.client(key).call("POST", CHAT, body(text, stream=stream)) as call:
            async for block in call.blocks():
                last = b"[DONE]" in block if stream else block.endswith(b"}")
                if last:
                    break
            # The last bytes are here, the connection is still open.
            assert (await world.stored(key))[-2:] == [text, NOTED]


async def test_the_bytes_of_a_stream_are_the_providers(world: World) -> None:
    key = await world.key()
    blocks = (
        b": ping\r\n\r\n",
        b'data: {"choices":[{"index":0,"delta":{"content":"a\xe2\x80\xa8b"}}], "odd": 1.0}\r\r',
        b"event: x\ndata: {}\n\n",
        b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n',
        b"data: [DONE]\n\n",
        b"after the end",
    )
    world.provider.queue(Answer(blocks=blocks))
    answer = await world.ask(key, FACT, stream=True)
    assert answer.body == b"".join(blocks)
    assert await world.stored(key) == [FACT, "a\u2028b"]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_a_compressed_answer_stays_compressed_and_is_understood(
    world: World, stream: bool
) -> None:
    key = await world.key()
    world.provider.queue(Answer(text="Understood.", gzip=True))
    client = world.client(key, accept_encoding="gzip, br, zstd")
    answer = await client.post(CHAT, body(FACT, stream=stream))
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.body.startswith(b"\x1f\x8b")
    assert world.provider.requests[-1].header("accept-encoding") == "gzip"
    assert await world.stored(key) == [FACT, "Understood."]


# --- replies that are none ---

BROKEN = {
    "cut in the stream": (Answer(text="one two three four", cut_after=3), True),
    "cut in the body": (Answer(text="one two three four", cut_after_bytes=60), False),
    "an error in the stream": (Answer(text="one two three", error_after=2), True),
}


@pytest.mark.parametrize(("said", "stream"), BROKEN.values(), ids=BROKEN)
async def test_a_reply_that_broke_off_is_not_stored_and_the_client_sees_it(
    world: World, said: Answer, stream: bool
) -> None:
    key = await world.key()
    world.provider.queue(said)
    async with world.client(key).call("POST", CHAT, body(FACT, stream=stream)) as call:
        seen = b"".join([block async for block in call.blocks()])
    assert call.error is None
    assert call.broken is (said.error_after is None)
    assert b"one" in seen or not stream
    await until_stored(world, key, [FACT])
    answer = await world.ask(key, "still there?")
    assert answer.status == 200


async def until_stored(world: World, key: str, texts: list[str]) -> None:
    for _ in range(500):
        if await world.stored(key) == texts:
            return
        await asyncio.sleep(0.01)
    assert await world.stored(key) == texts


ERRORS = {
    "rate limit": Answer(status=429, message="slow down", headers={"retry-after": "7"}),
    "overloaded": Answer(status=529, message="busy"),
    "bad request": Answer(status=400, message="no such model"),
    "no JSON": Answer(status=502, body="<html>Bad gateway</html>"),
    "no body": Answer(status=500, body=b""),
    "a redirect": Answer(status=302, body=b"", headers={"location": "http://127.0.0.1/x"}),
}


@pytest.mark.parametrize("said", ERRORS.values(), ids=ERRORS)
async def test_errors_of_a_provider_come_back_as_they_are(world: World, said: Answer) -> None:
    key = await world.key()
    world.provider.queue(said)
    answer = await world.ask(key, FACT)
    assert answer.status == said.status
    if isinstance(said.body, bytes | str):
        assert answer.body.decode() == (said.body if isinstance(said.body, str) else "")
    else:
        assert said.message in answer.body.decode()
    for name, value in said.headers.items():
        assert answer.headers[name] == value
    assert NOTED not in await world.stored(key)
    assert "<html>Bad gateway</html>" not in await world.stored(key)


async def test_a_provider_that_cannot_be_reached_is_502(world: World) -> None:
    key = await world.key()
    answer = await world.client(key).post(CHAT, {**body("hi"), "model": "ollama/none"})
    assert answer.status == 502
    assert answer.json["error"]
    assert answer.json["hint"]
    assert answer.headers["x-request-id"].startswith("req_")


# --- clients that leave ---


async def test_a_client_that_leaves_ends_the_call_of_the_provider(world: World) -> None:
    key = await world.key()
    world.provider.queue(Answer(text="one two three four", hold_after=2))
    async with world.client(key).call("POST", CHAT, body(FACT, stream=True)) as call:
        blocks = call.blocks()
        await anext(blocks)
    assert call.error is None
    await until(lambda: world.provider.requests[-1].disconnected)
    # What the user said was taken by the provider, so it is remembered; half a reply is not.
    await until_stored(world, key, [FACT])


async def test_a_client_that_leaves_before_the_answer_ends_the_call_too(world: World) -> None:
    key = await world.key()
    world.provider.queue(Answer(text="late", delay_s=30))
    async with world.client(key).call("POST", CHAT, body(FACT)) as call:
        await until(lambda: len(world.provider.requests) == 1)
    assert call.error is None
    assert call.status == 0
    await until(lambda: world.provider.requests[-1].disconnected)
    metrics = (await world.client(key).get("/metrics")).body.decode()
    assert 'status="499"' in metrics


async def test_a_client_that_leaves_while_it_sends_costs_nothing(world: World) -> None:
    key = await world.key()
    huge = body("x" * 5_000_000)
    async with world.client(key).call("POST", CHAT, huge, block_bytes=1000) as call:
        await asyncio.sleep(0.01)
    assert call.error is None
    assert (await world.ask(key, "hi")).status == 200


async def test_many_requests_of_one_person_at_once(world: World) -> None:
    key = await world.key()

    def echo(prompt: Prompt) -> Answer:
        return Answer(text=f"echo {prompt.question}", pause_s=0.001)

    world.provider.script = echo
    answers = await asyncio.gather(
        *(world.ask(key, f"note {n}", stream=bool(n % 2)) for n in range(40))
    )
    assert all(answer.status == 200 for answer in answers)
    assert all("x-memory-error" not in answer.headers for answer in answers)
    for n, answer in enumerate(answers):
        assert f"echo note {n}".split()[-1] in answer.body.decode()
    stored = await world.stored(key)
    assert sorted(stored) == sorted(
        [f"note {n}" for n in range(40)] + [f"echo note {n}" for n in range(40)]
    )


# --- bodies over the limit ---


@pytest.mark.parametrize("says_so", [True, False], ids=["by its length", "as it comes"])
async def test_a_body_over_the_limit_is_refused_and_goes_nowhere(
    tmp_path: Path, provider: ScriptedProvider, served: tuple[ScriptedProvider, int], says_so: bool
) -> None:
    async with started(tmp_path, provider, served[1], max_body_bytes=2_000) as world:
        client = world.client(await world.key())
        big = json.dumps(body("x" * 5_000)).encode()
        length = {"content-length": str(len(big))} if says_so else {"transfer-encoding": "chunked"}
        async with client.call("POST", CHAT, big, length, block_bytes=500) as call:
            answer = b"".join([block async for block in call.blocks()])
        assert call.status == 413
        assert set(json.loads(answer)) == {"error", "hint"}
        assert "2,000 bytes" in json.loads(answer)["error"]
        assert (await client.post(CHAT, body("x" * 500))).status == 200
        assert len(provider.requests) == 1
