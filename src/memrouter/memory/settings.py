"""What memory needs to know of the configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import tzinfo

from memrouter.domain import Budget, MemoryOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class MemorySettings:
    """See config.Config for what each one means."""

    budgets: Mapping[str, Budget]
    zone: tzinfo
    count: Callable[[str], int]
    """Estimates the LLM tokens of a text."""
    recall_timeout_s: float = 0.25
    sticky_s: float = 3_600.0
    sticky_budgets: int = 3
    """Replayed blocks may take this many times the density's token budget."""
    chunk_tokens: int = 300

    long_tokens: int = 4_000
    """Token budget of a recall that stands in for what was left out of a long conversation."""

    def budget(self, options: MemoryOptions, *, long: bool = False) -> Budget:
        """What a request may inject: its density's budget, the count set by `context_limit`.

        With a limit of its own a request gets that many memories, if they fit the density's
        token budget or, where it asks for more than the density holds, its share of it.
        """
        budget = self.budgets[options.density]
        if long and budget.tokens < self.long_tokens:
            more = max(budget.memories, budget.memories * self.long_tokens // budget.tokens)
            budget = Budget(memories=more, tokens=self.long_tokens)
        if options.context_limit is None:
            return budget
        grown = budget.tokens * options.context_limit // max(1, budget.memories)
        return Budget(memories=options.context_limit, tokens=max(budget.tokens, grown))
