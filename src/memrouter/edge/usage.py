"""Counts what each key uses: a request only adds, every second it is written to the directory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from time import perf_counter

from memrouter import tokens
from memrouter.domain import KeyId, Reply, Usage, UsageRow
from memrouter.edge.exchange import Exchange
from memrouter.errors import StoreError
from memrouter.ops.logs import logger
from memrouter.ports import Clock, Directory

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
    return count if 0 <= count <= _MOST_TOKENS else min(max(count, 0), _MOST_TOKENS)


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
        body = x.whole()
        prompt = tokens.estimate(x.wire.system_text(body))
        prompt += sum(turn.tokens for turn in x.wire.turns(body))
    answered = tokens.estimate(reply.text) if reply else 0
    return Usage(
        input_tokens=said.input_tokens or prompt + memory_tokens,
        output_tokens=max(said.output_tokens, answered),
        measured=False,
    )
