"""Prompt caches stay warm: a request starts with the whole of the one before it."""

from __future__ import annotations

import itertools
from typing import Any

from memrouter.testing.script import Answer, ToolCall

from .conftest import ServedProvider
from .stack import Router, raw_messages

FACTS = [
    "My dog is called Rex and likes carrots.",
    "My boat is called Nautilus and lies in Kiel.",
    "My sister is called Ingrid and lives in Oslo.",
    "My car is a red Volvo from 1998.",
]
TOOLS = [{"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}]


def _learn(router: Router, key: str) -> None:
    for fact in FACTS:
        router.ask(key, fact, extra_headers={"X-Memory-Store-Response": "false"})


def test_in_a_tool_loop_the_block_is_the_same_bytes(
    router: Router, provider: ServedProvider, key: str
) -> None:
    _learn(router, key)
    messages: list[Any] = [
        {"role": "system", "content": "You are terse."},
        {"role": "user", "content": "Look up what my dog likes to eat."},
    ]
    provider.clear()
    calls = [
        Answer(tool_calls=(ToolCall(name="look_up", arguments={"q": q}),), when='"tools"')
        for q in ("a", "b", "c")
    ]
    provider.queue(*calls, Answer(text="Carrots.", when='"tools"'))
    with router.openai(key) as client:
        while True:
            answer = client.chat.completions.create(
                model="openai/gpt-5.5",
                messages=messages,
                tools=TOOLS,  # type: ignore[arg-type]
            )
            message = answer.choices[0].message
            messages.append(message.model_dump(exclude_none=True))
            if not message.tool_calls:
                break
            messages += [
                {"role": "tool", "tool_call_id": c.id, "content": "carrots, says the boat"}
                for c in message.tool_calls
            ]
            router.ask(key, f"In between I learn that my dog likes {answer.id}.")
    loop = [r for r in provider.requests if b'"tools"' in r.body]
    assert len(loop) == 4
    memories = {r.prompt.memory for r in loop if r.prompt}
    assert len(memories) == 1
    assert FACTS[0] in memories.pop()
    for before, after in itertools.pairwise(loop):
        assert raw_messages(after).startswith(raw_messages(before))
    stored = "\n".join(router.texts(key, "carrots says the boat look up"))
    assert "says the boat" not in stored


def test_the_next_turn_starts_with_the_whole_of_the_one_before(
    router: Router, provider: ServedProvider, key: str
) -> None:
    _learn(router, key)
    questions = [
        "What is my dog called?",
        "And the boat, where does it lie?",
        "Where does my sister live?",
        "hi",
        "Which car do I have?",
        "What does my dog like?",
    ]
    messages: list[Any] = [{"role": "system", "content": "You are terse."}]
    provider.clear()
    for question in questions:
        messages.append({"role": "user", "content": question})
        messages.append({"role": "assistant", "content": router.chat(key, messages)})
    sent = provider.requests
    assert len(sent) == len(questions)
    for before, after in itertools.pairwise(sent):
        assert raw_messages(after).startswith(raw_messages(before))
    last = sent[-1].prompt
    assert last
    for fact in FACTS:  # and what stands in a replayed block is not injected again
        assert last.memory.count(fact) == 1


def test_blocks_outlive_the_process(router: Router, provider: ServedProvider, key: str) -> None:
    _learn(router, key)
    messages: list[Any] = [{"role": "user", "content": "What is my dog called?"}]
    messages.append({"role": "assistant", "content": router.chat(key, messages)})
    messages.append({"role": "user", "content": "And my boat?"})
    before = provider.requests[-1]
    router.kill()
    router.start()
    router.chat(key, messages)
    assert raw_messages(provider.requests[-1]).startswith(raw_messages(before))
