"""Conversations that grow request by request: chat, and agents that call tools."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from bench.recall.data import History, Question

import memrouter

from .conversations import Said, build
from .world import SYSTEM, Message

CHAT_S, TOOL_S = 90.0, 12.0
"""From one request to the next: of a user, of a tool loop."""
ORDERS = (
    "Go on with the next file, and tell me what you find in it.",
    "Run the tests again and mend what fails.",
    "Now do the same for the module beside it, and keep the names as they are.",
    "Read the change once more; is anything left over?",
    "Write a short summary of it for the team.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One request and its answer."""

    new: tuple[Message, ...]
    """What the client adds to its messages."""
    reply: Message
    after_s: float
    """Since the request before."""
    evidence: tuple[str, ...] = ()
    """Texts that answer what is asked; none where nothing is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Talk:
    """A conversation, request by request."""

    system: str
    before: tuple[Said, ...]
    """What the user's vault holds from earlier conversations."""
    opening: tuple[Said, ...]
    """What the conversation itself begins with."""
    steps: tuple[Step, ...]
    bounded: bool = False
    """Whether Infinite Chat keeps it within bounds."""


def chat(histories: Sequence[History], n: int) -> Talk:
    """50 user turns: every other one asks for what was said in earlier conversations."""
    told = build(histories[n : n + 1], 1 << 14)
    return Talk(
        system=SYSTEM,
        before=told.turns,
        opening=(),
        steps=tuple(_chat_steps(histories, n, told.turns, told.questions, every=2)),
    )


def long_chat(histories: Sequence[History], n: int) -> Talk:
    """50 more user turns of a conversation that has 64,000 tokens already."""
    told = build(histories, 64_000, n)
    return Talk(
        system=SYSTEM,
        before=(),
        opening=told.turns,
        steps=tuple(_chat_steps(histories, n, told.turns, told.questions, every=2)),
        bounded=True,
    )


def agent(
    histories: Sequence[History], n: int, *, turns: int, calls: tuple[int, int], every: int
) -> Talk:
    """An agent with tools: user turns, each with some calls before the answer.

    every  each so-manyth user turn asks for what memory knows, the others are orders
    """
    told = build(histories[n : n + 1], 1 << 14)
    random = Random(n)
    sources = _sources()
    steps: list[Step] = []
    asks = list(_asks(told.questions, random, turns, every))
    for number, ask in enumerate(asks):
        new: tuple[Message, ...] = ({"role": "user", "content": ask},)
        after = CHAT_S
        for call in range(random.randint(*calls)):
            id = f"call_{number}_{call}"
            steps.append(Step(new=new, reply=_call(id, random), after_s=after))
            source = random.choice(sources)
            new = ({"role": "tool", "tool_call_id": id, "content": _part(source, random)},)
            after = TOOL_S
        told_back = f"Done with step {number + 1}: read it, changed it where it was needed."
        steps.append(Step(new=new, reply=_said(told_back), after_s=after))
    return Talk(
        system=f"{SYSTEM}\n\n{sources[0][:8_000]}",
        before=told.turns,
        opening=(),
        steps=tuple(steps),
    )


def _chat_steps(
    histories: Sequence[History],
    n: int,
    told: Sequence[Said],
    questions: Sequence[Question],
    every: int,
) -> Iterator[Step]:
    random = Random(n)
    other = [turn.text for turn in histories[(n + 5) % len(histories)].turns]
    picked = list(questions)
    random.shuffle(picked)
    for number in range(50):
        evidence: tuple[str, ...] = ()
        if number % every:
            ask, reply = other[2 * number], other[2 * number + 1]
        else:
            question = picked[number % len(picked)]
            ask = question.text
            evidence = tuple(told[e].text for e in question.evidence)
            reply = f"You told me: {' '.join(evidence[:2])}"
        yield Step(
            new=({"role": "user", "content": ask},),
            reply=_said(reply),
            after_s=CHAT_S,
            evidence=evidence,
        )


def _asks(questions: Sequence[Question], random: Random, turns: int, every: int) -> Iterator[str]:
    picked = list(questions)
    random.shuffle(picked)
    for number in range(turns):
        if number % every == 0:
            yield f"{picked[number % len(picked)].text} Look it up and write it into the notes."
        else:
            yield ORDERS[number % len(ORDERS)]


def _sources() -> list[str]:
    """What the agent's tools bring: this project's own sources."""
    folder = Path(memrouter.__file__).parent
    texts = [path.read_text("utf-8") for path in sorted(folder.rglob("*.py"))]
    return [text for text in texts if len(text) > 8_000]


def _part(source: str, random: Random) -> str:
    length = random.randint(400, 5_000)
    start = random.randrange(max(1, len(source) - length))
    return source[start : start + length]


def _call(id: str, random: Random) -> Message:
    arguments = f'{{"path": "src/part_{random.randrange(90)}.py", "line": {random.randrange(400)}}}'
    function = {"name": "read_file", "arguments": arguments}
    call = {"id": id, "type": "function", "function": function}
    return {"role": "assistant", "content": None, "tool_calls": [call]}


def _said(text: str) -> Message:
    return {"role": "assistant", "content": text}
