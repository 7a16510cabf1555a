"""The few pieces of ASGI that the bare endpoints need: read a body, notice a client's leave."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping, Sequence
from typing import Any

from memrouter.errors import BadRequest, TooLarge

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
RawHeaders = Sequence[tuple[bytes, bytes]]


class ClientGone(Exception):
    """The client closed its connection."""


def too_large(limit: int) -> TooLarge:
    """The error for a body over `limit` bytes."""
    return TooLarge(
        f"The body is larger than {limit:,} bytes",
        "Send less at a time, or raise MEMROUTER_MAX_BODY_BYTES",
    )


def header(headers: RawHeaders, name: bytes) -> bytes | None:
    """The first header of this lower-case name."""
    return next((value for key, value in headers if key == name), None)


async def read_body(headers: RawHeaders, receive: Receive, limit: int) -> bytes:
    """The whole request body. Raises TooLarge past `limit` bytes, ClientGone if it breaks off."""
    length = header(headers, b"content-length")
    if length is not None:
        if not length.isdigit():
            raise BadRequest("Content-Length is not a number", "Leave it to your HTTP client")
        if int(length) > limit:
            raise too_large(limit)
    blocks: list[bytes] = []
    size = 0
    async for block in body_blocks(receive):
        size += len(block)
        if size > limit:
            raise too_large(limit)
        blocks.append(block)
    return blocks[0] if len(blocks) == 1 else b"".join(blocks)


async def body_blocks(receive: Receive) -> AsyncIterator[bytes]:
    """The request body as it comes. Raises ClientGone if it breaks off."""
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        if block := message.get("body", b""):
            yield block
        more = message.get("more_body", False)


async def gone(receive: Receive) -> None:
    """Wait for the client to leave, then raise ClientGone. Only after the body was read."""
    while (await receive())["type"] != "http.disconnect":
        pass
    raise ClientGone
