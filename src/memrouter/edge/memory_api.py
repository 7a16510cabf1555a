"""Memory without a provider: search, import, export, look at and clear a vault."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from time import perf_counter
from typing import Literal, cast

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from memrouter.domain import Budget, Hit, Memory
from memrouter.edge import access, asgi, bodies, export
from memrouter.edge.access import Access, MemoryParts
from memrouter.edge.account_api import iso
from memrouter.edge.jsonl import JsonLines
from memrouter.edge.memory_shapes import (
    MAX_FOUND,
    ClearAnswer,
    DeletedMemory,
    FoundMemory,
    MemoryList,
    SearchAnswer,
    SearchRequest,
    StatsAnswer,
    StoredMemory,
    StoredRole,
    UploadAnswer,
    UploadStats,
    WarmupAnswer,
    Windows,
)
from memrouter.edge.upload import Uploads
from memrouter.errors import BadRequest, Forbidden, NotFound, TooLarge
from memrouter.memory import windows

_ID = "memory_"
_MAX_ID = (1 << 63) - 1
_PAGE = 100
_ALL_TOKENS = 1 << 40
_CLEAR_PARAMETERS = frozenset({"reset", "session_id", "key"})


class MemoryApi:
    """Endpoints of a key's own memory. Asked for in so many words, they work in every mode."""

    def __init__(self, parts: MemoryParts) -> None:
        self._parts = parts
        self._store = parts.store
        self._uploads = Uploads(parts.store, parts.historian, parts.memory, parts.clock)

    def routes(self) -> list[Route]:
        """The endpoints, by path."""
        return [
            Route("/v1/memory", self.list_memories, methods=["GET"]),
            Route("/v1/memory", self.clear, methods=["DELETE"]),
            Route("/v1/memory/search", self.search, methods=["POST"]),
            Route("/v1/memory/upload", self.upload, methods=["POST"]),
            Route("/v1/memory/export", self.export, methods=["GET"]),
            Route("/v1/memory/stats", self.stats, methods=["GET"]),
            Route("/v1/memory/warmup", self.warmup, methods=["POST"]),
            Route(f"/v1/memory/{_ID}{{number}}", self.memory, methods=["GET"]),
            Route(f"/v1/memory/{_ID}{{number}}", self.delete, methods=["DELETE"]),
        ]

    async def search(self, request: Request) -> Response:
        """Rank the memories of core, or of one session, by a query."""
        to = await access.to_vault(self._parts, request, reads_body=True)
        asked = access.converted(to.body, SearchRequest)
        await self._parts.embeddings.agree(to.scope.vault, to.asked.embedding)
        now = self._parts.clock.now()
        found = await self._parts.finder.find(
            to.scope,
            asked.query,
            budget=Budget(memories=min(2 * asked.limit, MAX_FOUND), tokens=_ALL_TOKENS),
            floor=False,
            core=not to.scope.session,
            now=now.astimezone(self._parts.settings.zone),
        )
        hits = _best_of_each(found.hits)[: asked.limit]
        names = [windows.window(hit.chunk.created, now) for hit in hits]
        return bodies.answer(
            SearchAnswer(
                query=asked.query,
                session_id=to.scope.session or None,
                memory_key=to.masked,
                total_memories=len(hits),
                token_count=sum(hit.chunk.tokens for hit in hits),
                window_breakdown=Windows(**{name: names.count(name) for name in windows.NAMES}),
                memories=[_found(hit, name) for hit, name in zip(hits, names, strict=True)],
            )
        )

    async def upload(self, request: Request) -> Response:
        """Store the memories of a JSONL body. Over the limits, nothing of it is stored."""
        to = await access.to_vault(self._parts, request)
        if not (to.asked.options.store_input and to.asked.options.store_reply):
            raise Forbidden(
                "This request may not store: its memory mode or its switches say so",
                "Leave out :read, :off and the X-Memory-… headers to upload",
            )
        if to.head.named.get("content-encoding", "identity").lower() != "identity":
            raise BadRequest("The upload is compressed", "Send it as it is, without coding")
        read = JsonLines(to.scope.session, self._parts.clock.now())
        await _read(to, request, read, self._parts.max_body_bytes)
        if not read.count:
            raise BadRequest("The upload is empty", 'Send one JSON object a line: {"content": "…"}')
        new = 0
        if read.items:
            await self._parts.embeddings.agree(to.scope.vault, to.asked.embedding, choose=True)
            new = await self._uploads.store(to.scope.vault, read.items)
        return bodies.answer(_uploaded(to, read, new))

    async def export(self, request: Request) -> Response:
        """The whole vault, or one session of it, as JSONL that can be uploaded again."""
        to = await access.to_vault(self._parts, request)
        return StreamingResponse(
            export.lines(self._store, to.scope),
            media_type="application/x-ndjson",
            headers={"content-disposition": 'attachment; filename="memories.jsonl"'},
        )

    async def stats(self, request: Request) -> Response:
        """What a vault, or one session of it, holds."""
        to = await access.to_vault(self._parts, request)
        stats = await self._store.stats(to.scope)
        return bodies.answer(
            StatsAnswer(
                key=to.masked,
                memories=stats.memories,
                total_tokens=stats.total_tokens,
                oldest=iso(stats.oldest) if stats.oldest else None,
                newest=iso(stats.newest) if stats.newest else None,
                sessions=stats.sessions,
                pending=max(stats.pending, stats.unencoded),
                embeddings=stats.embedder or None,
            )
        )

    async def warmup(self, request: Request) -> Response:
        """Load what recall needs of a vault."""
        to = await access.to_vault(self._parts, request)
        loaded = await self._store.warm(to.scope.vault)
        took_ms = (perf_counter() - to.head.started_s) * 1000
        return bodies.answer(
            WarmupAnswer(
                status="warm", key=to.masked, memories_loaded=loaded, warmup_ms=round(took_ms, 2)
            )
        )

    async def clear(self, request: Request) -> Response:
        """Delete all of a vault, or one session of it; `?reset=true` its embedding model as well.

        Whatever could mean less than all, but does not say so rightly, is refused.
        """
        to = await access.to_vault(self._parts, request)
        named = ("x-session-id", *self._parts.callers.session_headers(to.caller))
        session, reset = _to_clear(to, {*named, "session_id"})
        if reset:
            deleted = await self._store.destroy(to.scope.vault)
        else:
            deleted = await self._store.clear(to.scope.vault, session)
            if to.asked.embedding:
                await self._parts.embeddings.choose(to.scope.vault, to.asked.embedding)
        return bodies.answer(
            ClearAnswer(
                key=to.masked,
                session_cleared=session,
                deleted=deleted,
                reset=reset,
                message=_cleared(session, reset),
            )
        )

    async def list_memories(self, request: Request) -> Response:
        """A page of a vault, or of one session of it, in the order of storing."""
        to = await access.to_vault(self._parts, request)
        limit = _limit(to.head.parameters)
        page = await self._store.memories(
            to.scope,
            after=_after(to.head.parameters),
            limit=limit + 1,
            whole=not to.scope.session,
        )
        more = len(page) > limit
        return bodies.answer(
            MemoryList(
                memories=[_stored(memory) for memory in page[:limit]],
                next=f"{_ID}{page[limit - 1].id}" if more else None,
            )
        )

    async def memory(self, request: Request) -> Response:
        """One memory, whole."""
        _, memory = await self._one(request)
        return bodies.answer(_stored(memory))

    async def delete(self, request: Request) -> Response:
        """Delete one memory; a client that resends it in its history does not bring it back."""
        to, memory = await self._one(request)
        deleted = await self._store.delete(to.scope.vault, memory.id)
        return bodies.answer(DeletedMemory(key=to.masked, id=f"{_ID}{memory.id}", deleted=deleted))

    async def _one(self, request: Request) -> tuple[Access, Memory]:
        to = await access.to_vault(self._parts, request)
        name = request.path_params["number"]
        number = _number(name)
        memory = None if number is None else await self._store.memory(to.scope.vault, number)
        if memory is None or to.scope.session not in ("", memory.session):
            raise NotFound(
                f"There is no memory {ascii(_ID + name)[1:-1][:60]} in this vault",
                "GET /v1/memory lists what there is",
            )
        return to, memory


