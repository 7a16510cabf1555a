"""Part one: what is sent of a long conversation, and whether what answers is in it."""

from __future__ import annotations

import asyncio
import gc
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from random import Random
from typing import Any

import numpy as np
from bench.recall.data import History, Question

from memrouter.domain import MemoryOptions, Scope, Turn
from memrouter.memory import lineage
from memrouter.memory.conversation import Window
from memrouter.memory.engine import Memory, Plan, Prompt
from memrouter.memory.forgive import attempt
from memrouter.tokens import MESSAGE_TOKENS, estimate
from memrouter.wire import raw
from memrouter.wire.openai_chat import OpenAIChat

from .conversations import Conversation, build
from .world import WINDOW, World, messages, settings

SIZES = (8_000, 20_000, 32_000, 64_000, 128_000, 256_000, 1_000_000)
SPREAD = WINDOW.block_tokens
"""Conversations of a size differ by this much, as the cut moves by so much at a time."""
LAST = 20_000
WIRE = OpenAIChat()
OPTIONS = MemoryOptions()


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one question got."""

    category: str
    given: int
    """Tokens that the client sent."""
    sent: int
    """Tokens that the provider got."""
    block: int
    whole: bool
    """Whether all of its evidence is in the prompt."""
    recent: bool
    """Whether it is in the newest turns alone that take as many tokens."""
    last: bool
    """Whether it is in the last 20,000 tokens."""
    plan_ms: float
    cpu_ms: float
    """Of all threads: what the clock would say on an idle machine, or a little more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Settings under test."""

    window: Window = WINDOW
    long_tokens: int = settings().long_tokens

    @property
    def name(self) -> str:
        """As it is shown."""
        w = self.window
        return f"{w.recent_tokens:,} / {w.block_tokens:,} / {self.long_tokens:,}"


def conversations(histories: Sequence[History], tokens: int, *, quick: bool) -> list[Conversation]:
    """Some conversations of about a size, from different parts of the data."""
    held = sum(turn_tokens(history) for history in histories)
    count = max(1, min(len(histories), round(1.5 * held / tokens)))
    count = min(count, 2) if quick else count
    step = len(histories) / count
    found = []
    for n in range(count):
        off = (n + 0.5) / count - 0.5 if tokens > WINDOW.threshold_tokens + SPREAD else 0
        found.append(build(histories, tokens + round(off * SPREAD), round(n * step)))
    return found


def turn_tokens(history: History) -> int:
    """Tokens of a history."""
    return sum(estimate(turn.text) + MESSAGE_TOKENS for turn in history.turns)


def chosen(conversation: Conversation, limit: int) -> list[Question]:
    """At most so many of its questions, spread evenly."""
    questions = list(conversation.questions)
    Random(7).shuffle(questions)
    return questions[:limit]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A conversation in a vault."""

    conversation: Conversation
    scope: Scope
    turns: tuple[Turn, ...]
    digests: tuple[bytes, ...]
    """One a turn."""
    behind: tuple[int, ...]
    """Tokens from each turn to the end."""


async def indexed(world: World, conversation: Conversation) -> Asked:
    """Put a conversation into a vault of its own, as its earlier requests would have."""
    scope = world.scope()
    await world.fill(scope, conversation.turns)
    return described(conversation, scope)


def described(conversation: Conversation, scope: Scope) -> Asked:
    """A conversation with what is asked of it often."""
    behind = list(accumulate(turn.tokens for turn in reversed(conversation.turns)))[::-1]
    return Asked(
        conversation=conversation,
        scope=scope,
        turns=WIRE.turns({"messages": messages(conversation.turns)}),
        digests=tuple(lineage.digest(t.role, t.text) for t in conversation.turns),
        behind=tuple(behind),
    )


