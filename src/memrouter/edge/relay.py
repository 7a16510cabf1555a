"""The one path of a request: who, what mode → recall → inject → provider → bytes back → store.

For every provider, format and mode, memory on or off. Nothing that goes wrong in memory stops a
request: what may go wrong is done within `forgive.attempt`.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from time import perf_counter

from memrouter.domain import Json, MemoryOptions, Reply, Scope, Target
from memrouter.edge import asgi, controls, headers, respond
from memrouter.edge.asgi import ClientGone, Receive, Request, Send
from memrouter.edge.callers import Caller, Callers
from memrouter.edge.controls import Controls
from memrouter.edge.decoding import Decoder
from memrouter.edge.outcome import Outcome
from memrouter.edge.targets import Targets
from memrouter.errors import MemrouterError, UpstreamError
from memrouter.memory.engine import Memory, Plan
from memrouter.memory.forgive import attempt
from memrouter.ops.metrics import Metrics
from memrouter.ports import Answer, Upstream
from memrouter.wire import raw
from memrouter.wire.format import RawBody, ReplyReader, WireFormat

CLIENT_GONE = 499
"""Status under which a request is counted whose client did not wait for the answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RelaySettings:
    """See config.Config for what each one means."""

    max_body_bytes: int = 64 << 20
    recall_timeout_s: float = 0.25
    commit_timeout_s: float = 5.0


@dataclass(slots=True, kw_only=True)
class Exchange:
    """One request on its way through; filled in as it goes."""

    request: Request
    wire: WireFormat
    send: Send
    outcome: Outcome
    body: Json = field(default_factory=dict)
    options: MemoryOptions = field(default_factory=MemoryOptions)
    scope: Scope | None = None
    target: Target | None = None
    plan: Plan | None = None
    """What memory does for it; None where memory is off."""
    model: str = ""
    committed: bool = False


