"""Counting: what an exchange used, what is read of answers that memory does not read, the sums."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any, cast

import pytest

from memrouter.domain import AccountId, KeyId, KeyRecord, Recall, Reply, Target, Usage, VaultId
from memrouter.edge import usage
from memrouter.edge.asgi import Request, Send
from memrouter.edge.auth import Shown
from memrouter.edge.callers import Caller
from memrouter.edge.exchange import Endpoint, Exchange
from memrouter.edge.outcome import Outcome
from memrouter.edge.usage import Meter, PassedUsage, StreamedUsage, row_of
from memrouter.errors import StoreError
from memrouter.ports import UsageRow
from memrouter.testing.clock import FixedClock
from memrouter.testing.directory import MemoryDirectory
from memrouter.upstream.target import Sent
from memrouter.wire.anthropic_messages import AnthropicMessages
from memrouter.wire.format import WireFormat
from memrouter.wire.gemini_generate import GeminiGenerate
from memrouter.wire.openai_chat import OpenAIChat
from memrouter.wire.openai_responses import OpenAIResponses

KEY = KeyId("key_1")
TODAY = date(2026, 6, 5)
RECORD = KeyRecord(
    id=KEY,
    account=AccountId("a"),
    vault=VaultId("v"),
    name="n",
    is_account=False,
    created=datetime(2026, 6, 5, tzinfo=UTC),
    masked="mk_…",
)
SAID = {"messages": [{"role": "user", "content": "one two three four five six seven eight"}]}


def exchange(
    wire: WireFormat | None = None, *, method: str = "POST", model: str = "gpt-5.5", **outcome: Any
) -> Exchange:
    request = Request(method=method, path="/v1/x", query="", headers=[])
    return Exchange(
        request=request,
        endpoint=Endpoint(wire=wire),
        send=cast("Send", None),
        outcome=Outcome(surface="v1", request_id="req_1", **outcome),
        caller=Caller(key=RECORD, shown=Shown(key="mk_x", mode=None, sent=Sent())),
        body=SAID if wire else {},
        target=Target(provider="openai", url="https://x/"),
        model=model,
    )


# --- the row of an exchange ---


def test_the_providers_figures_are_taken() -> None:
    x = exchange(OpenAIChat(), recall=Recall(tokens=7), prompt_tokens=99)
    row = row_of(x, Reply(complete=True, usage=Usage(input_tokens=30, output_tokens=5)), TODAY)
    assert row == UsageRow(
        key=KEY,
        day=TODAY,
        model="openai/gpt-5.5",
        measured=True,
        requests=1,
        input_tokens=30,
        output_tokens=5,
        memory_tokens=7,
    )


COUNTED: dict[str, tuple[Reply | None, dict[str, Any], tuple[int, int]]] = {
    "no usage": (Reply(text="a b c d", complete=True), {"prompt_tokens": 50}, (50, 4)),
    "no usage, memory added": (
        Reply(text="a b c d", complete=True),
        {"prompt_tokens": 50, "recall": Recall(tokens=10)},
        (60, 4),
    ),
    "no reply": (None, {"prompt_tokens": 50}, (50, 0)),
    "broken off": (Reply(text="a b c d"), {"prompt_tokens": 50}, (50, 4)),
    "broken off after the prompt was counted": (
        Reply(text="a b c d", usage=Usage(input_tokens=77, output_tokens=1)),
        {"prompt_tokens": 50},
        (77, 4),
    ),
    "broken off, more counted than seen": (
        Reply(text="a", usage=Usage(input_tokens=77, output_tokens=40)),
        {"prompt_tokens": 50},
        (77, 40),
    ),
    "figures that are zero": (
        Reply(text="a b c d", complete=True, usage=Usage()),
        {"prompt_tokens": 50},
        (50, 4),
    ),
    "figures of the answer alone": (
        Reply(text="a b c d", complete=True, usage=Usage(output_tokens=9)),
        {"prompt_tokens": 50},
        (50, 9),
    ),
    "memory was off": (Reply(complete=True), {}, (14, 0)),
}


@pytest.mark.parametrize(("reply", "outcome", "counts"), COUNTED.values(), ids=COUNTED)
def test_our_counts_where_there_are_none(
    reply: Reply | None, outcome: dict[str, Any], counts: tuple[int, int]
) -> None:
    row = row_of(exchange(OpenAIChat(), **outcome), reply, TODAY)
    assert not row.measured
    assert row.requests == 1
    assert (row.input_tokens, row.output_tokens) == pytest.approx(counts, abs=3)


def test_a_model_that_nobody_named() -> None:
    assert row_of(exchange(model=""), None, TODAY).model == "openai"


# --- reading streams that memory does not read ---


def sse(*events: Any, end: str = "\n\n") -> bytes:
    lines = [e if isinstance(e, str) else json.dumps(e) for e in events]
    return "".join(f"data: {line}{end}" for line in lines).encode()


def chat(words: int, usage: Any = None) -> bytes:
    def event(delta: Any, reason: Any = None) -> Any:
        return {"id": "c", "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}

    events = [event({"content": f"word{i} "}) for i in range(words)]
    ends = [event({}, "stop"), *([{"choices": [], "usage": usage}] if usage else []), "[DONE]"]
    return sse(*events, *ends)


def anthropic(words: int) -> bytes:
    def delta(i: int) -> Any:
        text = {"type": "text_delta", "text": f"word{i} "}
        return {"type": "content_block_delta", "index": 0, "delta": text}

    start = {"type": "message_start", "message": {"id": "m", "usage": {"input_tokens": 41}}}
    block = {"type": "content_block_start", "index": 0, "content_block": {"type": "text"}}
    end = {
        "type": "message_delta",
        "delta": {"stop_reason": "end_turn"},
        "usage": {"output_tokens": words},
    }
    return sse(start, block, *map(delta, range(words)), end, {"type": "message_stop"})


def responses(words: int) -> bytes:
    deltas = [{"type": "response.output_text.delta", "delta": f"word{i} "} for i in range(words)]
    text = "".join(f"word{i} " for i in range(words))
    said = {"type": "message", "content": [{"type": "output_text", "text": text}]}
    whole = {
        "id": "r",
        "status": "completed",
        "instructions": "be brief " * 9000,
        "output": [said],
        "usage": {"input_tokens": 41, "output_tokens": words, "total_tokens": 41 + words},
    }
    return sse(*deltas, {"type": "response.completed", "response": whole})


def gemini(words: int) -> bytes:
    def event(i: int) -> Any:
        part = {"content": {"role": "model", "parts": [{"text": f"word{i} "}]}}
        if i == words - 1:
            part["finishReason"] = "STOP"  # type: ignore[assignment]
        counts = {"promptTokenCount": 41, "candidatesTokenCount": i + 1}
        return {"candidates": [part], "usageMetadata": counts}

    return sse(*map(event, range(words)), end="\r\n\r\n")


CHAT_USAGE = {"prompt_tokens": 41, "completion_tokens": 3000, "total_tokens": 3041}
STREAMS: dict[str, tuple[WireFormat, bytes, int]] = {
    "chat": (OpenAIChat(), chat(3000, CHAT_USAGE), 3000),
    "chat, short": (OpenAIChat(), chat(3, CHAT_USAGE | {"completion_tokens": 3}), 3000),
    "anthropic": (AnthropicMessages(), anthropic(3000), 3000),
    "anthropic, short": (AnthropicMessages(), anthropic(3), 3),
    "responses, the last event is most of it": (OpenAIResponses(), responses(3000), 3000),
    "responses, short": (OpenAIResponses(), responses(3), 3),
    "gemini, cr lf": (GeminiGenerate(), gemini(3000), 3000),
    "gemini, short": (GeminiGenerate(), gemini(3), 3),
}


def read(wire: WireFormat, data: bytes, cuts: Sequence[int] = ()) -> Reply:
    reader = StreamedUsage(wire)
    ends = [0, *sorted(cuts), len(data)]
    for start, end in itertools.pairwise(ends):
        reader.feed(data[start:end])
    assert not reader.done
    return reader.finish()


@pytest.mark.parametrize("blocks", [1, 7, 400])
@pytest.mark.parametrize(("wire", "data", "answered"), STREAMS.values(), ids=STREAMS)
def test_the_figures_of_a_stream(wire: WireFormat, data: bytes, answered: int, blocks: int) -> None:
    cuts = random.Random(blocks).sample(range(len(data)), min(blocks - 1, len(data) // 2))
    reply = read(wire, data, cuts)
    assert reply.complete
    assert reply.usage is not None
    assert (reply.usage.input_tokens, reply.usage.output_tokens) == (41, answered)


@pytest.mark.parametrize("words", [3, 3000])
def test_without_figures_the_text_is_read(words: int) -> None:
    reply = read(OpenAIChat(), chat(words))
    assert reply.complete
    assert reply.usage is None
    assert reply.text == "".join(f"word{i} " for i in range(words))


def test_a_stream_that_broke_off_is_not_complete() -> None:
    data = anthropic(3000)
    reply = read(AnthropicMessages(), data[: len(data) // 2])
    assert not reply.complete
    assert reply.usage is not None
    assert reply.usage.input_tokens == 41


def test_of_a_huge_stream_little_is_held() -> None:
    reader = StreamedUsage(OpenAIChat())
    block = chat(1000).removesuffix(b"data: [DONE]\n\n")
    for _ in range(60):
        reader.feed(block)
    reader.feed(chat(1, CHAT_USAGE))
    assert reader._held_bytes < 2 << 20
    reply = reader.finish()
    assert reply.usage == Usage(input_tokens=41, output_tokens=3000)


@pytest.mark.parametrize(
    "data", [b"", b"\n\n", b"<html>", b"\x00\xff" * 40_000, b"data: {\n\n" * 9]
)
def test_whatever_comes_is_read(data: bytes) -> None:
    assert read(OpenAIChat(), data).usage is None


# --- what is passed through ---

PASSED: dict[str, tuple[bytes, Usage | None]] = {
    "embeddings": (
        b'{"data": [{"embedding": [' + b"0.1," * 9000 + b'0]}], "model": "m", '
        b'"usage": {"prompt_tokens": 8, "total_tokens": 8}}',
        Usage(input_tokens=8),
    ),
    "completion": (
        b'{"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 7, '
        b'"total_tokens": 12, "completion_tokens_details": {"reasoning_tokens": 0}}, "x": 1}',
        Usage(input_tokens=5, output_tokens=7),
    ),
    "transcription": (
        b'{"text": "hi", "usage": {"type": "tokens", "input_tokens": 14, '
        b'"input_token_details": {"audio_tokens": 14}, "output_tokens": 45, "total_tokens": 59}}',
        Usage(input_tokens=14, output_tokens=45),
    ),
    "stream": (
        b'data: {"usage":null}\n\ndata: {"usage": {"prompt_tokens":3,"completion_tokens":4}}\n\n'
        b"data: [DONE]\n\n",
        Usage(input_tokens=3, output_tokens=4),
    ),
    "only a total": (b'{"usage":{"total_tokens":9}}', Usage(input_tokens=9)),
    "seconds": (b'{"usage": {"type": "duration", "seconds": 9}}', None),
    "null": (b'{"usage": null}', None),
    "a number": (b'{"usage": 5}', None),
    "cut": (b'{"usage": {"prompt_tokens": 5', None),
    "absurd": (b'{"usage": {"prompt_tokens": true, "completion_tokens": "9"}}', None),
    "said in a text": (b'{"text": "say \\"usage\\": {\\"prompt_tokens\\": 5}"}', None),
    "none": (b'{"input_tokens": 12}', None),
    "empty": (b"", None),
    "no text": (b'\xff\xfe"usage"\xff', None),
    "deep": (b'{"usage": ' + b"[" * 7000, None),
}


@pytest.mark.parametrize("step", [1, 1000, 1 << 20])
@pytest.mark.parametrize(("data", "used"), PASSED.values(), ids=PASSED)
def test_the_figures_at_the_end_of_any_answer(data: bytes, used: Usage | None, step: int) -> None:
    reader = PassedUsage()
    for at in range(0, len(data), step):
        reader.feed(data[at : at + step])
    reply = reader.finish()
    assert reply.usage == used
    assert reply.complete == (used is not None)


def test_figures_beyond_belief_are_bounded() -> None:
    reader = PassedUsage()
    reader.feed(b'{"usage": {"prompt_tokens": 1' + b"0" * 60 + b"}}")
    reply = reader.finish()
    assert reply.usage is not None
    assert reply.usage.input_tokens == 1 << 40


READERS = {
    "stream of a format": (OpenAIChat(), b"text/event-stream; charset=utf-8", StreamedUsage),
    "stream of none": (None, b"text/event-stream", PassedUsage),
    "json of none": (None, b"application/json", PassedUsage),
    "audio": (None, b"audio/mpeg", None),
    "nothing said": (None, b"", None),
}


@pytest.mark.parametrize(("wire", "kind", "reader"), READERS.values(), ids=READERS)
def test_what_reads_what(wire: WireFormat | None, kind: bytes, reader: type | None) -> None:
    chosen = usage.reader(exchange(wire), kind)
    assert (None if chosen is None else type(chosen)) is reader


def test_a_whole_answer_is_read_by_its_format() -> None:
    chosen = usage.reader(exchange(OpenAIChat()), b"application/json")
    assert chosen is not None
    chosen.feed(json.dumps({"choices": [], "usage": CHAT_USAGE}).encode())
    assert chosen.finish().usage == Usage(input_tokens=41, output_tokens=3000)


# --- the sums ---


class FailingDirectory(MemoryDirectory):
    """Fails as often as it is told."""

    failures = 0
    writes = 0

    async def add_usage(self, rows: Sequence[UsageRow]) -> None:
        self.writes += 1
        if self.failures:
            self.failures -= 1
            raise StoreError("full")
        await asyncio.sleep(0)
        await super().add_usage(rows)

    async def usage(self, key: KeyId, start: date, end: date) -> Sequence[UsageRow]:
        if self.failures:
            self.failures -= 1
            raise StoreError("gone")
        await asyncio.sleep(0)
        return await super().usage(key, start, end)


class World:
    def __init__(self) -> None:
        self.directory = FailingDirectory()
        self.clock = FixedClock()
        self.seconds = 0.0
        self.meter = Meter(self.directory, self.clock, flush_s=0.01, now_s=lambda: self.seconds)

    def use(self, sent: int = 1, **more: Any) -> None:
        fields: dict[str, Any] = {
            "key": KEY,
            "day": self.clock.now().date(),
            "model": "m",
            "measured": True,
            "requests": 1,
            "input_tokens": sent,
            **more,
        }
        self.meter.add(UsageRow(**fields))

    async def rows(self, key: KeyId = KEY) -> list[tuple[str, bool, int, int, int, int]]:
        held = await MemoryDirectory.usage(self.directory, key, date.min, date.max)
        return [
            (r.model, r.measured, r.requests, r.input_tokens, r.output_tokens, r.memory_tokens)
            for r in held
        ]


@pytest.fixture
def world() -> World:
    return World()


async def test_many_requests_are_one_row(world: World) -> None:
    for _ in range(1000):
        world.use(2, output_tokens=3, memory_tokens=1)
    world.use(5, measured=False)
    assert await world.rows() == []
    await world.meter.flush()
    assert await world.rows() == [("m", False, 1, 5, 0, 0), ("m", True, 1000, 2000, 3000, 1000)]
    await world.meter.flush()
    assert world.directory.writes == 1


async def test_what_cannot_be_written_is_written_later(world: World) -> None:
    world.use(2)
    world.directory.failures = 1
    await world.meter.flush()
    assert await world.rows() == []
    world.use(3)
    await world.meter.flush()
    assert await world.rows() == [("m", True, 2, 5, 0, 0)]


async def test_odd_rows_do_not_stop_the_others(world: World) -> None:
    world.use(10**30, model="\ud800" + "x" * 500)
    world.use(-5, model="")
    await world.meter.flush()
    rows = await world.rows()
    assert rows[0] == ("?" + "x" * 199, True, 1, 1 << 40, 0, 0)
    assert rows[1] == (usage.NO_MODEL, True, 1, 0, 0, 0)


async def test_a_directory_that_fails_for_long_does_not_fill_the_memory(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usage, "_MOST_ROWS", 10)
    for i in range(100):
        world.use(1, model=f"model-{i}")
    await world.meter.flush()
    rows = await world.rows()
    assert len(rows) == 11
    assert sum(row[2] for row in rows) == 100


async def test_it_writes_by_itself_and_the_rest_at_the_end(world: World) -> None:
    running = asyncio.create_task(world.meter.run())
    world.use(2)
    async with asyncio.timeout(5):
        while not await world.rows():  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.001)
        world.use(3)
        world.meter.stop()
        await running
    assert await world.rows() == [("m", True, 2, 5, 0, 0)]


async def test_looking_at_lists_is_no_use(world: World) -> None:
    world.meter.add_exchange(exchange(method="GET"), None)
    world.meter.add_exchange(exchange(method="POST"), None)
    await world.meter.flush()
    assert await world.rows() == [("openai/gpt-5.5", False, 1, 0, 0, 0)]


# --- the month ---


async def test_a_month_is_what_was_written_and_what_was_not_yet(world: World) -> None:
    world.clock.set(datetime(2026, 5, 31, tzinfo=UTC))
    world.use(1000)
    await world.meter.flush()
    world.clock.set(datetime(2026, 6, 1, tzinfo=UTC))
    world.use(10, output_tokens=1)
    await world.meter.flush()
    world.use(5)
    world.use(7, key=KeyId("another"))
    assert await world.meter.month_tokens(KEY) == 16
    world.use(2)
    assert await world.meter.month_tokens(KEY) == 18
    assert world.directory.writes == 3


async def test_the_first_of_a_month_starts_anew(world: World) -> None:
    world.use(10)
    assert await world.meter.month_tokens(KEY) == 10
    world.clock.set(datetime(2026, 7, 1, tzinfo=UTC))
    assert await world.meter.month_tokens(KEY) == 0
    world.use(3)
    world.use(100, day=date(2026, 6, 30))  # it began before midnight
    assert await world.meter.month_tokens(KEY) == 3


async def test_what_other_processes_count_is_seen_soon(world: World) -> None:
    assert await world.meter.month_tokens(KEY) == 0
    other = Meter(world.directory, world.clock)
    other.add(UsageRow(key=KEY, day=TODAY, model="m", measured=True, requests=1, input_tokens=50))
    await other.flush()
    assert await world.meter.month_tokens(KEY) == 0
    world.seconds += usage.STALE_S + 0.1
    assert await world.meter.month_tokens(KEY) == 50


async def test_requests_at_once_read_once(world: World) -> None:
    world.use(10)
    seen = await asyncio.gather(*(world.meter.month_tokens(KEY) for _ in range(50)))
    assert set(seen) == {10}
    assert world.directory.writes == 1


async def test_what_is_added_during_the_reading_counts_once(world: World) -> None:
    world.use(10)
    await world.meter.flush()
    reading = asyncio.create_task(world.meter.month_tokens(KEY))
    await asyncio.sleep(0)
    world.use(5)
    flushing = asyncio.create_task(world.meter.flush())
    assert await reading == 15
    await flushing
    assert await world.meter.month_tokens(KEY) == 15
    world.seconds += usage.STALE_S + 0.1
    assert await world.meter.month_tokens(KEY) == 15


async def test_usage_that_cannot_be_read_stops_nobody(world: World) -> None:
    world.directory.failures = 1
    assert await world.meter.month_tokens(KEY) == 0
    world.use(10)
    assert await world.meter.month_tokens(KEY) == 10
    world.seconds += usage.STALE_S + 0.1
    world.directory.failures = 2
    assert await world.meter.month_tokens(KEY) == 10
