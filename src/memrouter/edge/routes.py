"""Which endpoint a request is for, and what surrounds each: ids, logs, metrics, errors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from time import perf_counter

from starlette.exceptions import HTTPException
from starlette.routing import Router

from memrouter.edge import asgi, respond
from memrouter.edge.asgi import ClientGone, Message, Receive, Request, Scope, Send
from memrouter.edge.relay import CLIENT_GONE, Relay
from memrouter.errors import (
    BadRequest,
    MemrouterError,
    MethodNotAllowed,
    NotFound,
    UpstreamError,
)
from memrouter.ops.logs import logger
from memrouter.ops.metrics import Metrics
from memrouter.wire.format import WireFormat

log = logger(__name__)

_DOUBLED = re.compile(r"^(?:/+v1)+(?=/v1(?:beta)?/)")
"""A base URL that ends in /v1, under an SDK that adds its own version."""

Formats = Mapping[str, WireFormat]
"""Path under the version → the format spoken there."""


class Tracked:
    """A `send` that knows whether the answer began, and with which status."""

    __slots__ = ("_headers", "_send", "status")

    def __init__(self, send: Send, headers: list[tuple[bytes, bytes]]) -> None:
        self._send = send
        self._headers = headers
        self.status = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [*message.get("headers", ()), *self._headers]
        await self._send(message)


class Edge:
    """The ASGI application: hands each request to the relay or to an endpoint of our own."""

    def __init__(self, relay: Relay, formats: Formats, own: Router, metrics: Metrics) -> None:
        self._relay = relay
        self._formats = formats
        self._own = own
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._own(scope, receive, send)
            return
        request = asgi.read_head(scope)
        path = _DOUBLED.sub("", request.path)
        wire = self._formats.get(path.rstrip("/")) if request.method == "POST" else None
        label = wire.name if wire else "own"
        status = 500
        self._metrics.running.inc()
        try:
            if wire is not None:
                status = await self._relay(request, wire, receive, send)
            else:
                status = await self._serve_own(request, scope, receive, send)
        except UpstreamError as e:  # it broke off; ending here cuts the client off too
            log.warning("provider broke off", request=request.id, exc_info=e)
        finally:
            self._metrics.running.dec()
            self._done(request, label, status)

    async def _serve_own(self, request: Request, scope: Scope, receive: Receive, send: Send) -> int:
        tracked = Tracked(send, [(b"x-request-id", request.id.encode())])
        scope["app"] = self
        scope["memrouter.request"] = request
        try:
            await self._own(scope, receive, tracked)
        except ClientGone:
            return CLIENT_GONE
        except Exception as e:
            error = _as_ours(e, request)
            if error.status >= 500:
                log.exception("request failed", request=request.id, path=_shape(request))
            if tracked.status:
                raise
            await respond.send_error(tracked, error)
        return tracked.status

    def _done(self, request: Request, label: str, status: int) -> None:
        took = perf_counter() - request.started_s
        self._metrics.requests.labels(request.surface, label, str(status)).inc()
        log.info(
            "request",
            request=request.id,
            method=request.method,
            format=label,
            status=status,
            ms=round(took * 1000, 2),
        )


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
