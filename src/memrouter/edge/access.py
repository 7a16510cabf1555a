"""How the memory endpoints come to a vault: who asks, for what, and the parts that serve them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import msgspec
from starlette.requests import Request as StarletteRequest

from memrouter.domain import Json, Scope, UsageRow
from memrouter.edge import bodies, controls
from memrouter.edge.asgi import Request
from memrouter.edge.callers import Caller, Callers
from memrouter.edge.controls import Controls
from memrouter.edge.embeddings import Embeddings
from memrouter.errors import BadRequest
from memrouter.memory.engine import Memory
from memrouter.memory.finder import Finder
from memrouter.memory.historian import Historian
from memrouter.memory.settings import MemorySettings
from memrouter.ports import Clock, VaultStore
from memrouter.wire import raw

T = TypeVar("T")
OnUsed = Callable[[UsageRow], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryParts:
    """What the memory endpoints work with."""

    callers: Callers
    store: VaultStore
    finder: Finder
    historian: Historian
    memory: Memory
    embeddings: Embeddings
    settings: MemorySettings
    clock: Clock
    max_body_bytes: int = 64 << 20
    on_used: OnUsed = lambda row: None
    """Told of the tokens that each request processed, for accounts of usage."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """A request that may use a vault."""

    head: Request
    caller: Caller
    asked: Controls
    scope: Scope
    body: Json
    """{} where the request has none that we read."""

    @property
    def masked(self) -> str:
        """The key as it may be shown."""
        return self.caller.key.masked


async def to_vault(
    parts: MemoryParts, request: StarletteRequest, *, reads_body: bool = False
) -> Access:
    """Who asks, for which vault. Raises Unauthorized, BadRequest or TooLarge.

    reads_body  whether the body is one JSON object; it is read once the caller is known
    """
    head = bodies.head(request)
    caller = await parts.callers.identify(head)
    body: Json = {}
    if reads_body:
        body = raw.parse(await bodies.read(request, parts.max_body_bytes))
    asked = controls.read(
        suffix=caller.shown.mode,
        headers=head.named,
        query=head.parameters,
        body=body,
        session_headers=parts.callers.session_headers(caller),
    )
    scope = await parts.callers.scope(caller, head, asked)
    return Access(head=head, caller=caller, asked=asked, scope=scope, body=body)


def count(
    parts: MemoryParts,
    access: Access,
    *,
    input_tokens: int = 0,
    memory_tokens: int = 0,
    model: str = "",
) -> None:
    """Tell of the tokens that a request processed, by our own counts."""
    parts.on_used(
        UsageRow(
            key=access.caller.key.id,
            day=parts.clock.now().date(),
            model=model,
            measured=False,
            requests=1,
            input_tokens=input_tokens,
            memory_tokens=memory_tokens,
        )
    )


def converted(body: Json, kind: type[T]) -> T:
    """A decoded body as a value of `kind`. Raises BadRequest that says where it is wrong."""
    try:
        return msgspec.convert(body, type=kind)
    except msgspec.ValidationError as e:
        raise BadRequest(f"The body is not as it should be: {e}", "See /openapi.json") from None
