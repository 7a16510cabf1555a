"""Memory around one exchange: plan what to inject before it, commit what was said after it.

The I/O shell of the pure modules beside it. It may raise; `forgive.attempt` is around it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from weakref import WeakKeyDictionary, WeakValueDictionary

from memrouter.domain import (
    Block,
    MemoryOptions,
    NewTurn,
    Recall,
    Reply,
    Scope,
    Turn,
)
from memrouter.memory import context, conversation, lineage, query, sticky
from memrouter.memory.backlog import passage
from memrouter.memory.conversation import Window, with_lead
from memrouter.memory.encoders import Encoders
from memrouter.memory.finder import Finder, Found
from memrouter.memory.forgive import attempt
from memrouter.memory.historian import Draft, Historian
from memrouter.memory.settings import MemorySettings
from memrouter.ops.logs import logger
from memrouter.ports import Clock, Embedder, Ready, Stored, VaultStore

log = logger(__name__)

_FEW = 16
"""Chunks up to which vectors are made before the commit rather than after it."""
_AT_ONCE_S = 0.1
"""A commit waits no longer than this for vectors."""
SIGNED_S = 2 * 86_400.0
"""How long blocks are replayed in front of signed thinking, which is refused if they change."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, weakref_slot=True)
class Prompt:
    """A request as memory sees it; equal to itself alone."""

    scope: Scope
    turns: tuple[Turn, ...]
    """One a message."""
    options: MemoryOptions
    window: Window | None = None
    """Bounds of a long conversation; None sends all of it."""
    system_tokens: int = 0
    """Of a system prompt outside the messages."""


