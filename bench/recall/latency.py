"""How long a recall takes, whole, with the default embedder: read, embed, rank, fetch."""

from __future__ import annotations

import resource
import time
from random import Random
from typing import Any

import numpy as np

from memrouter.domain import Budget

from .data import Question
from .large import grown
from .local import Local, LocalMemory, new_turn
from .report import table
from .sections import Run

ASKED = 200


async def run(base: Run) -> dict[str, Any]:
    """p50 and p99 of recalls in vaults of several sizes, and with a write before each."""
    histories = base.locomo()
    questions = [q for h in histories for q in h.answerable]
    Random(1).shuffle(questions)
    rows: list[list[object]] = []
    for size in base.options.sizes:
        subject = Local()
        try:
            history = grown(histories, size)
            begin = time.perf_counter()
            memory = await subject.remember(history)
            filled_s = time.perf_counter() - begin
            count = ASKED if size < 100_000 else ASKED // 2
            quiet = await _timed(memory, questions[:count], None)
            spare = [new_turn(turn) for turn in history.turns[:count]]
            busy = await _timed(memory, questions[:count], (subject, spare))
            rss_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            rows.append([f"{size:,} memories", *quiet, *busy, filled_s, round(rss_mb)])
        finally:
            await subject.close()
    columns = (
        "",
        "p50 ms",
        "p99 ms",
        "p50 after a write",
        "p99 after a write",
        "filled in s",
        "RSS MB",
    )
    shown = [[row[0], *(f"{v:.2f}" for v in row[1:5]), *row[5:]] for row in rows]
    table("Recall, whole", columns, shown)
    return {str(row[0]): dict(zip(columns[1:], row[1:], strict=True)) for row in rows}


async def _timed(memory: LocalMemory, questions: list[Question], writes: Any) -> list[float]:
    took: list[float] = []
    for n, question in enumerate(questions):
        if writes is not None:
            subject, turns = writes
            await subject.store.remember(memory.scope.vault, [turns[n]], now=turns[n].created)
        begin = time.perf_counter()
        await memory.finder.find(
            memory.scope, question.text, budget=Budget(memories=30, tokens=2_000)
        )
        took.append(time.perf_counter() - begin)
    return [float(np.percentile(took, p)) * 1_000 for p in (50, 99)]
