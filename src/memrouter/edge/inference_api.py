"""Local inference mode: the app calls its model itself, memory is asked before and told after."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from time import perf_counter

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from memrouter.domain import Json, NewTurn, Scope, Turn
from memrouter.edge import access, bodies
from memrouter.edge.access import Access, MemoryParts
from memrouter.edge.memory_shapes import (
    IngestAnswer,
    IngestRequest,
    Metrics,
    PrepareAnswer,
    PrepareRequest,
)
from memrouter.edge.repeats import Repeats
from memrouter.memory import context, lineage, query
from memrouter.memory.historian import Draft
from memrouter.wire.anthropic_messages import AnthropicMessages
from memrouter.wire.format import WireFormat
from memrouter.wire.openai_chat import OpenAIChat
from memrouter.wire.reading import list_in, objects_in, text_in

_OPENAI: WireFormat = OpenAIChat()
_ANTHROPIC: WireFormat = AnthropicMessages()
_ANTHROPIC_BLOCKS = frozenset(
    {
        *("image", "document", "container_upload", "search_result", "compaction"),
        *("thinking", "redacted_thinking", "tool_use", "tool_result"),
        *("server_tool_use", "mcp_tool_use", "mcp_tool_result", "web_search_tool_result"),
    }
)
"""Types of content that only Anthropic's messages have; plain text is the same in both."""
_LOOKED_BACK = 10_000  # turns of a conversation among which known ones are looked for


@dataclass(frozen=True, slots=True, kw_only=True)
class Recalled:
    """What memory has to say on a prompt."""

    context: str | None = None
    memories: int = 0
    memory_tokens: int = 0
    context_tokens: int = 0


