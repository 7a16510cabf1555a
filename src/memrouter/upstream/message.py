"""The parts of an HTTP message that we write and read ourselves (pure)."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence

from memrouter.errors import BadRequest

Header = tuple[str, str]
RawHeader = tuple[bytes, bytes]

HOP_BY_HOP = frozenset(
    {
        *("connection", "keep-alive", "proxy-authenticate", "proxy-authorization"),
        *("proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"),
    }
)
"""Headers about one connection, not about the message (RFC 9110, 7.6.1)."""
_RAW_HOP_BY_HOP = frozenset(name.encode() for name in HOP_BY_HOP)
_FRAMING = HOP_BY_HOP | {"host", "content-length", "expect"}
_BODILESS = frozenset({"GET", "HEAD", "OPTIONS", "DELETE", "TRACE"})
_METHOD = re.compile(r"[A-Z][A-Z-]*")
_TARGET = re.compile(r"[!-~]+")


def split_url(url: str) -> tuple[str, str]:
    """Origin and request target of an absolute, encoded URL."""
    start = url.find("/", url.find("://") + 3)
    return (url[:start], url[start:]) if start > 0 else (url, "/")


def write_head(
    method: str,
    path: str,
    route: Mapping[str, str],
    auth: Sequence[Header],
    headers: Sequence[Header],
    body: bytes | AsyncIterator[bytes],
) -> bytes:
    """The head of a request, up to the empty line.

    path     request target: path and query, encoded
    route    what belongs to the connection: `Host`, `Proxy-Authorization`
    auth     headers that replace those of the same name in `headers`
    headers  names in lower case; host, framing and hop-by-hop ones are left out
    raises   BadRequest for what HTTP cannot carry: line ends, characters beyond latin-1
    """
    if not _TARGET.fullmatch(path) or not _METHOD.fullmatch(method):
        raise BadRequest("The URL or method has characters that HTTP cannot carry", "Encode them")
    lines = [f"{method} {path} HTTP/1.1", f"host: {route['Host']}"]
    if "Proxy-Authorization" in route:
        lines.append(f"proxy-authorization: {route['Proxy-Authorization']}")
    left_out = _FRAMING.union([name for name, _ in auth]) if auth else _FRAMING
    lines += [f"{name}: {value}" for name, value in headers if name not in left_out]
    lines += [f"{name}: {value}" for name, value in auth]
    if not isinstance(body, bytes):
        length = declared_length(headers)
        lines.append(
            "transfer-encoding: chunked" if length is None else f"content-length: {length}"
        )
    elif body or method not in _BODILESS:
        lines.append(f"content-length: {len(body)}")
    ends = len(lines) + 1
    lines += ("", "")
    head = "\r\n".join(lines)
    if head.count("\r") != ends or head.count("\n") != ends or "\0" in head:
        raise BadRequest("A header holds a line end", "Send header values of one line")
    try:
        return head.encode("latin-1")
    except UnicodeEncodeError:
        raise BadRequest(
            "A header has a character that HTTP cannot carry", "Encode header values as ASCII"
        ) from None


def declared_length(headers: Sequence[Header]) -> int | None:
    """What `content-length` says; None without one."""
    for name, value in headers:
        if name == "content-length":
            if not (value.isascii() and value.isdigit()):
                raise BadRequest("content-length is not a number", "Mend the request's framing")
            return int(value)
    return None


def end_to_end(raw: Iterable[RawHeader]) -> list[RawHeader]:
    """Headers of an answer less hop-by-hop ones; names in lower case, order and repeats kept."""
    kept: list[RawHeader] = []
    named: set[bytes] = set()
    for name, value in raw:
        lower = name.lower()
        if lower not in _RAW_HOP_BY_HOP:
            kept.append((lower, value))
        elif lower == b"connection":
            named.update(token.strip().lower() for token in value.split(b","))
    if named - _RAW_HOP_BY_HOP - {b"close"}:
        kept = [(name, value) for name, value in kept if name not in named]
    return kept
