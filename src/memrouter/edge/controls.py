"""Memory control of one request: what its key, headers, query and body ask for (pure).

The more specific source wins: body, then query, header, key suffix, default.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from memrouter.domain import Json, MemoryOptions, Mode
from memrouter.edge.headers import identifier
from memrouter.edge.headers import text as header_text
from memrouter.errors import BadRequest

MODES = {
    **{mode.value: mode for mode in Mode},
    "default": Mode.ON,
    "all": Mode.ON,
    "none": Mode.OFF,
}
"""Names of modes in headers, query and body."""
DENSITIES = ("low", "default", "high", "xhigh")
MAX_LIMIT = 1_000

BODY_FIELDS = frozenset(
    {
        *("memory", "memory_mode", "memory_store", "memory_store_response", "memory_limit"),
        *("memory_density", "store_input", "store_response", "session_id", "density"),
        *("context_limit", "embeddings"),
    }
)
"""Top-level fields that are ours; `store`, `user` and `metadata` are the providers'."""

_TRUE = frozenset({"true", "1", "yes", "on"})
_FALSE = frozenset({"false", "0", "no", "off"})
_T = TypeVar("_T")
Sources = tuple[Mapping[str, Any], Mapping[str, Any], Mapping[str, Any]]
Names = tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]

# What is asked → names in body, query and headers. Where a source has two, both count.
_MODE_NAMES = (("memory_mode",), ("mode", "memory_mode"), ("x-memory-mode",))
_SWITCH_NAMES = (("memory",), ("memory",), ())
_INPUT_NAMES = (
    ("memory_store", "store_input"),
    ("store", "store_input", "memory_store"),
    ("x-memory-store", "x-store-input"),
)
_REPLY_NAMES = (
    ("memory_store_response", "store_response"),
    ("store_response", "memory_store_response"),
    ("x-memory-store-response", "x-store-response"),
)
_DENSITY_NAMES = (
    ("density", "memory_density"),
    ("density", "memory_density"),
    ("x-memory-density",),
)
_LIMIT_NAMES = (
    ("context_limit", "memory_limit"),
    ("context_limit", "memory_limit"),
    ("x-context-limit", "x-memory-limit"),
)
_CONVERSATION_NAMES: Names = ((), (), ("x-sm-conversation-id",))
_SESSION_NAMES = (("session_id",), ("session_id",), ("x-session-id",))
_EMBEDDING_NAMES = (("embeddings",), (), ("x-embedding-model",))
_HEADER_NAMES = frozenset(
    name
    for _, _, in_headers in (
        *(_MODE_NAMES, _INPUT_NAMES, _REPLY_NAMES, _DENSITY_NAMES, _LIMIT_NAMES),
        *(_SESSION_NAMES, _CONVERSATION_NAMES, _EMBEDDING_NAMES),
    )
    for name in in_headers
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Controls:
    """What a request asks of memory."""

    options: MemoryOptions
    session: str = ""
    """"" is core."""
    conversation: str = ""
    """From x-sm-conversation-id."""
    embedding: str = ""
    """Name of another embedding model than the default."""
    fields: frozenset[str] = frozenset()
    """Top-level body fields to take out before the request goes on."""


def read(
    *,
    suffix: Mode | None = None,
    headers: Mapping[str, str],
    query: Mapping[str, str],
    body: Json | None = None,
    densities: Collection[str] = DENSITIES,
    session_headers: Collection[str] = (),
) -> Controls:
    """What all sources together ask for.

    suffix           the mode behind the memory key
    headers          name in lower case → value
    query            decoded parameters
    body             the request's body; None where there is none that we read
    session_headers  further headers that may name the session, where the key may use them
    raises           BadRequest that names the allowed values
    """
    ours = BODY_FIELDS.intersection(body) if body else frozenset()
    names = _HEADER_NAMES.union(session_headers) if session_headers else _HEADER_NAMES
    sources: Sources = (
        {name: body[name] for name in ours} if body else {},
        query,
        {name: headers[name] for name in names.intersection(headers)},
    )
    if not any(sources):
        return _UNASKED[suffix]
    mode = _mode(sources) or suffix or Mode.ON
    limit = _first(sources, _LIMIT_NAMES, _limit)
    stores_input = mode.stores and all(_said(sources, _INPUT_NAMES, _boolean))
    stores_reply = mode.stores and all(_said(sources, _REPLY_NAMES, _boolean))

    def density(value: Any, name: str) -> str:
        return _one_of(value, name, {d: d for d in densities})

    options = MemoryOptions(
        recall=mode.recalls and limit != 0,
        store_input=stores_input,
        store_reply=stores_reply,
        density=_first(sources, _DENSITY_NAMES, density) or "default",
        context_limit=limit,
    )
    in_body, in_query, in_headers = _SESSION_NAMES
    session_names = (in_body, in_query, (*in_headers, *session_headers))
    return Controls(
        options=options,
        session=_first(sources, session_names, _identifier) or "",
        conversation=_first(sources, _CONVERSATION_NAMES, _identifier) or "",
        embedding=_first(sources, _EMBEDDING_NAMES, _identifier) or "",
        fields=ours,
    )


_UNASKED: dict[Mode | None, Controls] = {
    suffix: Controls(
        options=MemoryOptions(recall=mode.recalls, store_input=mode.stores, store_reply=mode.stores)
    )
    for suffix, mode in ((None, Mode.ON), *((mode, mode) for mode in Mode))
}
"""What is meant where only the key says anything."""


def user_id(
    headers: Mapping[str, str],
    *,
    names: Collection[str] = ("x-sm-user-id",),
    body: Json | None = None,
    from_url: str = "",
) -> str:
    """The user that a request is for, "" if it names none.

    names     headers that may name the user, the first that is there wins
    body      a body whose `user` counts next; None where it does not
    from_url  what `?userId=` says, which counts last
    """
    for name in names:
        if value := headers.get(name):
            return _identifier(value, name)
    user = body.get("user") if body else None
    if isinstance(user, str) and user.strip():  # anything else is for the provider to judge
        return _identifier(user, "user")
    return _identifier(from_url, "userId") if from_url else ""


def _mode(sources: Sources) -> Mode | None:
    """The mode that the most specific source gives; two in one source allow what both allow."""
    for source, switches, names in zip(sources, _SWITCH_NAMES, _MODE_NAMES, strict=True):
        said = [_switch(source[n], n) for n in switches if _given(source, n)]
        said += [_one_of(source[n], n, MODES) for n in names if _given(source, n)]
        if said:
            return _both(said)
    return None


def _both(modes: list[Mode]) -> Mode:
    recalls = all(mode.recalls for mode in modes)
    stores = all(mode.stores for mode in modes)
    return next(m for m in Mode if m.recalls == recalls and m.stores == stores)


def _said(sources: Sources, names: Names, reader: Callable[[Any, str], _T]) -> list[_T]:
    """What the most specific source that says anything says, by all of its names."""
    for source, called in zip(sources, names, strict=True):
        if source:
            said = [reader(source[name], name) for name in called if _given(source, name)]
            if said:
                return said
    return []


def _first(sources: Sources, names: Names, reader: Callable[[Any, str], _T]) -> _T | None:
    return next(iter(_said(sources, names, reader)), None)


def _given(source: Mapping[str, Any], name: str) -> bool:
    value = source.get(name)
    return value is not None and value != ""


def _switch(value: Any, name: str) -> Mode:
    word = _word(value)
    if word in _TRUE:
        return Mode.ON
    if word in _FALSE:
        return Mode.OFF
    return _one_of(value, name, {**MODES, "true": Mode.ON, "false": Mode.OFF})


def _boolean(value: Any, name: str) -> bool:
    word = _word(value)
    if word in _TRUE or word in _FALSE:
        return word in _TRUE
    raise BadRequest(f"{name} is {_shown(value)}", "Allowed are true and false")


def _limit(value: Any, name: str) -> int:
    try:
        number = int(value) if isinstance(value, str) else value
        whole = not isinstance(number, bool) and int(number) == number
    except (TypeError, ValueError, OverflowError):
        whole = False
    if not whole or not 0 <= number <= MAX_LIMIT:
        raise BadRequest(
            f"{name} is {_shown(value)}", f"Allowed are whole numbers from 0 to {MAX_LIMIT}"
        )
    return int(number)


def _identifier(value: Any, name: str) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise BadRequest(f"{name} is {_shown(value)}", "Use a string")
    # Only headers have hyphens in their names, and bytes instead of characters in their values.
    return identifier(header_text(value) if "-" in name else value, name)


def _one_of(value: Any, name: str, allowed: Mapping[str, _T]) -> _T:
    chosen = allowed.get(_word(value))
    if chosen is None:
        raise BadRequest(f"{name} is {_shown(value)}", f"Allowed are {', '.join(allowed)}")
    return chosen


def _word(value: Any) -> str:
    return str(value).strip().lower() if isinstance(value, str | bool | int) else ""


def _shown(value: Any) -> str:
    text = ascii(value) if isinstance(value, str | int | float | None) else type(value).__name__
    return text if len(text) <= 40 else text[:39] + "…"
