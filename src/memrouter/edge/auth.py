"""Who is calling: finding the memory key and the provider's key in a request, making and hiding
keys. Everything but `authenticate` is pure.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field

from memrouter.domain import KeyRecord, Mode
from memrouter.edge.headers import CREDENTIALS, Headers
from memrouter.errors import Unauthorized
from memrouter.ports import Directory
from memrouter.upstream.target import Sent

SUFFIXES = {mode.value: mode for mode in Mode}
"""Key suffix → mode. `default`, `all` and `none` are modes elsewhere, never suffixes."""
KEY = re.compile(r"mk_[A-Za-z0-9_-]{32,200}")
"""The shape of a key that may be stored; keys that are shown may have any."""

_CARRIERS = ("x-memory-key",)
_V3_CARRIERS = ("x-memory-key", "x-supermemory-api-key", "x-supermemory--api-key")
_CREDENTIALS = CREDENTIALS.union(_V3_CARRIERS, ["x-provider-key"])
_HOW = "Send it as `Authorization: Bearer mk_…`, `x-api-key: mk_…` or `X-Memory-Key: mk_…`"
_NOTHING = Sent()
_HOW_V3 = "Send it as `x-supermemory-api-key: mk_…`, and the provider's key where its SDK puts it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """The credentials that a request carries."""

    key: str = field(repr=False)
    """The memory key, `mk_…`, without its suffix."""
    mode: Mode | None
    """What the suffix says."""
    sent: Sent
    """Credentials for the provider."""


def find(headers: Headers, query: Mapping[str, str], *, v3: bool = False) -> Shown:
    """The memory key, first match wins, and what else the client sent to authenticate.

    headers  names in lower case
    query    decoded parameters
    v3       whether the request is on /v3, where further carriers are read
    raises   Unauthorized without a memory key, or with an unknown suffix
    """
    values: dict[str, str] = {}
    for name, value in headers:
        if name in _CREDENTIALS:
            values.setdefault(name, value.strip())
    carriers = _V3_CARRIERS if v3 else _CARRIERS
    bearers = {
        "authorization": values.get("authorization", ""),
        "x-api-key": values.get("x-api-key", ""),
        "x-goog-api-key": values.get("x-goog-api-key", ""),
        "?key=": query.get("key", ""),
    }
    said = [values[name] for name in carriers if values.get(name)]
    if v3 and query.get("apiKey"):
        said.append(query["apiKey"])
    # A header that is for memory keys alone holds one, or is wrong; in the others we look.
    ours = [name for name, value in bearers.items() if value and is_memory_key(value)]
    said = said[:1] or [bearers[name] for name in ours[:1]]
    if not said:
        raise Unauthorized("No memory key", _HOW_V3 if v3 else _HOW)
    key, mode = split(said[0])
    for name in ours:
        bearers[name] = ""
    provider_key = values.get("x-provider-key", "")
    if provider_key and is_memory_key(provider_key):
        provider_key = ""
    if not provider_key and not any(bearers.values()):
        return Shown(key=key, mode=mode, sent=_NOTHING)
    sent = Sent(
        provider_key=provider_key,
        authorization=bearers["authorization"],
        x_api_key=bearers["x-api-key"],
        x_goog_api_key=bearers["x-goog-api-key"],
        query_key=bearers["?key="],
    )
    return Shown(key=key, mode=mode, sent=sent)


def is_memory_key(value: str) -> bool:
    """Whether a header's value holds a memory key, so that no provider may see it."""
    return _bare(value).startswith(("mk_", "mk-"))


def split(value: str) -> tuple[str, Mode | None]:
    """Key and mode of what stands in a header: `Bearer mk-abc:read` → `mk_abc`, Mode.READ.

    raises Unauthorized for an unknown suffix, or if it is no memory key at all
    """
    key, colon, suffix = _bare(value).partition(":")
    if not key.startswith(("mk_", "mk-")):
        raise Unauthorized("This is not a memory key", "Memory keys start with mk_. " + _HOW)
    mode = SUFFIXES.get(suffix.lower()) if colon else None
    if colon and mode is None:
        raise Unauthorized(
            "Unknown memory mode behind the key",
            "Append one of :on, :read, :write or :off, or nothing",
        )
    return f"mk_{key[3:]}", mode


def _bare(value: str) -> str:
    if value[:7] == "Bearer ":
        return value[7:].strip()
    scheme, _, rest = value.partition(" ")
    return rest.strip() if scheme.lower() == "bearer" else value.strip()


async def authenticate(directory: Directory, shown: Shown) -> KeyRecord:
    """The record of the key that was shown; Unauthorized if it is unknown or revoked.

    A wrong key costs what a right one does: one digest, one look-up by it.
    """
    record = await directory.key(digest(shown.key))
    if record is None or record.revoked is not None:
        raise Unauthorized("Invalid Memory Key", "Check the key, or have a new one made")
    return record


def mint() -> str:
    """A new memory key."""
    return "mk_" + secrets.token_urlsafe(32)


def digest(key: str) -> bytes:
    """What of a key is stored: its SHA-256. Keys are random, so a slow hash would add nothing."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()


def masked(key: str) -> str:
    """First and last characters of a key, to recognise it by: `mk_ab…wxyz`."""
    return f"{key[:5]}…{key[-4:]}" if len(key) >= 16 else f"{key[:3]}…"
