from __future__ import annotations

from dataclasses import replace
from datetime import UTC

import pytest

from memrouter.domain import Budget, MemoryOptions
from memrouter.memory.settings import MemorySettings

SETTINGS = MemorySettings(
    budgets={
        "low": Budget(memories=10, tokens=750),
        "default": Budget(memories=30, tokens=2_000),
        "high": Budget(memories=60, tokens=4_000),
    },
    zone=UTC,
    count=len,
)

CASES = {
    "the default": (MemoryOptions(), Budget(memories=30, tokens=2_000)),
    "a density": (MemoryOptions(density="high"), Budget(memories=60, tokens=4_000)),
    "fewer": (MemoryOptions(context_limit=5), Budget(memories=5, tokens=2_000)),
    "none": (MemoryOptions(context_limit=0), Budget(memories=0, tokens=2_000)),
    "as many": (MemoryOptions(context_limit=30), Budget(memories=30, tokens=2_000)),
    "more, and room for them": (
        MemoryOptions(context_limit=60),
        Budget(memories=60, tokens=4_000),
    ),
    "more than a density": (
        MemoryOptions(density="low", context_limit=100),
        Budget(memories=100, tokens=7_500),
    ),
}


# conversation_tokens, density → budget
LONG = {
    "whole": (0, "default", Budget(memories=30, tokens=2_000)),
    "the least": (30_000, "default", Budget(memories=97, tokens=6_500)),
    "its share": (120_000, "default", Budget(memories=180, tokens=12_000)),
    "the most": (1_000_000, "default", Budget(memories=720, tokens=48_000)),
    "of few memories": (30_000, "low", Budget(memories=86, tokens=6_500)),
}


@pytest.mark.parametrize(("tokens", "density", "budget"), LONG.values(), ids=LONG)
def test_more_is_recalled_of_a_long_conversation(tokens: int, density: str, budget: Budget) -> None:
    options = MemoryOptions(density=density)
    assert SETTINGS.budget(options, conversation_tokens=tokens) == budget


def test_a_density_that_holds_more_stands() -> None:
    settings = replace(SETTINGS, budgets={"default": Budget(memories=900, tokens=60_000)})
    found = settings.budget(MemoryOptions(), conversation_tokens=1_000_000)
    assert found == Budget(memories=900, tokens=60_000)


@pytest.mark.parametrize(("options", "budget"), CASES.values(), ids=CASES)
def test_what_a_request_may_inject(options: MemoryOptions, budget: Budget) -> None:
    assert SETTINGS.budget(options) == budget