async def _read(to: Access, request: Request, read: JsonLines, limit_bytes: int) -> None:
    """Read an upload to its end, so that its client gets to see what is wrong with it."""
    size = 0
    wrong: TooLarge | None = None
    length = to.head.named.get("content-length", "")
    if length.isdigit() and int(length) > limit_bytes:
        raise asgi.too_large(limit_bytes)
    async for block in asgi.body_blocks(request.receive):
        size += len(block)
        if size > limit_bytes:
            raise wrong or asgi.too_large(limit_bytes)
        if to.head.place is not None:
            to.head.place.hold(len(block))
        if wrong is None:
            wrong = _feed(read, block)
            await asyncio.sleep(0)  # blocks may lie ready; others get their turn all the same
    wrong = wrong or _feed(read, None)
    if wrong:
        raise wrong


def _feed(read: JsonLines, block: bytes | None) -> TooLarge | None:
    try:
        read.finish() if block is None else read.feed(block)
    except TooLarge as e:
        read.items.clear()
        return e
    return None


def _uploaded(to: Access, read: JsonLines, new: int) -> UploadAnswer:
    stored = len(read.items)
    known = stored - new
    message = f"Stored {stored} memories from {read.count} items"
    return UploadAnswer(
        status="partial" if read.failed else "complete",
        memory_key=to.masked,
        vault="session" if to.scope.session else "core",
        session_id=to.scope.session,
        stats=UploadStats(
            input_items=read.count, memories=stored, stored=stored, failed=read.failed
        ),
        known=known,
        new=new if known else None,
        errors=read.errors,
        errors_left_out=read.failed - len(read.errors),
        message=f"{message}; {known} of them were there already" if known else message,
    )


