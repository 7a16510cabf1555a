"""Reads and checks the JSON bodies of our own endpoints."""

from __future__ import annotations

from typing import TypeVar

import msgspec
from starlette.requests import Request as StarletteRequest
from starlette.responses import Response

from memrouter.edge import asgi
from memrouter.edge.asgi import Request
from memrouter.errors import BadRequest

T = TypeVar("T")


def head(request: StarletteRequest) -> Request:
    """The request's head, as the rest of the edge reads it."""
    found: Request = request.scope["memrouter.request"]
    return found


async def read(request: StarletteRequest, limit: int) -> bytes:
    """The body. Raises TooLarge past `limit` bytes."""
    return await asgi.read_body(head(request), request.receive, limit)


def decode(body: bytes, kind: type[T], *, default: bytes = b"") -> T:
    """The body as a value of `kind`; an empty one as `default`. Raises BadRequest."""
    try:
        return msgspec.json.decode(body or default, type=kind)
    except msgspec.ValidationError as e:
        raise BadRequest(f"The body is not as it should be: {e}", "See /openapi.json") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
        raise BadRequest(
            f"The body is not valid JSON: {e}", "Send one JSON object in UTF-8"
        ) from None


def answer(value: object, status: int = 200) -> Response:
    """A JSON answer."""
    return Response(msgspec.json.encode(value), status, media_type="application/json")
