"""No text of one vault ever reaches a request of another: the promise that everything rests on."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memrouter.testing.asgi import Client
from memrouter.testing.provider import ScriptedProvider
from memrouter.testing.script import Answer as Said
from memrouter.testing.script import Prompt

from .conftest import CHAT, World, messages, started

SUFFIXES = ["", "", ":on", ":read", ":write", ":off"]
TOPICS = ["dog", "cat", "horse"]


@dataclass(frozen=True, kw_only=True)
class Step:
    """One request of one person."""

    person: int
    session: int
    suffix: str
    topic: str
    asks: bool
    stream: bool
    goes_on: bool
    """Whether it resends the person's conversation."""
    store: bool
    density: str
    v3: bool
    """Whether a user of the account comes by the other surface."""


steps = st.builds(
    Step,
    person=st.integers(0, 3),
    session=st.integers(0, 2),
    suffix=st.sampled_from(SUFFIXES),
    topic=st.sampled_from(TOPICS),
    asks=st.booleans(),
    stream=st.booleans(),
    goes_on=st.booleans(),
    store=st.sampled_from([True, True, True, False]),
    density=st.sampled_from(["low", "default", "xhigh"]),
    v3=st.booleans(),
)


@pytest.fixture(scope="module")
def lasting(served: tuple[ScriptedProvider, int]) -> Iterator[tuple[asyncio.Runner, World]]:
    """One router for all examples; each has new keys."""
    with asyncio.Runner() as runner, tempfile.TemporaryDirectory() as folder:
        stack = AsyncExitStack()
        world = runner.run(stack.enter_async_context(started(Path(folder), served[0], served[1])))
        yield runner, world
        runner.run(stack.aclose())


def owner(person: int, session: int) -> str:
    """A word that stands in everything this person says in this session, and nowhere else."""
    return f"canary{'ABCD'[person]}{'xyz'[session]}"


@dataclass(frozen=True, kw_only=True)
class Person:
    """Two have keys of their own, two are users whom the account names."""

    key: str
    user: str = ""

    def client(self, world: World, step: Step) -> tuple[Client, str]:
        key = self.key + step.suffix
        if not self.user:
            return world.client(key), CHAT
        if not step.v3:
            return world.client(key, x_sm_user_id=self.user), CHAT
        client = world.client("", x_supermemory_api_key=key, x_sm_user_id=self.user)
        client.headers["authorization"] = "Bearer sk-client"
        return client, f"/v3/{world.parts.config.providers['openai'].base_url}/chat/completions"


async def play(world: World, groups: list[list[Step]]) -> None:
    world.provider.clear()
    serial = len(world.keys)
    people = [Person(key=await world.key()) for _ in range(2)]
    people += [Person(key=world.account_key, user=f"{name} {serial}") for name in ("ann", "bob")]
    talks: dict[tuple[int, int], list[str]] = {}
    for group in groups:
        # The requests of a group are under way at once.
        await asyncio.gather(*(take(world, people[s.person], s, talks) for s in group))
        if group[0].asks:
            await world.embedded()


async def take(
    world: World, person: Person, step: Step, talks: dict[tuple[int, int], list[str]]
) -> None:
    mine = owner(step.person, step.session)
    text = (
        f"What is my {step.topic} called? {mine} asks."
        if step.asks
        else f"My {step.topic} is called {mine}{step.topic}."
    )
    talk = talks.setdefault((step.person, step.session), []) if step.goes_on else []
    said = [*talk, text]
    body: dict[str, Any] = {
        "model": "gpt-5.5",
        "messages": messages(said),
        "stream": step.stream,
        "memory_store": step.store,
        "density": step.density,
    }
    if step.session:
        body["session_id"] = f"session {step.session}"
    client, path = person.client(world, step)
    answer = await client.post(path, body)
    assert answer.status == 200
    assert not [name for name in answer.headers if name.endswith("memory-error")]
    if step.goes_on and not step.stream:
        talk[:] = [*said, answer.json["choices"][0]["message"]["content"]]
    check(answer.body.decode(), step, f"answer to {text}")


def check(seen: str, step: Step, what: str) -> None:
    """Nothing of anybody else; nothing of another session but core, which is everybody's."""
    allowed = {owner(step.person, step.session), owner(step.person, 0)}
    others = {owner(p, s) for p in range(4) for s in range(3)} - allowed
    assert not [other for other in others if other in seen], what


def heard(prompt: Prompt) -> Said | None:
    """A provider that repeats all it was told, so that every leak would spread."""
    return Said(text=f"You told me: {prompt.text[-2000:]}")


@settings(max_examples=40)
@given(groups=st.lists(st.lists(steps, min_size=1, max_size=3), min_size=1, max_size=10))
def test_no_text_of_a_vault_reaches_a_request_of_another(
    lasting: tuple[asyncio.Runner, World], groups: list[list[Step]]
) -> None:
    runner, world = lasting
    world.provider.script = heard
    runner.run(play(world, groups))
    for sent in world.provider.requests:
        assert sent.prompt is not None
        body = sent.body.decode()
        asked = next(s for s in (s for g in groups for s in g) if mine_in(s, sent.prompt))
        check(body, asked, body)


def mine_in(step: Step, prompt: Prompt) -> bool:
    return owner(step.person, step.session) in prompt.question
