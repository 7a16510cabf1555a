"""What of a request's headers and query goes to the provider, and what is ours (pure).

Header names are in lower case throughout, as ASGI hands them over; `decode` makes them text.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from functools import lru_cache
from urllib.parse import unquote_plus

from memrouter.errors import BadRequest
from memrouter.upstream.message import HOP_BY_HOP

Header = tuple[str, str]
Headers = Sequence[Header]

CREDENTIALS = frozenset({"authorization", "x-api-key", "x-goog-api-key"})
"""Chosen anew for the provider, never passed on by themselves: one of them is the memory key."""
OUR_HEADERS = frozenset({"x-session-id", "x-provider-key", "x-context-limit", "x-embedding-model"})
OUR_PREFIXES = ("x-memory-", "x-store-", "x-sm-", "x-supermemory-", "x-openwebui-")
OUR_PARAMETERS = frozenset(
    {
        *("memory", "memory_mode", "mode", "store", "store_input", "store_response"),
        *("memory_store", "memory_store_response", "session_id", "density", "memory_density"),
        *("context_limit", "memory_limit"),
    }
)
V3_PARAMETERS = OUR_PARAMETERS | {"userId", "apiKey"}

_CONNECTION = HOP_BY_HOP | {"host", "content-length", "expect"}
_IN_BETWEEN = frozenset({"cookie", "forwarded", "via", "x-real-ip", "true-client-ip"})
"""What browsers and reverse proxies add for this host: sessions and addresses of people."""
_IN_BETWEEN_PREFIXES = ("x-forwarded-", "cf-access-", "cf-connecting-")
_READABLE = frozenset({"gzip", "x-gzip", "deflate", "identity"})

MAX_ID_CHARS = 256


def decode(raw: Iterable[tuple[bytes, bytes]]) -> list[Header]:
    """Headers as text, byte for byte (latin-1), so that they can be sent on as they came."""
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in raw]


@lru_cache(maxsize=2_048)
def is_forwarded(name: str) -> bool:
    """Whether a request header is the provider's to see."""
    return not (
        name in _CONNECTION
        or name in CREDENTIALS
        or name in OUR_HEADERS
        or name in _IN_BETWEEN
        or name.startswith(OUR_PREFIXES)
        or name.startswith(_IN_BETWEEN_PREFIXES)
    )


def forwarded(
    headers: Headers, *, own: Collection[str] = (), streamed: bool = False
) -> list[Header]:
    """The headers that go to the provider, in order; `Target.headers` come on top.

    own       configured names of headers for user and session: ours too
    streamed  whether the body passes by unread: then its content-length stays
    """
    kept = [
        (name, readable(value) if name == "accept-encoding" else value)
        for name, value in headers
        if is_forwarded(name) or (streamed and name == "content-length")
    ]
    named = hop_by_hop(headers)
    if own or named:
        kept = [header for header in kept if header[0] not in own and header[0] not in named]
    return kept


def hop_by_hop(headers: Headers) -> frozenset[str]:
    """Names that a Connection header lists as being for this hop only."""
    values = [value for name, value in headers if name == "connection"]
    tokens = {token.strip().lower() for value in values for token in value.split(",")}
    return frozenset(tokens - {"", "close", "keep-alive", "content-length"})


@lru_cache(maxsize=256)
def readable(accept_encoding: str) -> str:
    """An Accept-Encoding less what we cannot read a copy of (brotli, zstd)."""
    codings = [coding.strip() for coding in accept_encoding.split(",")]
    kept = [c for c in codings if c.partition(";")[0].strip().lower() in _READABLE]
    if any(c.startswith("*") for c in codings):
        kept = kept or ["gzip", "deflate"]
    return ", ".join(kept) or "identity"


def parameters(query: str) -> dict[str, str]:
    """The parameters of a query string, decoded; of repeated ones the first."""
    found: dict[str, str] = {}
    for part in query.split("&"):
        name, _, value = part.partition("=")
        if name:
            found.setdefault(_plain(name), _plain(value))
    return found


def without(query: str, names: Collection[str]) -> str:
    """A query string without the parameters called `names`; the rest verbatim and in order."""
    if not query:
        return ""
    parts = query.split("&")
    kept = [part for part in parts if _plain(part.partition("=")[0]) not in names]
    return query if len(kept) == len(parts) else "&".join(kept)


def _plain(text: str) -> str:
    return unquote_plus(text) if "%" in text or "+" in text else text


def identifier(value: str, name: str) -> str:
    """A session, user or conversation id as a client gave it, fit to be stored.

    raises BadRequest that names `name`, for ids that are too long or hold control characters
    """
    text = value.strip()
    if len(text) > MAX_ID_CHARS:
        raise BadRequest(
            f"{name} is longer than {MAX_ID_CHARS} characters", "Use a shorter id, as a UUID"
        )
    if not text.isprintable():
        raise BadRequest(f"{name} holds control characters", "Use letters, digits, - and _")
    return text


def text(value: str) -> str:
    """A header's value as its sender meant it: UTF-8 where it is that, else latin-1."""
    if value.isascii():
        return value
    try:
        return value.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return value