def _best_of_each(hits: tuple[Hit, ...]) -> list[Hit]:
    """Of each memory the chunk that answers best, best first."""
    best: dict[int, Hit] = {}
    for hit in sorted(hits, key=lambda hit: -hit.score):
        best.setdefault(hit.chunk.turn, hit)
    return list(best.values())


def _to_clear(to: Access, names: Collection[str]) -> tuple[str | None, bool]:
    """(the session to clear, None for all; whether to reset). Raises BadRequest if in doubt.

    names  of the headers and the parameter that may name a session
    """
    parameters = to.head.parameters
    if unknown := sorted(parameters.keys() - _CLEAR_PARAMETERS):
        raise BadRequest(
            f"Unknown parameter {unknown[0]!a}: nothing was deleted",
            "Use reset, and session_id or X-Session-ID",
        )
    session = to.scope.session or None
    if session is None and any(n in parameters or n in to.head.named for n in names):
        raise BadRequest(
            "The session id is empty: nothing was deleted",
            "Name the session, or leave out X-Session-ID to clear all",
        )
    said = parameters.get("reset", "false").strip().lower()
    if said not in ("true", "false", "1", "0", ""):
        raise BadRequest(f"reset is {ascii(said)[:40]}", "Allowed are true and false")
    reset = said in ("true", "1")
    if reset and session is not None:
        raise BadRequest(
            "A session cannot be reset: nothing was deleted",
            "The embedding model is the whole vault's; leave out the session, or reset",
        )
    return session, reset


def _cleared(session: str | None, reset: bool) -> str:
    if session is not None:
        return "Memory of the session cleared"
    return "Memory cleared; any embedding model may fill it anew" if reset else "Memory cleared"


def _limit(parameters: Mapping[str, str]) -> int:
    said = parameters.get("limit", str(_PAGE))
    if not (said.isascii() and said.isdigit() and len(said) < 9 and 1 <= int(said) <= MAX_FOUND):
        raise BadRequest(
            f"limit is {ascii(said)[:40]}", f"Allowed are whole numbers from 1 to {MAX_FOUND}"
        )
    return int(said)


def _after(parameters: Mapping[str, str]) -> int:
    said = parameters.get("after", "")
    number = _number(said.removeprefix(_ID)) if said else 0
    if number is None:
        raise BadRequest(f"after is {ascii(said)[:40]}", "Send `next` of the page before")
    return number


def _number(text: str) -> int | None:
    """The number of a memory's id; None if it is none."""
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        return None
    return number if (number := int(text)) <= _MAX_ID else None


def _found(hit: Hit, window: str) -> FoundMemory:
    chunk = hit.chunk
    return FoundMemory(
        id=f"{_ID}{chunk.turn}",
        role=cast("StoredRole", chunk.role),
        content=chunk.text,
        score=round(hit.score, 4),
        window=cast("Literal['hot', 'working', 'longterm']", window),
        timestamp=iso(chunk.created),
        source=chunk.session or "core",
    )


def _stored(memory: Memory) -> StoredMemory:
    return StoredMemory(
        id=f"{_ID}{memory.id}",
        role=cast("StoredRole", memory.role),
        content=memory.text,
        timestamp=iso(memory.created),
        session_id=memory.session or None,
        conversation_id=memory.conversation or None,
        model=memory.model or None,
        tokens=memory.tokens,
    )
