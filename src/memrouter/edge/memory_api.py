"""Memory without a provider call: search and figures of a vault."""

from __future__ import annotations

from typing import Annotated

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from memrouter.domain import Budget, Hit, Scope
from memrouter.edge import bodies, controls
from memrouter.edge.account_api import iso
from memrouter.edge.callers import Callers
from memrouter.memory import windows
from memrouter.memory.finder import Finder
from memrouter.ports import Clock, VaultStore

BODY_BYTES = 1 << 20


class Search(msgspec.Struct, kw_only=True):
    """What `POST /v1/memory/search` is asked for."""

    query: Annotated[str, msgspec.Meta(min_length=1)]
    limit: Annotated[int, msgspec.Meta(ge=1, le=1_000)] = 20
    session_id: str = ""


class MemoryApi:
    """Endpoints of a key's own memory."""

    def __init__(self, callers: Callers, store: VaultStore, finder: Finder, clock: Clock) -> None:
        self._callers = callers
        self._store = store
        self._finder = finder
        self._clock = clock

    def routes(self) -> list[Route]:
        """The endpoints, by path."""
        return [
            Route("/v1/memory/search", self.search, methods=["POST"]),
            Route("/v1/memory/stats", self.stats, methods=["GET"]),
        ]

    async def search(self, request: Request) -> Response:
        """Rank the memories of core, or of one session, by a query."""
        body = await bodies.read(request, BODY_BYTES)
        scope, masked = await self._scope(request)
        asked = bodies.decode(body, Search)
        scope = scope if not asked.session_id else _in_session(scope, asked.session_id)
        found = await self._finder.find(
            scope,
            asked.query,
            budget=Budget(memories=asked.limit, tokens=1 << 40),
            floor=False,
            core=not scope.session,
        )
        now = self._clock.now()
        names = [windows.window(hit.chunk.created, now) for hit in found.hits]
        return bodies.answer(
            {
                "query": asked.query,
                "sessionId": scope.session or None,
                "memoryKey": masked,
                "totalMemories": len(found.hits),
                "tokenCount": sum(hit.chunk.tokens for hit in found.hits),
                "windowBreakdown": {name: names.count(name) for name in windows.NAMES},
                "memories": [_row(hit, n) for hit, n in zip(found.hits, names, strict=True)],
            }
        )

    async def stats(self, request: Request) -> Response:
        """What a vault, or one session of it, holds."""
        scope, masked = await self._scope(request)
        stats = await self._store.stats(scope)
        return bodies.answer(
            {
                "key": masked,
                "memories": stats.memories,
                "total_tokens": stats.total_tokens,
                "oldest": iso(stats.oldest) if stats.oldest else None,
                "newest": iso(stats.newest) if stats.newest else None,
                "sessions": stats.sessions,
                "pending": stats.pending,
            }
        )

    async def _scope(self, request: Request) -> tuple[Scope, str]:
        head = bodies.head(request)
        caller = await self._callers.identify(head)
        asked = controls.read(
            suffix=caller.shown.mode,
            headers=head.named,
            query=head.parameters,
            session_headers=self._callers.session_headers(caller),
        )
        return await self._callers.scope(caller, head, asked), caller.key.masked


def memory_id(number: int) -> str:
    """The public id of a memory."""
    return f"memory_{number}"


def _in_session(scope: Scope, session: str) -> Scope:
    return Scope(vault=scope.vault, session=session)


def _row(hit: Hit, window: str) -> dict[str, object]:
    chunk = hit.chunk
    return {
        "id": memory_id(chunk.turn),
        "role": chunk.role,
        "content": chunk.text,
        "score": round(hit.score, 4),
        "window": window,
        "timestamp": iso(chunk.created),
        "source": chunk.session or "core",
    }