class InferenceApi:
    """The endpoints around an inference that takes place elsewhere."""

    def __init__(self, parts: MemoryParts) -> None:
        self._parts = parts
        self._repeats = Repeats[Recalled]()

    def routes(self) -> list[Route]:
        """The endpoints, by path."""
        return [
            Route("/v1/memory/prepare", self.prepare, methods=["POST"]),
            Route("/v1/memory/ingest", self.ingest, methods=["POST"]),
        ]

    async def prepare(self, request: Request) -> Response:
        """Recall for messages that are about to go to a model; nothing is stored."""
        to = await access.to_vault(self._parts, request, reads_body=True)
        wire = _checked(to.body)
        access.converted(to.body, PrepareRequest)
        await self._parts.embeddings.agree(to.scope.vault, to.asked.embedding)
        turns = wire.turns(to.body)
        recalls = to.asked.options.recall and not wire.chore(to.body)
        recalled = await self._recall(to, turns) if recalls and turns else Recalled()
        sent_tokens = sum(turn.tokens for turn in turns)
        access.count(
            self._parts, to, input_tokens=sent_tokens, memory_tokens=recalled.context_tokens
        )
        return bodies.answer(
            PrepareAnswer(
                context=recalled.context,
                memories_found=recalled.memories,
                memory_tokens=recalled.context_tokens,
                retrieval_tokens=recalled.memory_tokens,
                tokens_billed=sent_tokens + recalled.context_tokens,
                metrics=Metrics(total_ms=round((perf_counter() - to.head.started_s) * 1000, 2)),
            )
        )

    async def ingest(self, request: Request) -> Response:
        """Store an exchange; it is on the disk before this answers."""
        to = await access.to_vault(self._parts, request, reads_body=True)
        wire = _checked(to.body)
        told = access.converted(to.body, IngestRequest)
        turns = wire.turns(to.body)
        sent_tokens = sum(turn.tokens for turn in turns)
        reply_tokens = sum(turn.tokens for turn in turns if turn.role == "assistant")
        options = to.asked.options
        accepted = options.store_input or options.store_reply
        new: list[NewTurn] = []
        if accepted and not wire.chore(to.body):
            await self._parts.embeddings.agree(to.scope.vault, to.asked.embedding, choose=True)
            new = await self._added(to, _wanted(turns, to), told.model or "")
        access.count(self._parts, to, input_tokens=sent_tokens, model=told.model or "")
        return bodies.answer(
            IngestAnswer(
                accepted=accepted,
                queued=any(turn.pieces for turn in new),
                retrieval_tokens=sent_tokens,
                response_tokens=reply_tokens,
                message=_said(accepted, new),
            ),
            202,
        )

    async def _recall(self, to: Access, turns: Sequence[Turn]) -> Recalled:
        """What there is to these turns; the same again, if they are sent again right after.

        Vectors that are made meanwhile, and minutes that pass, change nothing then.
        """
        now = self._parts.clock.now()
        options = to.asked.options
        asked = (
            to.scope.vault,
            lineage.prompt_keys(to.scope, turns)[-1],
            (options.density, options.context_limit),
        )
        signals = await self._parts.store.signals(to.scope)
        held = (len(signals.ids), int(signals.ids.max(initial=0)))
        given = self._repeats.get(asked, held, now)
        if given is not None:
            return given
        return self._repeats.put(asked, held, now, await self._recall_anew(to, turns, now))

    async def _recall_anew(self, to: Access, turns: Sequence[Turn], now: datetime) -> Recalled:
        settings = self._parts.settings
        found = await self._parts.finder.find(
            to.scope,
            query.question(turns),
            query.surroundings(turns),
            budget=settings.budget(to.asked.options),
            exclude=frozenset(t.digest for t in turns if t.storable),
            now=now.astimezone(settings.zone),
        )
        chunks = [hit.chunk for hit in found.hits]
        text = context.render(chunks, now, settings.zone)
        return Recalled(
            context=text,
            memories=len(chunks),
            memory_tokens=sum(chunk.tokens for chunk in chunks),
            context_tokens=settings.count(text) if text else 0,
        )

    async def _added(self, to: Access, turns: Sequence[Turn], model: str) -> list[NewTurn]:
        """Store what is new of these turns; return it."""
        now = self._parts.clock.now()
        options = replace(to.asked.options, store_input=True)  # turns say what to keep out
        draft = await self._parts.historian.draft(to.scope, turns, options, now)
        new = [*draft.turns, *await self._forgotten(to.scope, turns, draft)]
        if model:
            new = [replace(t, model=model) if t.role == "assistant" else t for t in new]
        if new:
            await self._parts.memory.add(to.scope, new)
        return new

    async def _forgotten(self, scope: Scope, turns: Sequence[Turn], draft: Draft) -> list[NewTurn]:
        """Turns that are known but were deleted, or once kept out of memory.

        In a history that a client resends they stay forgotten. Who ingests them wants them.
        """
        said = [t for t in turns if t.storable and t.role in ("user", "assistant")]
        drafted = {turn.digest for turn in draft.turns}
        known = {d: t for t in said if (d := lineage.digest(t.role, t.text)) not in drafted}
        if not known:
            return []
        named = replace(scope, conversation=draft.conversation)
        held = await self._parts.store.recent(named, _LOOKED_BACK)
        for memory in held:
            known.pop(lineage.digest(memory.role, memory.text), None)
        last = draft.places.get(draft.end)
        start = last.position - len(said) + 1 if last else 0

        def build() -> list[NewTurn]:
            return [
                NewTurn(
                    role=turn.role,
                    text=turn.text,
                    created=draft.now,
                    pieces=self._parts.historian.pieces(turn.text, draft.now),
                    session=scope.session,
                    conversation=draft.conversation,
                    position=max(0, start + said.index(turn)),
                    digest=digest,
                )
                for digest, turn in known.items()
            ]

        return await asyncio.to_thread(build) if known else []


def _checked(body: Json) -> WireFormat:
    """The dialect of the messages. Raises BadRequest if they are missing or no list of objects."""
    _OPENAI.check(body)
    for message in list_in(body, "messages"):
        for part in objects_in(message, "content"):
            if text_in(part, "type") in _ANTHROPIC_BLOCKS:
                return _ANTHROPIC
    return _OPENAI


def _wanted(turns: Sequence[Turn], to: Access) -> list[Turn]:
    """The turns, those marked that the store switches keep out."""
    options = to.asked.options
    stored = {"user": options.store_input, "assistant": options.store_reply}
    return [replace(t, memory=t.memory and stored.get(t.role, False)) for t in turns]


def _said(accepted: bool, new: Sequence[NewTurn]) -> str:
    if not accepted:
        return "Nothing was stored: the memory mode of this request stores nothing"
    if not any(turn.keep for turn in new):
        return "Nothing was stored: there is nothing new to remember in these messages"
    return "Ingest accepted for background processing"