async def ask(
    world: World, memory: Memory, asked: Asked, question: Question, window: Window
) -> Outcome:
    """One question as the new last turn of a conversation; nothing is kept of it."""
    world.clock.time = asked.conversation.asked
    new = WIRE.turns({"messages": [{"role": "user", "content": question.text}]})
    prompt = Prompt(scope=asked.scope, turns=(*asked.turns, *new), options=OPTIONS, window=window)
    begin, cpu = time.perf_counter(), time.process_time()
    plan = await memory.plan(prompt)
    took, cpu = time.perf_counter() - begin, time.process_time() - cpu
    sent = sum(turn.tokens for turn in plan.sent) + plan.recall.tokens
    history = sent - sum(turn.tokens for turn in new) - asked.turns[0].tokens
    return Outcome(
        category=question.category,
        given=sum(turn.tokens for turn in prompt.turns),
        sent=sent,
        block=plan.recall.tokens,
        whole=_evidence(asked, question) <= _present(asked, plan),
        recent=_within(asked, question, history),
        last=_within(asked, question, LAST),
        plan_ms=took * 1_000,
        cpu_ms=cpu * 1_000,
    )


def _evidence(asked: Asked, question: Question) -> set[bytes]:
    return {asked.digests[place] for place in question.evidence}


def _present(asked: Asked, plan: Plan) -> set[bytes]:
    count = len(asked.turns)
    kept = range(count) if plan.kept is None else [i for i in plan.kept if i < count]
    return {asked.digests[i - 1] for i in kept if i} | {h.chunk.digest for h in plan.recall.hits}


def _within(asked: Asked, question: Question, tokens: int) -> bool:
    newest = {d for d, behind in zip(asked.digests, asked.behind, strict=True) if behind <= tokens}
    return _evidence(asked, question) <= newest