_NOTHING = Recall()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What memory does for one exchange."""

    prompt: Prompt
    lead: tuple[Turn, ...] = ()
    """Turns to put in front of the first message that is no system message."""
    kept: tuple[int, ...] | None = None
    """Messages to send, the lead counted in; None sends all."""
    recall: Recall = _NOTHING
    """Its blocks are by index among the messages that are sent."""
    block: Block | None = None
    """Made for this exchange; committed with its turns."""
    used: tuple[bytes, ...] = ()
    dropped: tuple[bytes, ...] = ()

    @property
    def turns(self) -> tuple[Turn, ...]:
        """All turns that are known of: those put in front, and what the client sent."""
        return with_lead(self.prompt.turns, self.lead)

    @property
    def tokens(self) -> int:
        """Of all turns that are known of, and the system prompt."""
        return self.prompt.system_tokens + sum(turn.tokens for turn in self.turns)

    @property
    def sent(self) -> tuple[Turn, ...]:
        """The turns that the provider gets."""
        turns = self.turns
        return turns if self.kept is None else tuple(turns[i] for i in self.kept)


class Memory:
    """Recalls for prompts and stores what was said."""

    def __init__(
        self,
        store: VaultStore,
        finder: Finder,
        historian: Historian,
        embedder: Embedder,
        clock: Clock,
        settings: MemorySettings,
        *,
        encoders: Encoders | None = None,
        on_stored: Callable[[Scope, Stored], None],
    ) -> None:
        """Who stores, finds and embeds.

        encoders   whose encodings new vaults get beside the embedder's vectors
        on_stored  told of every write, so that its chunks get vectors
        """
        self._encoders = encoders or Encoders()
        self._store = store
        self._finder = finder
        self._historian = historian
        self._embedder = embedder
        self._clock = clock
        self._settings = settings
        self._on_stored = on_stored
        self._begun: WeakKeyDictionary[Prompt, asyncio.Task[Draft]] = WeakKeyDictionary()
        """Drafts of long conversations, of which all but the last turn is being stored."""
        self._histories: WeakValueDictionary[tuple[Scope, bytes], asyncio.Lock] = (
            WeakValueDictionary()
        )

    async def plan(self, prompt: Prompt) -> Plan:
        """Decide what to send and what to inject. Raises what the store and the embedder raise."""
        plan = Plan(prompt=prompt)
        if prompt.window is not None:
            plan = await self._within(plan, prompt.window)
        turns = plan.sent
        asks = sticky.asked(turns)
        if not prompt.options.recall or not asks:
            return plan
        now = self._clock.now()
        keys = lineage.prompt_keys(prompt.scope, turns)
        signed = any(turn.signed for turn in turns)
        since = now - timedelta(seconds=SIGNED_S if signed else self._settings.sticky_s)
        vault = prompt.scope.vault
        held, revision = await self._store.blocks(vault, [keys[i] for i in asks], since)
        budget = self._settings.budget(
            prompt.options, conversation_tokens=0 if plan.kept is None else plan.tokens
        )
        # The larger recall of a long conversation is not multiplied: a context window has an end.
        density = self._settings.budget(prompt.options).tokens
        limit = max(self._settings.sticky_budgets * density, budget.tokens)
        standing = sticky.replay(turns, keys, held, revision, limit)
        recall, block = _replayed(standing), None
        if not standing.settled:
            found = await self._finder.find(
                prompt.scope,
                query.question(turns),
                query.surroundings(turns),
                exclude=frozenset([t.digest for t in turns if t.storable]),
                taken=standing.chunks,
                budget=budget,
                cut=plan.kept is not None,
                now=now.astimezone(self._settings.zone),
            )
            recall, block = self._with_block(recall, keys[asks[-1]], asks[-1], found)
        return Plan(
            prompt=prompt,
            lead=plan.lead,
            kept=plan.kept,
            recall=recall,
            block=block,
            used=tuple([keys[i] for i in standing.blocks]),
            dropped=standing.dropped,
        )

    async def draft(self, plan: Plan) -> Draft:
        """What the prompt adds to its vault; while the provider is at work."""
        begun = self._begun.get(plan.prompt)
        if begun is not None:
            await asyncio.wait({begun})
            if not begun.cancelled() and begun.exception() is None:
                return begun.result()
        return await self._draft(plan)

    async def _draft(self, plan: Plan) -> Draft:
        prompt = plan.prompt
        return await self._historian.draft(
            prompt.scope, plan.turns, prompt.options, self._clock.now()
        )

    async def commit(
        self, plan: Plan, draft: Draft | None, reply: Reply | None, model: str = ""
    ) -> Stored:
        """Store what the exchange added, in one transaction."""
        options = plan.prompt.options
        if draft is None:
            draft = await self.draft(plan)
        turns = await self._historian.with_reply(
            draft, reply, keep=options.store_reply, model=model
        )
        if not (turns or plan.block or plan.used or plan.dropped):
            return Stored()
        return await self._remember(plan, turns)

    async def add(self, scope: Scope, turns: Sequence[NewTurn]) -> Stored:
        """Store turns that did not pass through a provider (ingest, upload)."""
        now, encoder = self._clock.now(), self._encoders.name
        stored = await self._store.remember(scope.vault, turns, now=now, encoder=encoder)
        self._on_stored(scope, stored)
        return stored

    async def _remember(self, plan: Plan, turns: Sequence[NewTurn]) -> Stored:
        scope = plan.prompt.scope
        ready = await self._ready(turns)
        stored = await self._store.remember(
            scope.vault,
            turns,
            block=plan.block,
            used=plan.used,
            dropped=plan.dropped,
            now=self._clock.now(),
            ready=ready,
            encoder=self._encoders.name,
        )
        self._on_stored(scope, stored)
        return stored

    async def _ready(self, turns: Sequence[NewTurn]) -> Ready | None:
        """The vectors of a few new chunks, if they are had at once; the backlog does the rest."""
        count = sum(len(turn.pieces) for turn in turns)
        if not self._embedder.instant or not 0 < count <= _FEW:
            return None
        texts = [passage(piece.text, turn.created) for turn in turns for piece in turn.pieces]
        # An embedder that fails or hangs is no reason to lose a turn: the backlog tries again.
        made = await attempt(lambda: self._embedder.passages(texts), _AT_ONCE_S, "embed")
        if made.value is None:
            return None
        return Ready(embedder=self._embedder.name, vectors=made.value)

    async def _within(self, plan: Plan, window: Window) -> Plan:
        """Keep a long conversation within its bounds: see memory.conversation."""
        prompt = plan.prompt
        if prompt.scope.conversation and conversation.only_new(prompt.turns):
            stored = await self._store.recent(prompt.scope, conversation.LOOKED_BACK)
            plan = replace(plan, lead=conversation.lead(stored, prompt.turns))
        if not (prompt.options.recall and prompt.options.store_input):
            return plan  # what is left out could not be recalled
        kept = conversation.kept(plan.turns, prompt.system_tokens, window)
        if kept is None:
            return plan
        await self._keep_up(plan)
        return replace(plan, kept=kept)

    async def _keep_up(self, plan: Plan) -> None:
        """Store the turns that are about to be left out, so that words find them at once.

        A history that nobody knew may take longer than the request has time for: it is stored all
        the same, and `draft` then waits for it.
        """
        task = asyncio.ensure_future(self._stored_up(plan))
        self._begun[plan.prompt] = task
        task.add_done_callback(_told)
        await asyncio.shield(task)

    async def _stored_up(self, plan: Plan) -> Draft:
        async with self._one_at_a_time(plan):
            draft = await self._draft(plan)
            if len(draft.turns) > 1:
                early = draft.turns[:-1]
                await self._remember(Plan(prompt=plan.prompt), early)
                draft = draft.without(len(early))
            return draft

    def _one_at_a_time(self, plan: Plan) -> asyncio.Lock:
        """A request that resends a history which is being stored finds it stored."""
        scope = plan.prompt.scope
        first = b"" if scope.conversation else plan.turns[conversation.head_of(plan.turns)].digest
        return self._histories.setdefault((scope, first), asyncio.Lock())

    def _with_block(
        self, replayed: Recall, key: bytes, index: int, found: Found
    ) -> tuple[Recall, Block]:
        """What is replayed and, at `index`, what was found, as a block under `key`."""
        now = self._clock.now()
        text = context.render([hit.chunk for hit in found.hits], now, self._settings.zone) or ""
        tokens = self._settings.count(text) if text else 0
        block = Block(
            key=key,
            text=text,
            chunks=tuple(hit.chunk.id for hit in found.hits),
            tokens=tokens,
            made=now,
            revision=found.revision,
        )
        recall = Recall(
            context=text or None,
            hits=found.hits,
            retrieved_tokens=sum([hit.chunk.tokens for hit in found.hits]),
            tokens=replayed.tokens + tokens,
            blocks={**replayed.blocks, index: text} if text else replayed.blocks,
        )
        return recall, block


def _told(task: asyncio.Task[Draft]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.warning("a long history was not stored ahead", exc_info=error)


def _replayed(standing: sticky.Replay) -> Recall:
    return Recall(
        blocks={i: block.text for i, block in standing.blocks.items() if block.text},
        tokens=sum(block.tokens for block in standing.blocks.values()),
    )
