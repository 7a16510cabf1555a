"""Between a provider and its client: the request out, the answer back as it comes, then stored."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from time import perf_counter

from memrouter.domain import Reply
from memrouter.edge import headers, usage_reading
from memrouter.edge.decoding import Decoder
from memrouter.edge.exchange import Exchange
from memrouter.errors import UpstreamError
from memrouter.memory.engine import Memory
from memrouter.memory.forgive import Tried, attempt
from memrouter.memory.historian import Draft
from memrouter.ops.logs import logger
from memrouter.ops.metrics import Metrics
from memrouter.ports import Answer, Stored, Upstream
from memrouter.wire.format import ReplyReader

log = logger(__name__)

_PATIENCE_S = 600.0
"""A commit in the background is given up after this; long histories take seconds to store."""
_GLANCE_S = 0.05
"""How long an answer's head waits to tell what the request added to memory (/v3 only)."""


class Delivery:
    """Delivers requests and answers, and stores exchanges when they end."""

    def __init__(
        self,
        memory: Memory,
        upstream: Upstream,
        metrics: Metrics,
        *,
        own_headers: tuple[str, ...],
        commit_timeout_s: float,
        on_served: Callable[[Exchange, Reply | None], None] = lambda x, reply: None,
    ) -> None:
        """
        own_headers  configured headers that no provider may see
        on_served    told once of each exchange that its provider accepted, when it ends
        """
        self._memory = memory
        self._upstream = upstream
        self._metrics = metrics
        self._own_headers = own_headers
        self._commit_timeout_s = commit_timeout_s
        self._on_served = on_served
        self._commits: set[asyncio.Task[None]] = set()

    @property
    def commits(self) -> int:
        """How many exchanges wait to be stored, or are being stored."""
        return len(self._commits)

    async def drain(self, timeout_s: float) -> None:
        """Wait until everything that was accepted is stored, or a store that hangs is given up."""
        try:
            async with asyncio.timeout(timeout_s):
                while self._commits:
                    await asyncio.wait(self._commits)
        except TimeoutError:
            log.exception("stopped before all was stored", commits=len(self._commits))

    async def ask(self, x: Exchange, body: bytes | AsyncIterator[bytes]) -> Answer:
        """Send the request on and wait for the head of the answer."""
        assert x.target is not None
        streamed = not isinstance(body, bytes)
        sent = headers.forwarded(x.request.headers, own=self._own_headers, streamed=streamed)
        x.outcome.sent_s = perf_counter()
        self._metrics.stages["prepare"].observe(x.outcome.sent_s - x.request.started_s)
        if x.plan is not None:
            x.drafting = asyncio.create_task(self._draft(x))
        try:
            answer = await self._upstream.send(x.request.method, x.target, sent, body)
        except UpstreamError:
            self._metrics.provider_errors.labels(x.target.provider).inc()
            raise
        finally:
            x.outcome.answered_s = perf_counter()
        waited = x.outcome.answered_s - x.outcome.sent_s
        self._metrics.providers[x.target.provider].observe(waited)
        return answer

    async def pass_on(self, x: Exchange, answer: Answer) -> None:
        """Hand the answer on as it comes; hold its end until the exchange is stored."""
        try:
            await self._pass_on(x, answer)
        finally:
            if answer.status < 300:  # whatever ended it: the provider took what the user said
                self._start_commit(x, None)
                if not x.served:
                    self._served(x, x.reader.finish() if x.reader else None)
            await answer.close()

    async def _pass_on(self, x: Exchange, answer: Answer) -> None:
        reader, decoder = _reader(x, answer)
        x.reader = reader
        if x.request.surface == "v3":
            await self._tell_draft(x)
        head = _head(answer, x.outcome.headers(perf_counter()))
        await x.send({"type": "http.response.start", "status": answer.status, "headers": head})
        more = True
        while more:
            block = await answer.read()
            more = not answer.ended
            if reader is not None:
                reader.feed(decoder.decode(block))
                if reader.done or not more:
                    await self._commit(x, reader.finish())
                    reader = None
            await x.send({"type": "http.response.body", "body": block, "more_body": more})

    async def _draft(self, x: Exchange) -> Tried[Draft]:
        assert x.plan is not None
        plan = x.plan
        return await attempt(lambda: self._memory.draft(plan), _PATIENCE_S, "store")

    async def _tell_draft(self, x: Exchange) -> None:
        if x.drafting is None:
            return
        await asyncio.wait({x.drafting}, timeout=_GLANCE_S)
        if x.drafting.done() and (draft := x.drafting.result().value) is not None:
            x.outcome.chunks_created = draft.chunks
            x.outcome.conversation = x.outcome.conversation or draft.conversation
        elif x.drafting.done():
            x.outcome.error = x.outcome.error or x.drafting.result().error

    async def _commit(self, x: Exchange, reply: Reply) -> None:
        """Store the exchange before its end is handed on: the next request must find it."""
        self._served(x, reply)
        task = self._start_commit(x, reply)
        if task is not None:
            await _ended(task, self._commit_timeout_s)

    def _served(self, x: Exchange, reply: Reply | None) -> None:
        x.served = True
        self._on_served(x, reply)

    def _start_commit(self, x: Exchange, reply: Reply | None) -> asyncio.Task[None] | None:
        if x.plan is None or x.committed:
            return None
        x.committed = True
        task = asyncio.create_task(self._store(x, reply))
        self._commits.add(task)
        task.add_done_callback(self._commits.discard)
        return task

    async def _store(self, x: Exchange, reply: Reply | None) -> None:
        began = perf_counter()
        tried = await attempt(lambda: self._stored(x, reply), _PATIENCE_S, "store")
        if tried.value is None:
            self._metrics.failed_open.labels("store", tried.kind).inc()
        else:
            self._metrics.stored.inc(tried.value.turns)
        self._metrics.stages["store"].observe(perf_counter() - began)

    async def _stored(self, x: Exchange, reply: Reply | None) -> Stored:
        assert x.plan is not None
        drafted = await x.drafting if x.drafting is not None else Tried[Draft]()
        return await self._memory.commit(x.plan, drafted.value, reply, x.model)


async def _ended(task: asyncio.Task[None], timeout_s: float) -> None:
    """Wait for a task, or so long: what `asyncio.wait` does for one, at half its cost."""
    loop = asyncio.get_running_loop()
    ended = loop.create_future()

    def tell(_: object = None) -> None:
        if not ended.done():
            ended.set_result(None)

    task.add_done_callback(tell)
    timer = loop.call_later(timeout_s, tell)
    try:
        await ended
    finally:
        timer.cancel()
        task.remove_done_callback(tell)


def _head(answer: Answer, own: Sequence[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """The provider's headers and ours; its request id goes by another name beside ours."""
    names = {name for name, _ in own}
    renamed = [
        (b"x-provider-request-id" if name == b"x-request-id" else name, value)
        for name, value in answer.headers
        if name not in names or name == b"x-request-id"
    ]
    return [*renamed, *own]


def _reader(x: Exchange, answer: Answer) -> tuple[ReplyReader | None, Decoder]:
    """What reads a copy of the answer: for memory, or for its usage alone."""
    kinds = [value for name, value in answer.headers if name == b"content-type"]
    codings = [value for name, value in answer.headers if name == b"content-encoding"]
    decoder = Decoder(codings[0] if codings else b"")
    if answer.status >= 300:
        return None, decoder
    kind = kinds[0].lower() if kinds else b""
    if x.wire is None or x.plan is None:
        return usage_reading.reader(x, kind), decoder
    return x.wire.reader(streamed=kind.startswith(b"text/event-stream")), decoder
