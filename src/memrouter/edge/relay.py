"""The one path of a request: who, what mode → recall → inject → provider → bytes back → store.

For every provider, format and mode, memory on or off; what memory does not understand passes
through. Nothing that goes wrong in memory stops a request: it is done within `forgive.attempt`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from time import perf_counter

from memrouter import tokens
from memrouter.domain import Mode, Scope, Turn
from memrouter.edge import asgi, controls, respond
from memrouter.edge.admission import Admission, What
from memrouter.edge.asgi import ClientGone, Receive, Request, Send
from memrouter.edge.callers import Caller, Callers
from memrouter.edge.controls import Controls
from memrouter.edge.delivery import Delivery
from memrouter.edge.embeddings import Embeddings
from memrouter.edge.exchange import Endpoint, Exchange
from memrouter.edge.outcome import Outcome
from memrouter.edge.targets import Targets
from memrouter.errors import BadRequest, MemrouterError, UpstreamError
from memrouter.memory.conversation import Window
from memrouter.memory.engine import Memory, Plan, Prompt
from memrouter.memory.forgive import attempt
from memrouter.ops.logs import logger
from memrouter.ops.metrics import Metrics
from memrouter.wire import raw
from memrouter.wire.format import RawBody, WireFormat

log = logger(__name__)

CLIENT_GONE = 499
"""Status under which a request is counted whose client did not wait for the answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RelaySettings:
    """See config.Config for what each one means."""

    window: Window
    max_body_bytes: int = 64 << 20
    recall_timeout_s: float = 0.25
    max_commits: int = 1_000


