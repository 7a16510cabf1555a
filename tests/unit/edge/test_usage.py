"""Counting: what an exchange used, what is read of answers that memory does not read, the sums."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any, cast

import pytest

from memrouter.domain import (
    AccountId,
    KeyId,
    KeyRecord,
    Recall,
    Reply,
    Target,
    Usage,
    UsageRow,
    VaultId,
)
from memrouter.edge import usage
from memrouter.edge.asgi import Request, Send
from memrouter.edge.auth import Shown
from memrouter.edge.callers import Caller
from memrouter.edge.exchange import Endpoint, Exchange
from memrouter.edge.outcome import Outcome
from memrouter.edge.usage import Meter, row_of
from memrouter.errors import StoreError
from memrouter.testing.clock import FixedClock
from memrouter.testing.directory import MemoryDirectory
from memrouter.upstream.target import Sent
from memrouter.wire.format import WireFormat
from memrouter.wire.openai_chat import OpenAIChat

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
