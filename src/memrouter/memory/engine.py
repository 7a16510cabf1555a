"""Memory around one exchange: plan what to inject before it, commit what was said after it.

The I/O shell of the pure modules beside it. It may raise; `forgive.attempt` is around it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

from memrouter.domain import (
    Block,
    MemoryOptions,
    NewTurn,
    Recall,
    Reply,
    Scope,
    Turn,
)
from memrouter.memory import context, lineage, query, sticky
from memrouter.memory.finder import Finder, Found
from memrouter.memory.historian import Historian
from memrouter.memory.settings import MemorySettings
from memrouter.ports import Clock, Stored, VaultStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What memory does for one exchange."""

    scope: Scope
    turns: tuple[Turn, ...]
    options: MemoryOptions
    recall: Recall = field(default_factory=Recall)
    block: Block | None = None
    """Made for this exchange; committed with its turns."""
    used: tuple[bytes, ...] = ()
    dropped: tuple[bytes, ...] = ()


class Memory:
    """Recalls for prompts and stores what was said."""

    def __init__(
        self,
        store: VaultStore,
        finder: Finder,
        historian: Historian,
        clock: Clock,
        settings: MemorySettings,
        *,
        on_stored: Callable[[Scope, Stored], None],
    ) -> None:
        """on_stored is told of every write, so that its chunks get vectors."""
        self._store = store
        self._finder = finder
        self._historian = historian
        self._clock = clock
        self._settings = settings
        self._on_stored = on_stored

    async def plan(self, scope: Scope, turns: tuple[Turn, ...], options: MemoryOptions) -> Plan:
        """Decide what to inject. Raises what the store and the embedder raise."""
        plan = Plan(scope=scope, turns=turns, options=options)
        asks = sticky.asked(turns)
        if not options.recall or not asks:
            return plan
        now = self._clock.now()
        keys = lineage.prompt_keys(scope, turns)
        since = now - timedelta(seconds=self._settings.sticky_s)
        held, revision = await self._store.blocks(scope.vault, [keys[i] for i in asks], since)
        budget = self._settings.budget(options)
        standing = sticky.replay(
            turns, keys, held, revision, self._settings.sticky_budgets * budget.tokens
        )
        plan = replace(
            plan,
            used=tuple(keys[i] for i in standing.blocks),
            dropped=standing.dropped,
            recall=_replayed(standing),
        )
        if standing.settled:
            return plan
        exclude = frozenset(lineage.digest(t.role, t.text) for t in turns if t.storable)
        found = await self._finder.find(
            scope,
            query.question(turns),
            query.surroundings(turns),
            exclude=exclude,
            taken=standing.chunks,
            budget=budget,
        )
        return self._with_block(plan, keys[asks[-1]], asks[-1], found)

    async def commit(self, plan: Plan, reply: Reply | None, model: str = "") -> Stored:
        """Store what the exchange added, in one transaction; see Historian.new_turns."""
        now = self._clock.now()
        turns = await self._historian.new_turns(
            plan.scope, plan.turns, plan.options, reply, model, now
        )
        if not (turns or plan.block or plan.used or plan.dropped):
            return Stored()
        stored = await self._store.remember(
            plan.scope.vault,
            turns,
            block=plan.block,
            used=plan.used,
            dropped=plan.dropped,
            now=now,
        )
        self._on_stored(plan.scope, stored)
        return stored

    async def add(self, scope: Scope, turns: Sequence[NewTurn]) -> Stored:
        """Store turns that did not pass through a provider (ingest, upload)."""
        stored = await self._store.remember(scope.vault, turns, now=self._clock.now())
        self._on_stored(scope, stored)
        return stored

    def _with_block(self, plan: Plan, key: bytes, index: int, found: Found) -> Plan:
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
        recall = plan.recall
        return replace(
            plan,
            block=block,
            recall=Recall(
                context=text or None,
                hits=found.hits,
                retrieved_tokens=sum(hit.chunk.tokens for hit in found.hits),
                tokens=recall.tokens + tokens,
                blocks={**recall.blocks, index: text} if text else recall.blocks,
            ),
        )


def _replayed(standing: sticky.Replay) -> Recall:
    return Recall(
        blocks={i: block.text for i, block in standing.blocks.items() if block.text},
        tokens=sum(block.tokens for block in standing.blocks.values()),
    )