def summary(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Means over questions."""
    return {
        "questions": len(outcomes),
        "given": _mean(o.given for o in outcomes),
        "sent": _mean(o.sent for o in outcomes),
        "block": _mean(o.block for o in outcomes),
        "saved": 100 * (1 - sum(o.sent for o in outcomes) / sum(o.given for o in outcomes)),
        "evidence": 100 * _mean(o.whole for o in outcomes),
        "same_size": 100 * _mean(o.recent for o in outcomes),
        "last_20k": 100 * _mean(o.last for o in outcomes),
        "plan_p50_ms": float(np.percentile([o.plan_ms for o in outcomes], 50)),
        "plan_p99_ms": float(np.percentile([o.plan_ms for o in outcomes], 99)),
        "plan_cpu_p50_ms": float(np.percentile([o.cpu_ms for o in outcomes], 50)),
        "by_category": {
            name: 100 * _mean(o.whole for o in outcomes if o.category == name)
            for name in sorted({o.category for o in outcomes})
        },
    }


def _mean(values: Any) -> float:
    return float(np.mean(list(values)))


async def whole_ms(world: World, memory: Memory, asked: Asked, times: int = 15) -> float:
    """Median of all that the router does to a request: parse, read, plan, write."""
    world.clock.time = asked.conversation.asked
    took = []
    for question in chosen(asked.conversation, times):
        body = json.dumps({"model": "m", "messages": messages(
            asked.conversation.turns, question.text)}).encode()  # fmt: skip
        begin = time.perf_counter()
        turns = WIRE.turns(raw.parse(body))
        prompt = Prompt(scope=asked.scope, turns=turns, options=OPTIONS, window=WINDOW)
        plan = await memory.plan(prompt)
        fields = raw.split_object(body)
        if plan.kept is not None:
            fields = WIRE.keep(fields, plan.kept)
        raw.join_object(WIRE.inject(fields, plan.recall.blocks, "m"))
        took.append(time.perf_counter() - begin)
    return float(np.median(took)) * 1_000


async def first(world: World, conversation: Conversation) -> dict[str, float]:
    """A client comes with a long history that nobody knows.

    first_plan_ms   until its request goes on: with a plan, or without when the budget ends
    first_planned   1 if it had a plan
    first_cpu_ms    processor time of all threads until the history is stored
    first_held_ms   the longest that the event loop was held meanwhile
    first_stored_s  until it is stored, and words find it
    vectors_s       then until all has vectors
    """
    asked = described(conversation, world.scope())
    memory = world.memory(settings())
    world.clock.time = conversation.asked
    new = WIRE.turns({"messages": messages([], conversation.questions[0].text)[1:]})
    prompt = Prompt(scope=asked.scope, turns=(*asked.turns, *new), options=OPTIONS, window=WINDOW)
    gc.collect()  # what earlier conversations left behind
    held = _Held()
    begin, cpu = time.perf_counter(), time.process_time()
    budget_s = settings().recall_timeout_s
    tried = await attempt(lambda: memory.plan(prompt), budget_s, "recall")
    planned = time.perf_counter()
    await memory.commit(tried.value or Plan(prompt=prompt), None, None)
    stored, cpu = time.perf_counter(), time.process_time() - cpu
    longest = held.stop()
    return {
        "first_plan_ms": (planned - begin) * 1_000,
        "first_planned": float(tried.value is not None),
        "first_cpu_ms": cpu * 1_000,
        "first_held_ms": longest * 1_000,
        "first_stored_s": stored - begin,
        "vectors_s": await world.embed(asked.scope),
    }


class _Held:
    """How long the event loop is held at most."""

    def __init__(self) -> None:
        self._longest_s = 0.0
        self._task = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        while True:
            before = time.perf_counter()
            await asyncio.sleep(0.001)
            self._longest_s = max(self._longest_s, time.perf_counter() - before - 0.001)

    def stop(self) -> float:
        """The longest time until now, in seconds."""
        self._task.cancel()
        return self._longest_s


async def by_size(
    histories: Sequence[History], *, quick: bool, progress: Callable[[str], None]
) -> dict[str, Mapping[str, Any]]:
    """Size → figures."""
    found: dict[str, Mapping[str, Any]] = {}
    for size in SIZES[:5] if quick else SIZES:
        progress(f"{size:,} tokens")
        world = World()
        try:
            found[_short(size)] = await _one_size(world, histories, size, quick=quick)
        finally:
            await world.close()
    return found


async def _one_size(
    world: World, histories: Sequence[History], size: int, *, quick: bool
) -> dict[str, Any]:
    talks = conversations(histories, size, quick=quick)
    limit = (60 if quick else 400) // len(talks)
    memory = world.memory(settings())
    outcomes = []
    whole = 0.0
    for talk in talks:
        asked = await indexed(world, talk)
        questions = chosen(talk, limit)
        await ask(world, memory, asked, questions[0], WINDOW)  # reads the vault into memory
        outcomes += [await ask(world, memory, asked, q, WINDOW) for q in questions]
        whole = await whole_ms(world, memory, asked)
    return {
        **summary(outcomes),
        "conversations": len(talks),
        "whole_p50_ms": whole,
        **await first(world, talks[0]),
    }


def _short(size: int) -> str:
    return f"{size // 1_000_000}M" if size >= 1_000_000 else f"{size // 1_000}k"


def shapes(size: int, *, quick: bool) -> list[Shape]:
    """What the curve tries at a size."""
    windows: tuple[tuple[int, int], ...] = ((1_000, 8_000), (2_000, 8_000), (6_000, 8_000))
    budgets: tuple[int, ...] = (2_000, 4_000, 6_500, 8_000, 16_000)
    if size <= SIZES[3] and not quick:
        windows = ((1_000, 4_000), *windows)
    return [
        Shape(
            window=Window(
                threshold_tokens=WINDOW.threshold_tokens, recent_tokens=recent, block_tokens=block
            ),
            long_tokens=budget,
        )
        for recent, block in windows
        for budget in budgets
    ]


async def curve(
    histories: Sequence[History], size: int, tried: Sequence[Shape], *, quick: bool
) -> dict[str, dict[str, Any]]:
    """Evidence against tokens sent, by settings, at one size."""
    world = World()
    try:
        talks = conversations(histories, size, quick=quick)
        asked = [await indexed(world, talk) for talk in talks]
        limit = (60 if quick else 300 if size <= SIZES[3] else 150) // len(talks)
        found = {}
        for shape in tried:
            memory = world.memory(
                settings(long_tokens=shape.long_tokens, long_most=shape.long_tokens)
            )
            found[shape.name] = summary([
                await ask(world, memory, a, q, shape.window)
                for a in asked
                for q in chosen(a.conversation, limit)
            ])  # fmt: skip
        return found
    finally:
        await world.close()
