"""Counts what each key uses: a request only adds, every second it is written to the directory."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from time import perf_counter

from memrouter import tokens
from memrouter.domain import Json, KeyId, Reply, Usage
from memrouter.edge.exchange import Exchange
from memrouter.errors import StoreError
from memrouter.ops.logs import logger
from memrouter.ports import Clock, Directory, UsageRow
from memrouter.wire.format import ReplyReader, WireFormat

log = logger(__name__)

FLUSH_S = 1.0
"""What was counted in this time is lost if the process is killed."""
STALE_S = 2.0
"""A month's sum is read anew after this: other processes add to it, too."""
NO_MODEL = "memory"
"""The model of requests that name none, and go to no provider."""

_MOST_ROWS = 50_000
_MOST_TOKENS = 1 << 40  # what any one request may claim, so that sums stay integers
_MODEL_CHARS = 200

_Place = tuple[KeyId, date, str, bool]


@dataclass(slots=True)
class _Month:
    """Tokens of a key since the first of a month."""

    first: date
    tokens: int
    read_s: float


class Meter:
    """Adds up usage."""

    def __init__(
        self,
        directory: Directory,
        clock: Clock,
        *,
        flush_s: float = FLUSH_S,
        stale_s: float = STALE_S,
        now_s: Callable[[], float] = perf_counter,
    ) -> None:
        self._directory = directory
        self._clock = clock
        self._flush_s = flush_s
        self._stale_s = stale_s
        self._now_s = now_s
        self._pending: dict[_Place, list[int]] = {}
        self._months: dict[KeyId, _Month] = {}
        self._writing = asyncio.Lock()
        self._stopping = asyncio.Event()

    def add(self, row: UsageRow) -> None:
        """Count a request. No I/O, and nothing that could fail."""
        place = (row.key, row.day, row.model or NO_MODEL, row.measured)
        sums = self._pending.get(place)
        if sums is None:
            if len(self._pending) >= _MOST_ROWS:  # the directory has not taken any for long
                place = (row.key, row.day, NO_MODEL, row.measured)
            sums = self._pending.setdefault(place, [0, 0, 0, 0])
        sent, received = _bounded(row.input_tokens), _bounded(row.output_tokens)
        sums[0] += row.requests
        sums[1] += sent
        sums[2] += received
        sums[3] += _bounded(row.memory_tokens)
        month = self._months.get(row.key)
        if month is not None and row.day >= month.first:
            month.tokens += sent + received

    def add_exchange(self, x: Exchange, reply: Reply | None) -> None:
        """Count an exchange that a provider served, once it has ended."""
        if x.wire is None and x.request.method != "POST":
            return  # looking at a list of files is no use of a model
        self.add(row_of(x, reply, self._clock.now().date()))

    async def month_tokens(self, key: KeyId) -> int:
        """Tokens of a key in this calendar month, as far as is known here.

        Exact for this process; what others counted is seen within FLUSH_S + STALE_S.
        """
        today = self._clock.now().date()
        first = today.replace(day=1)
        month = self._months.get(key)
        if month is None or self._is_old(month, first):
            async with self._writing:
                month = self._months.get(key)
                if month is None or self._is_old(month, first):
                    month = await self._read(key, first, today)
        return month.tokens

    async def flush(self) -> None:
        """Write what was counted so far. What cannot be written is kept for the next time."""
        async with self._writing:
            await self._write()

    async def run(self) -> None:
        """Write every second, until `stop`."""
        while not self._stopping.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(self._flush_s):
                    await self._stopping.wait()
            await self.flush()

    def stop(self) -> None:
        """Let `run` write the rest, and end."""
        self._stopping.set()

    def _is_old(self, month: _Month, first: date) -> bool:
        return month.first != first or self._now_s() - month.read_s > self._stale_s

    async def _read(self, key: KeyId, first: date, today: date) -> _Month:
        await self._write()
        known = self._months.get(key)
        try:
            rows = await self._directory.usage(key, first, today)
            counted = sum(row.input_tokens + row.output_tokens for row in rows)
        except StoreError as e:  # a request does not fail because it cannot be counted
            log.warning("usage cannot be read", exc_info=e)
            if known is None or known.first != first:
                return _Month(first, 0, self._now_s())
            known.read_s = self._now_s()
            return known
        counted += sum(  # added while the directory was being read
            sums[1] + sums[2]
            for (owner, day, _, _), sums in self._pending.items()
            if owner == key and day >= first
        )
        month = self._months[key] = _Month(first, counted, self._now_s())
        return month

    async def _write(self) -> None:
        rows, self._pending = self._pending, {}
        if not rows:
            return
        try:
            await self._directory.add_usage([_row(place, sums) for place, sums in rows.items()])
        except StoreError as e:
            log.warning("usage cannot be written, will be tried again", exc_info=e)
            for place, sums in rows.items():
                later = self._pending.setdefault(place, [0, 0, 0, 0])
                later[:] = map(sum, zip(later, sums, strict=True))


def _bounded(count: int) -> int:
    return min(max(count, 0), _MOST_TOKENS)


def _row(place: _Place, sums: list[int]) -> UsageRow:
    key, day, model, measured = place
    requests, sent, received, memory = sums
    return UsageRow(
        key=key,
        day=day,
        model=model.encode("utf-8", "replace").decode()[:_MODEL_CHARS],
        measured=measured,
        requests=requests,
        input_tokens=sent,
        output_tokens=received,
        memory_tokens=memory,
    )


# --- of one exchange ---