class Relay:
    """Relays requests to providers."""

    def __init__(
        self,
        callers: Callers,
        memory: Memory,
        embeddings: Embeddings,
        targets: Targets,
        delivery: Delivery,
        metrics: Metrics,
        admission: Admission,
        settings: RelaySettings,
    ) -> None:
        self._callers = callers
        self._memory = memory
        self._embeddings = embeddings
        self._targets = targets
        self._delivery = delivery
        self._metrics = metrics
        self._settings = settings
        self._admission = admission

    async def __call__(
        self, request: Request, endpoint: Endpoint, receive: Receive, send: Send
    ) -> int:
        """Serve one request; return the status its client got.

        Raises UpstreamError if the provider breaks off after the answer began: the connection to
        the client must then be cut, so that it sees that too.
        """
        outcome = Outcome(
            surface=request.surface, request_id=request.id, started_s=request.started_s
        )
        x = Exchange(request=request, endpoint=endpoint, send=send, outcome=outcome)
        body = _Body(request, receive, self._settings.max_body_bytes)
        if request.watch is None:
            return await self._watched(x, body)
        task = asyncio.current_task()
        assert task is not None
        left = False

        def leave() -> None:
            nonlocal left
            left = task.cancel()

        request.watch(leave)
        try:
            return await self._serve(x, body)
        except ClientGone:
            return CLIENT_GONE
        except asyncio.CancelledError:
            if left and not task.uncancel():
                return CLIENT_GONE
            raise
        finally:
            request.watch(None)

    async def _watched(self, x: Exchange, body: _Body) -> int:
        """Serve under a server that tells of a client's leave only to whoever waits for it."""
        status = CLIENT_GONE
        try:
            async with asyncio.TaskGroup() as group:
                watch = group.create_task(body.gone())
                status = await self._serve(x, body)
                watch.cancel()
        except* ClientGone:
            pass
        except* UpstreamError as broken:
            raise broken.exceptions[0] from None
        return status

    async def _serve(self, x: Exchange, body: _Body) -> int:
        try:
            outgoing = await self._prepare(x, body)
            answer = await self._delivery.ask(x, outgoing)
        except MemrouterError as e:
            if e.status >= 500:
                provider = x.target.provider if x.target else ""
                log.warning(
                    "not relayed", request=x.request.id, provider=provider, error=type(e).__name__
                )
            await respond.send_error(x.send, e, x.wire, x.outcome.headers(perf_counter()))
            return e.status
        await self._delivery.pass_on(x, answer)
        return answer.status

    async def _prepare(self, x: Exchange, body: _Body) -> bytes | AsyncIterator[bytes]:
        """Read the request, let memory add to it, and return what the provider gets."""
        x.caller = await self._callers.identify(x.request)
        if x.wire is None:
            return await self._passed_through(x, x.caller, body)
        data = await body.whole()
        fields: RawBody | None = None
        if x.caller.shown.mode is Mode.OFF and (glanced := raw.glance(data)) is not None:
            x.body, fields = glanced
            x.unread = data
        else:
            x.body = raw.parse(data)
        x.wire.check(x.body)
        asked = self._asked(x, x.caller)
        if not asked.options.off:
            x.whole()
        x.outcome.session = asked.session
        x.outcome.conversation = asked.conversation
        thread = x.wire.conversation(x.body)
        x.scope = await self._callers.scope(x.caller, x.request, asked, thread, body=x.body)
        if asked.embedding:
            stores = asked.options.store_input or asked.options.store_reply
            await self._embeddings.agree(x.scope.vault, asked.embedding, choose=stores)
        written = await self._as_written(x, x.wire, x.caller, data, fields, asked)
        outgoing = await self._with_memory(x, x.wire, x.scope, asked, written)
        return outgoing if isinstance(outgoing, bytes) else raw.join_object(outgoing)

    def _asked(self, x: Exchange, caller: Caller) -> Controls:
        return controls.read(
            suffix=caller.shown.mode,
            headers=x.request.named,
            query=x.request.parameters,
            body=x.body,
            session_headers=self._callers.session_headers(caller),
        )

    async def _passed_through(
        self, x: Exchange, caller: Caller, body: _Body
    ) -> bytes | AsyncIterator[bytes]:
        """Any other request: JSON is read for the model that it names, all else only handed on."""
        request = x.request
        is_json = request.named.get("content-type", "").lower().startswith("application/json")
        if x.endpoint.url is not None:
            x.target = await self._targets.at_url(x.endpoint.url, request, caller)
            return body.blocks()
        if not is_json:
            route = self._targets.route(request, None)
            x.target = await self._targets.at_route(route, request.path, request, caller)
            return body.blocks()
        data = await body.whole()
        model = _model_of(data)
        route = self._targets.route(request, model)
        x.model = route.model or model or ""
        x.target = await self._targets.at_route(route, request.path, request, caller)
        if route.model is None or model is None:
            return data
        return raw.join_object({**raw.split_object(data), "model": raw.encode(route.model)})

    async def _as_written(
        self,
        x: Exchange,
        wire: WireFormat,
        caller: Caller,
        data: bytes,
        split: RawBody | None,
        asked: Controls,
    ) -> bytes | RawBody:
        """Aim the exchange; the body less our fields, the model by its provider's name: as it came
        where nothing of it changes, else taken apart.

        split  the body taken apart, if it was
        """
        path = x.request.path
        fields: RawBody | None = None
        if asked.fields or data.rfind(b'"memory"') >= 0:  # from the end: half the time of `in`
            fields = wire.strip(split or raw.split_object(data), asked.fields)
        x.model = wire.model(x.body, path) or ""
        if x.endpoint.url is not None:
            x.target = await self._targets.at_url(x.endpoint.url, x.request, caller)
        else:
            route = self._targets.route(x.request, x.model)
            if route.model is not None:
                x.model = route.model
                fields, path = wire.with_model(
                    fields or split or raw.split_object(data), path, route.model
                )
            x.target = await self._targets.at_route(route, path, x.request, caller)
        return data if fields is None else fields

    async def _with_memory(
        self, x: Exchange, wire: WireFormat, scope: Scope, asked: Controls, written: bytes | RawBody
    ) -> bytes | RawBody:
        """The body with what memory adds; as it was written where memory is off, or fails."""
        if asked.options.off:
            if x.request.surface == "v3":  # its headers say what was processed
                await attempt(lambda: _counted(x, wire), self._settings.recall_timeout_s, "count")
            return written
        if self._delivery.commits >= self._settings.max_commits:
            self._shed(x, "memory", "store: Overloaded: too many exchanges wait to be stored")
            return written
        tried = await attempt(
            lambda: self._planned(x, wire, scope, asked, written),
            self._settings.recall_timeout_s,
            "recall",
        )
        if tried.value is not None:
            return tried.value
        self._metrics.failed_open.labels("recall", tried.kind).inc()
        x.outcome.error = tried.error
        return written

    async def _planned(
        self, x: Exchange, wire: WireFormat, scope: Scope, asked: Controls, written: bytes | RawBody
    ) -> bytes | RawBody:
        chore = wire.chore(x.body)
        if chore and x.request.surface == "v1":
            return written
        turns, system_tokens = await _counted(x, wire)
        if chore:
            return written
        prompt = Prompt(
            scope=scope,
            turns=turns,
            options=asked.options,
            window=await self._window(x, wire, asked),
            system_tokens=system_tokens,
        )
        x.plan = Plan(prompt=prompt)  # what was said is stored even if recall fails
        assert x.caller is not None
        key, recalls = x.caller.key.id, self._admission.recalls
        if not recalls.take(key):
            self._shed(x, "recall", "recall: Overloaded: too many at a time")
            return written
        try:
            plan = await self._memory.plan(prompt)
        finally:
            recalls.give(key)
        body = _applied(plan, wire, written, x.model or None)
        x.plan = plan
        x.outcome.recall = plan.recall
        x.outcome.context_modified = body is not written
        self._metrics.recalled.inc(len(plan.recall.hits))
        self._metrics.injected.inc(plan.recall.tokens)
        return body

    def _shed(self, x: Exchange, what: What, said: str) -> None:
        """Go on with less memory than was asked for, and say so."""
        self._admission.on_shed(what)
        self._metrics.failed_open.labels(said.partition(":")[0], "Overloaded").inc()
        x.outcome.error = said

    async def _window(self, x: Exchange, wire: WireFormat, asked: Controls) -> Window | None:
        """The bounds of the conversation, where it is to have any."""
        assert x.caller is not None
        if wire.stateful(x.body):
            return None
        named = bool(asked.session or asked.conversation)
        if x.request.surface == "v3" or (named and await self._callers.wants_bounds(x.caller)):
            return self._settings.window
        return None


