"""Answers of our own: JSON and errors, in the shape that the client's SDK understands."""

from __future__ import annotations

import math
from collections.abc import Sequence

import orjson

from memrouter.domain import Json
from memrouter.edge.asgi import Send
from memrouter.errors import MemrouterError
from memrouter.wire.format import WireFormat

JSON_TYPE = (b"content-type", b"application/json")

Headers = Sequence[tuple[bytes, bytes]]


async def send_json(
    send: Send, status: int, body: object, headers: Headers = (), *, head: bool = False
) -> None:
    """Send a JSON answer."""
    data = orjson.dumps(body, option=orjson.OPT_NON_STR_KEYS)
    await send_bytes(send, status, data, (JSON_TYPE, *headers), head=head)


async def send_bytes(
    send: Send, status: int, data: bytes, headers: Headers = (), *, head: bool = False
) -> None:
    """Send a whole answer; `headers` name its content type."""
    length = (b"content-length", str(len(data)).encode())
    start = {"type": "http.response.start", "status": status, "headers": [*headers, length]}
    await send(start)
    await send({"type": "http.response.body", "body": b"" if head else data})


def error_body(error: MemrouterError, wire: WireFormat | None = None) -> Json:
    """What an error says: `{error, hint}`, or a provider's own shape on its endpoints."""
    message, hint = printable(str(error)), printable(error.hint)
    if wire is not None:
        return wire.error(error.status, message, hint)
    return {"error": message, "hint": hint}


def error_headers(error: MemrouterError) -> list[tuple[bytes, bytes]]:
    """Headers that belong to an error."""
    headers = []
    if error.retry_after_s is not None:
        headers.append((b"retry-after", str(max(1, math.ceil(error.retry_after_s))).encode()))
    if error.status == 401:
        headers.append((b"www-authenticate", b'Bearer realm="memrouter"'))
    return headers


async def send_error(
    send: Send, error: MemrouterError, wire: WireFormat | None = None, headers: Headers = ()
) -> None:
    """Send an error of ours."""
    await send_json(send, error.status, error_body(error, wire), [*error_headers(error), *headers])


def printable(text: str) -> str:
    """Text that any JSON encoder takes: lone surrogates become U+FFFD."""
    return text.encode("utf-8", "replace").decode("utf-8")


def header_value(text: str) -> bytes:
    """A text as a header value: one line, UTF-8, no control characters, not too long."""
    line = " ".join(text.split())[:500]
    return (line if line.isprintable() else "".join(filter(str.isprintable, line))).encode()