def row_of(x: Exchange, reply: Reply | None, day: date) -> UsageRow:
    """What an exchange used: by the provider's figures where it gave them, else by our counts.

    reply  None where nothing could be read
    """
    assert x.caller is not None
    assert x.target is not None
    memory = x.outcome.recall.tokens if x.outcome.recall else 0
    usage = reply.usage if reply else None
    measured = reply is not None and reply.complete and usage is not None and usage.input_tokens > 0
    if usage is None or not measured:
        usage = _counted(x, reply, memory)
    return UsageRow(
        key=x.caller.key.id,
        day=day,
        model="/".join(filter(None, (x.target.provider, x.model))),
        measured=measured,
        requests=1,
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        memory_tokens=memory,
    )


def _counted(x: Exchange, reply: Reply | None, memory_tokens: int) -> Usage:
    """Our counts; of a reply that broke off, what its provider said until then if that is more."""
    said = (reply.usage if reply else None) or Usage()
    prompt = x.outcome.prompt_tokens
    if not prompt and x.wire is not None:
        prompt = tokens.estimate(x.wire.system_text(x.body))
        prompt += sum(turn.tokens for turn in x.wire.turns(x.body))
    answered = tokens.estimate(reply.text) if reply else 0
    return Usage(
        input_tokens=said.input_tokens or prompt + memory_tokens,
        output_tokens=max(said.output_tokens, answered),
        measured=False,
    )


_HEAD_BYTES = 8 << 10
_TAIL_BYTES = 16 << 10
_HELD_BYTES = 1 << 20


class StreamedUsage:
    """Reads the usage of a stream that memory does not read; costs next to nothing a block.

    Formats give their figures in the first events and the last ones, so only those are read, at
    the end. Where there are none, the text is read, so that it can be counted.
    """

    __slots__ = ("_dropped", "_head", "_held", "_held_bytes", "_wire", "done")

    def __init__(self, wire: WireFormat) -> None:
        self._wire = wire
        self._head = b""
        self._held: deque[bytes] = deque()
        self._held_bytes = 0
        self._dropped = 0
        self.done = False

    def feed(self, block: bytes) -> None:
        """See ReplyReader.feed."""
        if len(self._head) < _HEAD_BYTES:
            self._head += block[:_HEAD_BYTES]
        self._held.append(block)
        self._held_bytes += len(block)
        while self._held_bytes > _HELD_BYTES and len(self._held) > 1:
            gone = len(self._held.popleft())
            self._held_bytes -= gone
            self._dropped += gone

    def finish(self) -> Reply:
        """See ReplyReader.finish; `text` only where there are no figures."""
        held = b"".join(self._held)
        if self._held_bytes > _HEAD_BYTES + _TAIL_BYTES:
            reply = self._read(_to_last_event(self._head), _from_next_event(held[-_TAIL_BYTES:]))
            if reply.usage is not None and reply.complete:
                return reply
        if self._dropped:
            return self._read(_to_last_event(self._head), _from_next_event(held))
        return self._read(held)

    def _read(self, *blocks: bytes) -> Reply:
        reader = self._wire.reader(streamed=True)
        for block in blocks:
            reader.feed(block)
        return reader.finish()


def _to_last_event(data: bytes) -> bytes:
    end = max(data.rfind(b"\n\n"), data.rfind(b"\r\n\r\n") + 2, data.rfind(b"\r\r"))
    return data[: end + 2] if end > 1 else b""


def _from_next_event(data: bytes) -> bytes:
    ends = [at + len(e) for e in (b"\n\n", b"\r\n\r\n", b"\r\r") if (at := data.find(e)) >= 0]
    return data[min(ends) :] if ends else b""


_LAST_BYTES = 8 << 10


class PassedUsage:
    """Reads the usage at the end of an answer in no format of ours: `"usage": {…}` in its last
    bytes, as OpenAI's other endpoints have it."""

    __slots__ = ("_last", "done")

    def __init__(self) -> None:
        self._last = b""
        self.done = False

    def feed(self, block: bytes) -> None:
        """See ReplyReader.feed."""
        self._last = (self._last + block[-_LAST_BYTES:])[-_LAST_BYTES:]

    def finish(self) -> Reply:
        """See ReplyReader.finish; never any text."""
        _, found, after = self._last.rpartition(b'"usage"')
        if not found:
            return Reply()
        written = after.decode("utf-8", "replace").lstrip().removeprefix(":").lstrip()
        try:
            usage, _ = json.JSONDecoder().raw_decode(written)
        except (ValueError, RecursionError):
            return Reply()
        if not isinstance(usage, dict):
            return Reply()
        sent = _first_count(usage, "prompt_tokens", "input_tokens", "total_tokens")
        received = _first_count(usage, "completion_tokens", "output_tokens")
        received = max(received, _first_count(usage, "total_tokens") - sent)
        found_any = bool(sent or received)
        return Reply(
            complete=found_any,
            usage=Usage(input_tokens=sent, output_tokens=received) if found_any else None,
        )


def _first_count(usage: Json, *names: str) -> int:
    for name in names:
        count = usage.get(name)
        if isinstance(count, int) and not isinstance(count, bool) and count > 0:
            return min(count, _MOST_TOKENS)
    return 0


def reader(x: Exchange, kind: bytes) -> ReplyReader | None:
    """What reads the usage of an answer that memory does not read.

    kind  its content type, lower case
    """
    streamed = kind.startswith(b"text/event-stream")
    if x.wire is not None:
        return StreamedUsage(x.wire) if streamed else x.wire.reader(streamed=False)
    return PassedUsage() if streamed or kind.startswith(b"application/json") else None