async def _counted(x: Exchange, wire: WireFormat) -> tuple[tuple[Turn, ...], int]:
    """The turns of a request, and the tokens of its system prompt; all are counted."""
    turns = wire.turns(x.whole())
    system_tokens = tokens.estimate(wire.system_text(x.body))
    x.outcome.prompt_tokens = system_tokens + sum(turn.tokens for turn in turns)
    return turns, system_tokens


def _applied(
    plan: Plan, wire: WireFormat, written: bytes | RawBody, model: str | None
) -> bytes | RawBody:
    """The body with the plan carried out; the very same one if there is nothing to do."""
    if not plan.lead and plan.kept is None and not plan.recall.blocks:
        return written
    fields = raw.split_object(written) if isinstance(written, bytes) else written
    if plan.lead:
        fields = wire.lead(fields, plan.lead)
    if plan.kept is not None:
        fields = wire.keep(fields, plan.kept)
    if plan.recall.blocks:
        fields = wire.inject(fields, plan.recall.blocks, model)
    return raw.join_object(fields)


def _model_of(data: bytes) -> str | None:
    """The model that a JSON body of any endpoint names; None where it names none."""
    try:
        model = raw.parse(data).get("model")
    except BadRequest:
        return None  # the provider's to judge
    return model if isinstance(model, str) else None


class _Body:
    """A request's body, and the notice that its client left; the two share one channel."""

    def __init__(self, request: Request, receive: Receive, limit_bytes: int) -> None:
        self._request = request
        self._receive = receive
        self._limit_bytes = limit_bytes
        self._read = asyncio.Event()

    async def whole(self) -> bytes:
        """All of it. Raises TooLarge, or ClientGone if it breaks off."""
        data = await asgi.read_body(self._request, self._receive, self._limit_bytes)
        self._read.set()
        return data

    async def blocks(self) -> AsyncIterator[bytes]:
        """As it comes."""
        async for block in asgi.body_blocks(self._receive):
            yield block
        self._read.set()

    async def gone(self) -> None:
        """Wait for the client to leave, then raise ClientGone."""
        await self._read.wait()
        await asgi.gone(self._receive)
