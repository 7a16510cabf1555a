"""Which endpoint a request is for, and what surrounds each: ids, logs, metrics, errors."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from time import perf_counter

from starlette.exceptions import HTTPException
from starlette.routing import Router

from memrouter.edge import asgi, headers, respond
from memrouter.edge.asgi import ClientGone, Message, Receive, Request, Scope, Send
from memrouter.edge.exchange import OURS, PROVIDERS, Endpoint, usual, v1_endpoint
from memrouter.edge.relay import CLIENT_GONE, Relay
from memrouter.edge.targets import Targets
from memrouter.errors import (
    BadRequest,
    MemrouterError,
    MethodNotAllowed,
    NotFound,
    Overloaded,
    UpstreamError,
)
from memrouter.ops import logs
from memrouter.ops.logs import logger
from memrouter.ops.metrics import Metrics
from memrouter.upstream.v3 import format_at
from memrouter.wire.format import WireFormat

log = logger(__name__)


class Tracked:
    """A `send` that knows whether the answer began, and with which status."""

    __slots__ = ("_send", "headers", "status")

    def __init__(self, send: Send) -> None:
        self._send = send
        self.headers: list[tuple[bytes, bytes]] = []
        """To add to the answer."""
        self.status = 0

    def __call__(self, message: Message) -> Awaitable[None]:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [*message.get("headers", ()), *self.headers]
        return self._send(message)


class Edge:
    """The ASGI application: hands each request to the relay or to an endpoint of our own."""

    def __init__(
        self,
        relay: Relay,
        targets: Targets,
        formats: Mapping[str, WireFormat],
        own: Router,
        metrics: Metrics,
    ) -> None:
        """formats  by name; see wire.table"""
        self._relay = relay
        self._targets = targets
        self._formats = formats
        self._own = own
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._own(scope, receive, send)
            return
        request = asgi.read_head(scope)
        if request.path.startswith("/v3/"):
            request.surface = "v3"
        else:
            request.path = scope["path"] = usual(request.path)
        label, status = "own", 500
        tracked = Tracked(send)
        self._metrics.running.inc()
        try:
            endpoint = self._relayed(request)
            if endpoint is None:
                tracked.headers = [(b"x-request-id", request.id.encode())]
                status = await self._serve_own(request, scope, receive, tracked)
            else:
                label = endpoint.label
                status = await self._relay(request, endpoint, receive, tracked)
        except Exception as e:  # noqa: BLE001 - what a bug does to one request is said here
            status = await self._failed(request, tracked, e)
        finally:
            if request.place is not None:
                request.place.leave()
            self._metrics.running.dec()
            self._done(request, label, status)

    async def _failed(self, request: Request, send: Tracked, error: Exception) -> int:
        """Say what went wrong; an answer that began is cut off, so that its client sees that."""
        ours = _as_ours(error, request)
        if send.status:
            kind = "provider broke off" if isinstance(error, UpstreamError) else "answer broke off"
            log.warning(kind, request=request.id, exc_info=error)
            if not isinstance(error, UpstreamError):
                raise error
            return send.status
        if ours.status >= 500 and not isinstance(ours, Overloaded):
            path = _shape(request)
            log.error("request failed", request=request.id, path=path, exc_info=error)
        send.headers = [(b"x-request-id", request.id.encode())]
        spoken = format_at(request.path)
        await respond.send_error(send, ours, self._formats[spoken] if spoken else None)
        return ours.status

    def _relayed(self, request: Request) -> Endpoint | None:
        """The provider's endpoint that is asked for; None where it is one of ours."""
        if request.surface == "v3":
            url = self._targets.url(request)
            request.query = url.query
            request.parameters = headers.parameters(url.query)
            wire = self._formats[url.format] if url.format and request.method == "POST" else None
            return Endpoint(wire=wire, url=url)
        if _is_ours(request):
            return None
        return v1_endpoint(request.method, request.path, self._formats)

    async def _serve_own(
        self, request: Request, scope: Scope, receive: Receive, send: Tracked
    ) -> int:
        scope["app"] = self
        scope["memrouter.request"] = request
        try:
            await self._own(scope, receive, send)
        except ClientGone:
            return CLIENT_GONE
        return send.status

    def _done(self, request: Request, label: str, status: int) -> None:
        took = perf_counter() - request.started_s
        self._metrics.answered[request.surface, label, str(status)].inc()
        logs.line(
            __name__,
            "request",
            {
                "request": request.id,
                "method": request.method,
                "format": label,
                "status": status,
                "ms": round(took * 1000, 2),
            },
        )


def _is_ours(request: Request) -> bool:
    path = request.path
    if path.startswith("/v1/models") and "x-goog-api-client" in request.named:
        return False  # Google's SDKs understand no list but Google's
    if request.method == "GET" and path.startswith("/v1/models/"):
        return True  # the name of a model may hold a colon, where Gemini's actions stand
    return bool(OURS.match(path)) or not PROVIDERS.match(path)


def _shape(request: Request) -> str:
    """The path without what clients put into it: ids and model names."""
    return "/".join(part if len(part) < 20 else "…" for part in request.path.split("/")[:4])


def _as_ours(error: Exception, request: Request) -> MemrouterError:
    if isinstance(error, MemrouterError):
        return error
    if isinstance(error, HTTPException):
        if error.status_code == 405:
            allowed = (error.headers or {}).get("Allow", "")
            return MethodNotAllowed(f"{request.method} is not possible here", f"Use {allowed}")
        if error.status_code == 404:
            return NotFound(
                "There is no such endpoint",
                "See /openapi.json for the endpoints; base URLs end in /v1",
            )
        return BadRequest(str(error.detail))
    return MemrouterError(
        "Something went wrong in memrouter", f"Look for {request.id} in the router's log"
    )
