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
    """Replayed blocks may take this many times the density's token budget, or as much as one
    recall where that is more."""
    chunk_tokens: int = 300

    long_tokens: int = 6_500
    """Least token budget of a recall that stands in for what a long conversation leaves out."""
    long_share: int = 10
    """It grows to this part of the conversation, since there is more to find."""
    long_most: int = 48_000

    def budget(self, options: MemoryOptions, *, conversation_tokens: int = 0) -> Budget:
        """What a request may inject: its density's budget, the count set by `context_limit`.

        conversation_tokens  of a conversation that is not sent whole; 0 if it is

        With a limit of its own a request gets that many memories, if they fit the density's
        token budget or, where it asks for more than the density holds, its share of it.
        """
        budget = self.budgets[options.density]
        if conversation_tokens:
            grown = min(self.long_most, conversation_tokens // self.long_share)
            tokens = max(budget.tokens, self.long_tokens, grown)
            budget = Budget(memories=budget.memories * tokens // budget.tokens, tokens=tokens)
        if options.context_limit is None:
            return budget
        share = budget.tokens * options.context_limit // max(1, budget.memories)
        return Budget(memories=options.context_limit, tokens=max(budget.tokens, share))
