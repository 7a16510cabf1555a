from __future__ import annotations

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


@pytest.mark.parametrize(("options", "budget"), CASES.values(), ids=CASES)
def test_what_a_request_may_inject(options: MemoryOptions, budget: Budget) -> None:
    assert SETTINGS.budget(options) == budget
