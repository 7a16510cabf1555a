"""Real coding agents through the router: tool loops whole, blocks the same, nothing else stored."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from memrouter.testing.exchange import Recorded

from . import coding_agents
from .coding_agents import FINAL, Agent
from .conftest import ServedProvider
from .stack import Router

MEMORY = "The file notes.txt was written by Zaphod in Lisbon."
REQUEST = "What does the file notes.txt say is the magic word?"
LATER_MEMORY = "My grandmother's umbrella is purple with yellow dots."
AGAIN = "Which colour is my grandmother's umbrella? Look at the note once more."
AGENTS: dict[str, tuple[str, str | None]] = {
    "claude code": ("claude", None),
    "claude code, older model": ("claude", "claude-sonnet-4-6"),
    "codex": ("codex", None),
}
NEVER_STORED = (
    "You are a Claude agent",
    "You are Codex",
    "system-reminder",
    "environment_context",
    "Available agent types",
    "skills_instructions",
    "Process exited",
    "The magic word is abracadabra",  # it stands in the tool's result alone
    "Read a note",
)


@pytest.fixture(params=AGENTS.values(), ids=list(AGENTS))
def agent(request: pytest.FixtureRequest, provider: ServedProvider, tmp_path: Path) -> Agent:
    name, model = request.param
    made = coding_agents.make(name, tmp_path, model)
    provider.script = coding_agents.reads_the_note(made.project)
    return made


def loop_of(provider: ServedProvider) -> list[Recorded]:
    """The requests in which the agent works, side calls left out."""
    return [r for r in provider.requests if r.prompt is not None and r.prompt.tools]


def as_the_model_reads_it(request: Recorded) -> list[Any]:
    """The messages, less what changes from call to call without changing what is read.

    Claude Code writes one message as a list or as a string and moves its cache marks.
    """
    messages = []
    for message in request.json.get("messages") or request.json["input"]:
        content = message.get("content")
        if isinstance(content, str):
            content = [{"type": "text", "text": content}]
        if isinstance(content, list):
            content = [{k: v for k, v in p.items() if k != "cache_control"} for p in content]
        messages.append({**message, "content": content})
    return messages


@pytest.mark.parametrize("version", ["", "/v1"], ids=["plain base URL", "base URL with /v1"])
def test_an_agent_works_through_the_router(
    router: Router, provider: ServedProvider, key: str, agent: Agent, version: str
) -> None:
    router.ask(key, MEMORY, extra_headers={"X-Memory-Store-Response": "false"})
    provider.clear()
    said = agent.run(router.url + version, key, REQUEST)
    assert FINAL in said
    loop = loop_of(provider)
    assert [r.prompt.after_tool for r in loop if r.prompt] == [False, True]
    assert all(r.status == 200 for r in loop)
    assert b"abracadabra" in loop[1].body

    blocks = [r.prompt.memory for r in loop if r.prompt]
    assert MEMORY in blocks[0]
    assert blocks[0] == blocks[1]
    assert all(r.prompt.text.count("<memory_context>") == 1 for r in loop if r.prompt)
    assert all(r.prompt.question == REQUEST for r in loop if r.prompt)
    first, second = map(as_the_model_reads_it, loop)
    assert second[: len(first)] == first

    stored = stored_texts(router, key)
    assert REQUEST in stored
    assert FINAL in stored
    assert router.memories(key) <= 4  # the memory, the request, "Let me look.", the answer
    for words in NEVER_STORED:
        assert not [text for text in stored if words in text]


def test_a_resumed_agent_starts_with_the_whole_of_what_was_sent(
    router: Router, provider: ServedProvider, key: str, agent: Agent
) -> None:
    router.ask(key, MEMORY, extra_headers={"X-Memory-Store-Response": "false"})
    provider.clear()
    agent.run(router.url + "/v1", key, REQUEST)
    router.ask(key, LATER_MEMORY, extra_headers={"X-Memory-Store-Response": "false"})
    agent.run(router.url + "/v1", key, AGAIN, resume=True)
    loop = loop_of(provider)
    assert len(loop) == 4
    for before, after in itertools.pairwise(map(as_the_model_reads_it, loop)):
        assert after[: len(before)] == before
    last = loop[-1].prompt
    assert last
    assert last.text.count(MEMORY) == last.text.count(LATER_MEMORY) == 1
    stored = stored_texts(router, key)
    assert stored.count(REQUEST) == 1
    assert stored.count(AGAIN) == 1


def test_a_read_key_recalls_and_stores_nothing(
    router: Router, provider: ServedProvider, key: str, agent: Agent
) -> None:
    router.ask(key, MEMORY, extra_headers={"X-Memory-Store-Response": "false"})
    agent.run(router.url + "/v1", f"{key}:read", REQUEST)
    assert all(MEMORY in r.prompt.memory for r in loop_of(provider) if r.prompt)
    assert router.memories(key) == 1


CAPTURES = Path(__file__).parent / "captures"


@pytest.mark.parametrize("capture", ["claude_code_title.json"])
def test_side_calls_seen_before_are_neither_recalled_for_nor_stored(
    router: Router, provider: ServedProvider, key: str, capture: str
) -> None:
    router.ask(key, MEMORY, extra_headers={"X-Memory-Store-Response": "false"})
    with router.http() as http:
        for seen in json.loads((CAPTURES / capture).read_text()):
            headers = {**dict(seen["headers"]), "x-api-key": key, "accept-encoding": "identity"}
            answer = http.request(
                seen["method"],
                f"{seen['path']}?{seen['query']}",
                headers=headers,
                json=seen["body"],
            )
            assert answer.status_code == 200
            assert provider.requests[-1].json == seen["body"]
    assert router.memories(key) == 1


def test_the_probes_that_agents_send_first_do_no_harm(router: Router, key: str) -> None:
    """Claude Code asks HEAD of its base URL, and the count of tokens, before it begins."""
    with router.http() as http:
        for path in ("/v1", "/", "/v1/api/hello"):
            assert http.head(path).status_code < 500
        body = {"model": "claude-opus-4.8", "messages": [{"role": "user", "content": "hi"}]}
        for path in ("/v1/messages/count_tokens", "/v1/v1/messages/count_tokens?beta=true"):
            answer = http.post(path, json=body, headers={"x-api-key": key})
            assert answer.json()["input_tokens"] > 0
    assert router.memories(key) == 0


def stored_texts(router: Router, key: str) -> list[str]:
    """Everything in the vault, as far as searches for what could be there find it."""
    found: dict[str, None] = {}
    for query in (REQUEST, AGAIN, FINAL, "Let me look", "title session note", *NEVER_STORED):
        found |= dict.fromkeys(router.texts(key, query))
    return list(found)
