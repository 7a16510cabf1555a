"""Part two: what a provider's prompt cache makes of conversations with memory."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from functools import partial
from typing import Any

from bench.recall.data import History

from memrouter.domain import Reply, Scope
from memrouter.memory.conversation import Window
from memrouter.memory.engine import Plan, Prompt
from memrouter.memory.settings import MemorySettings

from . import talks
from .cache import ALL, Bill, Request, bill, count
from .evidence import OPTIONS, WIRE
from .talks import Talk
from .world import WINDOW, Message, World, messages, settings

DEFAULTS = settings()
MOVING = replace(
    WINDOW, recent_tokens=WINDOW.recent_tokens + WINDOW.block_tokens // 2, block_tokens=1
)
SHAPES = (
    (1_000, 8_000, 6_500, 1),
    (1_000, 8_000, 6_500, 10),
    (1_000, 4_000, 6_500, 3),
    (1_000, 8_000, 4_000, 3),
    (2_000, 8_000, 6_500, 3),
    (6_000, 8_000, 6_500, 3),
)
"""Recent, block and recall tokens, and how many budgets of the density are replayed."""
Make = Callable[[Sequence[History], int], Talk]
TALKS: dict[str, Make] = {
    "chat, 50 user turns": talks.chat,
    "agent, 50 user turns, 1–3 calls each, memory asked for in 1 of 5": partial(
        talks.agent, turns=50, calls=(1, 3), every=5
    ),
    "agent, 50 user turns, 1–3 calls each, memory asked for in all": partial(
        talks.agent, turns=50, calls=(1, 3), every=1
    ),
    "agent, 5 user turns, 9 calls each, memory asked for in all": partial(
        talks.agent, turns=5, calls=(9, 9), every=1
    ),
    "agent loop, 1 user turn, 49 calls, memory asked for": partial(
        talks.agent, turns=1, calls=(49, 49), every=1
    ),
    "chat that begins with 64k tokens, 50 user turns": talks.long_chat,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A way to bring memory into requests."""

    name: str
    memory: bool = True
    front: bool = False
    """At the front of the system prompt, recalled for each request."""
    window: Window | None = None
    sliding: int = 0
    """Send only the newest turns of so many tokens; 0 sends all."""
    settings: MemorySettings = DEFAULTS


def ways(talk: Talk) -> list[Way]:
    """What is compared on a conversation."""
    off = Way(name="memory off", memory=False)
    front = Way(name="front of the system prompt", front=True, settings=settings(sticky_s=0.0))
    if not talk.bounded:
        more = [
            Way(name=f"memrouter, {n} budgets replayed", settings=settings(sticky_budgets=n))
            for n in (1, 6, 12)
        ]
        return [off, front, Way(name="memrouter"), *more]
    middle = WINDOW.recent_tokens + WINDOW.block_tokens // 2
    return [
        off,
        Way(name="memory off, sliding window", memory=False, sliding=middle),
        replace(front, name="window moved each turn, memory in front", window=MOVING),
        Way(name="memrouter", window=WINDOW),
        *(_shaped(*shape) for shape in SHAPES),
    ]


def _shaped(recent: int, block: int, recall: int, replayed: int) -> Way:
    return Way(
        name=f"… {recent:,} / {block:,} / {recall:,}, {replayed} replayed",
        window=replace(WINDOW, recent_tokens=recent, block_tokens=block),
        settings=settings(long_tokens=recall, long_most=recall, sticky_budgets=replayed),
    )


async def bills(
    histories: Sequence[History], *, quick: bool, progress: Callable[[str], None]
) -> dict[str, dict[str, Mapping[str, Any]]]:
    """Conversation → way → figures."""
    found: dict[str, dict[str, Mapping[str, Any]]] = {}
    for name, make in TALKS.items():
        progress(name)
        made = [make(histories, n) for n in range(1 if quick else 2)]
        found[name] = await compared(made, ways(made[0]))
    return found


async def compared(made: Sequence[Talk], tried: Sequence[Way]) -> dict[str, Mapping[str, Any]]:
    """Way → figures, summed over conversations."""
    found: dict[str, Mapping[str, Any]] = {}
    world = World()
    try:
        for way in tried:
            sent = [await requests(world, talk, way) for talk in made]
            found[way.name] = _figures(sent) | {"evidence": _evidence(made, sent)}
    finally:
        await world.close()
    return found


def _figures(sent: Sequence[Sequence[Request]]) -> dict[str, Any]:
    n = len(sent)
    totals = {rules.name: sum((bill(rules, r) for r in sent), Bill()) for rules in ALL}
    return {
        "requests": sum(map(len, sent)) / n,
        "tokens": sum(request.tokens for r in sent for request in r) / n,
        **{name: {k: v / n for k, v in asdict(total).items()} for name, total in totals.items()},
    }


def _evidence(made: Sequence[Talk], sent: Sequence[Sequence[Request]]) -> float | None:
    """Share of the questions whose request holds all that answers them."""
    held = [
        all(text in "\n".join(request.messages) for text in step.evidence)
        for talk, own in zip(made, sent, strict=True)
        for step, request in zip(talk.steps, own, strict=True)
        if step.evidence
    ]
    return 100 * sum(held) / len(held) if held else None


async def requests(world: World, talk: Talk, way: Way) -> list[Request]:
    """What the provider gets of a conversation."""
    scope = world.scope()
    memory = world.memory(way.settings)
    if way.memory:
        await world.fill(Scope(vault=scope.vault, conversation="before"), talk.before)
        await world.fill(scope, talk.opening)
    start = (talk.opening or talk.before)[-1].created + timedelta(hours=3)
    said: list[Message] = [{**messages([])[0], "content": talk.system}, *messages(talk.opening)[1:]]
    at = 0.0
    sent = []
    for step in talk.steps:
        at += step.after_s
        world.clock.time = start + timedelta(seconds=at)
        said += step.new
        prompt = Prompt(
            scope=scope,
            turns=WIRE.turns({"messages": said}),
            options=OPTIONS,
            window=way.window,
        )
        plan = await memory.plan(prompt) if way.memory else Plan(prompt=prompt)
        sent.append(Request(messages=_written(said, plan, way), at=at))
        said.append(step.reply)
        if way.memory:
            reply = Reply(text=str(step.reply["content"] or ""), complete=True)
            await memory.commit(plan, None, reply)
            await world.embed(scope)
    return sent


def _written(said: Sequence[Message], plan: Plan, way: Way) -> tuple[str, ...]:
    kept = range(len(said)) if plan.kept is None else plan.kept
    texts = [_text(said[i]) for i in kept]
    if way.front:
        return (f"{plan.recall.context or ''}\n\n{texts[0]}", *texts[1:])
    if way.sliding:
        return _newest(texts, way.sliding)
    for i, block in plan.recall.blocks.items():
        texts[i] = f"{block}\n\n{texts[i]}"
    return tuple(texts)


def _newest(texts: Sequence[str], tokens: int) -> tuple[str, ...]:
    start = len(texts)
    while start > 1 and tokens > 0:
        start -= 1
        tokens -= count(texts[start])
    return (texts[0], *texts[start:])


def _text(message: Message) -> str:
    calls = message.get("tool_calls")
    return f"{message['content'] or ''}{json.dumps(calls) if calls else ''}"
