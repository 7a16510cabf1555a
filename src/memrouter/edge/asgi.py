"""The few pieces of ASGI that the bare endpoints need: read a body, notice a client's leave."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, Literal

from memrouter.edge import headers as headers_
from memrouter.edge.admission import Place
from memrouter.errors import BadRequest, TooLarge

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Leave = Callable[[], None]
Watch = Callable[[Leave | None], None]
Surface = Literal["v1", "v3"]

WATCH = "memrouter.watch"
"""The ASGI extension of our connections: a `Watch`, told what to do should the client leave before
its answer has ended; None for nothing."""


@dataclass(slots=True, kw_only=True)
class Request:
    """A request's head, as text."""

    method: str
    path: str
    """Raw: still percent-encoded."""
    query: str
    headers: headers_.Headers
    surface: Surface = "v1"
    id: str = ""
    started_s: float = 0.0
    """perf_counter when it came."""
    named: dict[str, str] = field(default_factory=dict)
    """Header name → first value."""
    place: Place | None = None
    """Its place among those under way, once its caller is known."""
    watch: Watch | None = None
    """Where the server has it; see WATCH."""
    parameters: dict[str, str] = field(default_factory=dict)
    """Query parameters, decoded; of repeated ones the first."""


def read_head(scope: Scope) -> Request:
    """The head of an HTTP request."""
    headers = headers_.decode(scope["headers"])
    query = scope["query_string"].decode("latin-1")
    path = (scope.get("raw_path") or scope["path"].encode()).decode("latin-1")
    return Request(
        method=scope["method"],
        path=path.partition("?")[0],
        query=query,
        headers=headers,
        id=f"req_{os.urandom(12).hex()}",
        started_s=perf_counter(),
        named=dict(reversed(headers)),  # of repeated ones the first
        watch=(scope.get("extensions") or {}).get(WATCH),
        parameters=headers_.parameters(query) if query else {},
    )


class ClientGone(Exception):
    """The client closed its connection."""


def too_large(limit: int) -> TooLarge:
    """The error for a body over `limit` bytes."""
    return TooLarge(
        f"The body is larger than {limit:,} bytes",
        "Send less at a time, or raise MEMROUTER_MAX_BODY_BYTES",
    )


async def read_body(request: Request, receive: Receive, limit: int) -> bytes:
    """The whole request body.

    Raises TooLarge past `limit` bytes, Overloaded if too many are held already, ClientGone if it
    breaks off.
    """
    hold = request.place.hold if request.place is not None else None
    length = request.named.get("content-length")
    if length is not None:
        if not (length.isascii() and length.isdigit() and len(length) < 20):
            raise BadRequest("Content-Length is not a number", "Leave it to your HTTP client")
        if int(length) > limit:
            raise too_large(limit)
        if hold is not None:
            hold(int(length))
            hold = None
    blocks: list[bytes] = []
    size = 0
    more = True
    while more:
        block, more = await _next(receive)
        size += len(block)
        if size > limit:
            raise too_large(limit)
        if hold is not None:
            hold(len(block))
        blocks.append(block)
    return blocks[0] if len(blocks) == 1 else b"".join(blocks)


async def body_blocks(receive: Receive) -> AsyncIterator[bytes]:
    """The request body as it comes. Raises ClientGone if it breaks off."""
    more = True
    while more:
        block, more = await _next(receive)
        if block:
            yield block


async def _next(receive: Receive) -> tuple[bytes, bool]:
    """The next of the body, and whether there is more."""
    message = await receive()
    if message["type"] == "http.disconnect":
        raise ClientGone
    return message.get("body", b""), message.get("more_body", False)


async def gone(receive: Receive) -> None:
    """Wait for the client to leave, then raise ClientGone. Only after the body was read."""
    while (await receive())["type"] != "http.disconnect":
        pass
    raise ClientGone