class Relay:
    """Relays requests whose wire format memory understands."""

    def __init__(
        self,
        callers: Callers,
        memory: Memory,
        upstream: Upstream,
        targets: Targets,
        metrics: Metrics,
        settings: RelaySettings,
    ) -> None:
        self._callers = callers
        self._memory = memory
        self._upstream = upstream
        self._targets = targets
        self._metrics = metrics
        self._settings = settings
        self._commits: set[asyncio.Task[None]] = set()

    async def __call__(
        self, request: Request, wire: WireFormat, receive: Receive, send: Send
    ) -> int:
        """Serve one request; return the status its client got.

        Raises UpstreamError if the provider breaks off after the answer began: the connection to
        the client must then be cut, so that it sees that too.
        """
        outcome = Outcome(
            surface=request.surface, request_id=request.id, started_s=request.started_s
        )
        x = Exchange(request=request, wire=wire, send=send, outcome=outcome)
        status = CLIENT_GONE
        try:
            body = await asgi.read_body(request, receive, self._settings.max_body_bytes)
            async with asyncio.TaskGroup() as group:
                watch = group.create_task(asgi.gone(receive))
                status = await self._serve(x, body)
                watch.cancel()
        except* ClientGone:
            pass
        except* UpstreamError as broken:
            raise broken.exceptions[0] from None
        except* MemrouterError as wrong:  # before the group: the body
            error = wrong.exceptions[0]
            assert isinstance(error, MemrouterError)
            status = await self._refuse(x, error)
        return status

    async def drain(self) -> None:
        """Wait until everything that was accepted is stored."""
        while self._commits:
            await asyncio.wait(self._commits)

    async def _serve(self, x: Exchange, body: bytes) -> int:
        try:
            outgoing = await self._prepare(x, body)
            answer = await self._ask(x, outgoing)
        except MemrouterError as e:
            return await self._refuse(x, e)
        try:
            await self._pass_on(x, answer)
        finally:
            self._leave(x, answer)
            await answer.close()
        return answer.status

    async def _refuse(self, x: Exchange, error: MemrouterError) -> int:
        await respond.send_error(x.send, error, x.wire, x.outcome.headers(perf_counter()))
        return error.status

    async def _prepare(self, x: Exchange, body: bytes) -> bytes:
        """Read the request, let memory add to it, and return what the provider gets."""
        request = x.request
        caller = await self._callers.identify(request)
        x.body = raw.parse(body)
        x.wire.check(x.body)
        asked = controls.read(
            suffix=caller.shown.mode,
            headers=request.named,
            query=request.parameters,
            body=x.body,
            session_headers=self._callers.session_headers(caller),
        )
        x.options = asked.options
        x.outcome.session = asked.session
        x.scope = await self._callers.scope(caller, request, asked, x.wire.conversation(x.body))
        await self._aim(x, caller)
        return await self._outgoing(x, body, asked)

    async def _aim(self, x: Exchange, caller: Caller) -> None:
        model = x.wire.model(x.body, x.request.path)
        x.target = await self._targets.of(x.request, caller, model)
        x.model = x.target.model or model or ""

    async def _outgoing(self, x: Exchange, body: bytes, asked: Controls) -> bytes:
        plain = _as_written(x, body, asked)
        if not x.options.off:
            tried = await attempt(
                lambda: self._with_memory(x, plain), self._settings.recall_timeout_s, "recall"
            )
            if tried.value is not None:
                return tried.value
            self._metrics.failed_open.labels("recall", tried.kind).inc()
            x.outcome.error = tried.error
        return plain

    async def _with_memory(self, x: Exchange, plain: bytes) -> bytes:
        """The body with what memory adds to it; may fail, and then adds nothing."""
        assert x.scope is not None
        if x.wire.chore(x.body):
            return plain
        turns = x.wire.turns(x.body)
        x.plan = Plan(scope=x.scope, turns=turns, options=x.options)  # stored even if recall fails
        plan = await self._memory.plan(x.scope, turns, x.options)
        if plan.recall.blocks:
            fields = x.wire.inject(raw.split_object(plain), plan.recall.blocks, x.model or None)
            plain = raw.join_object(fields)
        x.plan = plan
        x.outcome.recall = plan.recall
        self._metrics.recalled.inc(len(plan.recall.hits))
        self._metrics.injected.inc(plan.recall.tokens)
        return plain

    async def _ask(self, x: Exchange, body: bytes) -> Answer:
        """Send the request on and wait for the head of the answer."""
        assert x.target is not None
        sent = headers.forwarded(x.request.headers, own=self._callers.own_headers)
        x.outcome.sent_s = perf_counter()
        self._metrics.stage.labels("prepare").observe(x.outcome.sent_s - x.request.started_s)
        try:
            answer = await self._upstream.send(x.request.method, x.target, sent, body)
        except UpstreamError:
            self._metrics.provider_errors.labels(x.target.provider).inc()
            raise
        finally:
            x.outcome.answered_s = perf_counter()
        waited = x.outcome.answered_s - x.outcome.sent_s
        self._metrics.provider.labels(x.target.provider).observe(waited)
        return answer

    async def _pass_on(self, x: Exchange, answer: Answer) -> None:
        """Hand the answer on as it comes; hold its end until the exchange is stored."""
        reader, decoder = _reader(x, answer)
        head = [*answer.headers, *x.outcome.headers(perf_counter())]
        await x.send({"type": "http.response.start", "status": answer.status, "headers": head})
        async for block in answer.blocks():
            if reader is not None:
                reader.feed(decoder.decode(block))
                if reader.done:
                    await self._commit(x, reader.finish())
                    reader = None
            await x.send({"type": "http.response.body", "body": block, "more_body": True})
        if reader is not None:
            await self._commit(x, reader.finish())
        await x.send({"type": "http.response.body", "body": b"", "more_body": False})

    def _leave(self, x: Exchange, answer: Answer) -> None:
        """Whatever ended the exchange, store what the user said if the provider took it."""
        if answer.status < 300 and not x.committed:
            self._start_commit(x, None)

    async def _commit(self, x: Exchange, reply: Reply) -> None:
        """Store the exchange before its end is handed on: the next request must find it."""
        task = self._start_commit(x, reply)
        if task is not None:
            await asyncio.wait({task}, timeout=self._settings.commit_timeout_s)

    def _start_commit(self, x: Exchange, reply: Reply | None) -> asyncio.Task[None] | None:
        if x.plan is None or x.committed:
            return None
        x.committed = True
        task = asyncio.create_task(self._store(x.plan, reply, x.model))
        self._commits.add(task)
        task.add_done_callback(self._commits.discard)
        return task

    async def _store(self, plan: Plan, reply: Reply | None, model: str) -> None:
        began = perf_counter()
        tried = await attempt(lambda: self._memory.commit(plan, reply, model), _PATIENCE_S, "store")
        if tried.value is None:
            self._metrics.failed_open.labels("store", tried.kind).inc()
        else:
            self._metrics.stored.inc(tried.value.turns)
        self._metrics.stage.labels("store").observe(perf_counter() - began)


_PATIENCE_S = 600.0
"""A commit in the background is given up after this; imports of long histories take seconds."""


def _as_written(x: Exchange, body: bytes, asked: Controls) -> bytes:
    """The body as the client wrote it, less our fields, the model by its provider's name."""
    assert x.target is not None
    ours = asked.fields or b'"memory"' in body
    if not ours and x.target.model is None:
        return body
    fields: RawBody = raw.split_object(body)
    if ours:
        fields = x.wire.strip(fields, asked.fields)
    if x.target.model is not None:
        fields, _ = x.wire.with_model(fields, x.request.path, x.target.model)
    return raw.join_object(fields)


def _reader(x: Exchange, answer: Answer) -> tuple[ReplyReader | None, Decoder]:
    """What reads a copy of the answer; nothing where there is nothing to store."""
    kinds = [value for name, value in answer.headers if name == b"content-type"]
    codings = [value for name, value in answer.headers if name == b"content-encoding"]
    decoder = Decoder(codings[0] if codings else b"")
    if x.plan is None or answer.status >= 300:
        return None, decoder
    streamed = bool(kinds) and kinds[0].lower().startswith(b"text/event-stream")
    return x.wire.reader(streamed=streamed), decoder
