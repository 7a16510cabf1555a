"""Each turn is stored once, however often and however cut it is sent."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memrouter.domain import (
    Budget,
    Memory,
    MemoryOptions,
    NewTurn,
    Reply,
    Role,
    Scope,
    Turn,
    VaultId,
)
from memrouter.memory import lineage
from memrouter.memory.historian import Historian
from memrouter.memory.settings import MemorySettings
from memrouter.ports import VaultStore
from memrouter.testing.clock import FixedClock
from memrouter.testing.store import MemoryVaultStore

SETTINGS = MemorySettings(
    budgets={"default": Budget(memories=30, tokens=2_000)},
    zone=UTC,
    count=lambda text: len(text.split()),
    chunk_tokens=16,
)
CORE = Scope(vault=VaultId("v"))


class World:
    """A vault store, a clock, and clients that send prompts."""

    def __init__(self) -> None:
        self.store = MemoryVaultStore()
        self.clock = FixedClock()
        self.historian = Historian(self.store, SETTINGS)

    async def send(
        self,
        prompt: Sequence[str | Turn],
        reply: str | Reply | None = None,
        *,
        scope: Scope = CORE,
        options: MemoryOptions | None = None,
    ) -> list[NewTurn]:
        """One exchange; texts in a prompt are said in turn by user and assistant."""
        if isinstance(reply, str):
            reply = Reply(text=reply, complete=True)
        new = await self.historian.new_turns(
            scope, turns(prompt), options or MemoryOptions(), reply, "gpt", self.clock.now()
        )
        # Another request may run between finding out what is new and storing it.
        await asyncio.sleep(0)
        await self.store.remember(scope.vault, new, now=self.clock.now())
        self.clock.advance(seconds=20)
        return new

    async def stored(self, vault: VaultId = CORE.vault) -> Sequence[Memory]:
        return await self.store.memories(Scope(vault=vault), limit=10_000, whole=True)

    async def said(self, vault: VaultId = CORE.vault) -> list[str]:
        return [memory.text for memory in await self.stored(vault)]


def turns(prompt: Sequence[str | Turn]) -> list[Turn]:
    return [
        t if isinstance(t, Turn) else Turn(role="assistant" if i % 2 else "user", text=t)
        for i, t in enumerate(prompt)
    ]


@pytest.fixture
def world() -> World:
    return World()


# --- what one exchange adds ---


async def test_a_turn_comes_with_its_place_in_the_conversation(world: World) -> None:
    scope = Scope(vault=VaultId("v"), session="s", conversation="c")
    new = await world.send(["Hi, I am Alice."], "Hello Alice.", scope=scope)
    assert [(t.role, t.text, t.position, t.session, t.conversation, t.model) for t in new] == [
        ("user", "Hi, I am Alice.", 0, "s", "c", ""),
        ("assistant", "Hello Alice.", 1, "s", "c", "gpt"),
    ]
    first, second = new
    assert first.parent == lineage.root(scope)
    assert second.parent == first.chain
    assert first.digest == lineage.digest("user", "Hi, I am Alice.")
    assert [piece.text for piece in first.pieces] == ["Hi, I am Alice."]
    assert first.created == FixedClock().now() < second.created


async def test_a_long_turn_is_stored_whole_and_in_pieces(world: World) -> None:
    text = "This is a sentence. " * 20
    [turn] = await world.send([text])
    assert turn.text == text
    assert len(turn.pieces) == 5
    assert all(piece.tokens <= 16 and piece.terms for piece in turn.pieces)


async def test_a_history_of_thousands_of_turns_does_not_hold_the_event_loop(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    link, loop = lineage.link, threading.get_ident()
    calls = [0]

    def counted(parent: bytes, own: bytes) -> bytes:
        calls[-1] += threading.get_ident() == loop
        return link(parent, own)

    async def watch() -> None:
        while True:
            await asyncio.sleep(0)
            calls.append(0)

    monkeypatch.setattr(lineage, "link", counted)
    watching = asyncio.create_task(watch())
    assert len(await world.send([f"turn {n}" for n in range(10_000)])) == 10_000
    watching.cancel()
    assert 0 < max(calls) <= 2_000  # of 500 turns, a few each


async def test_a_text_of_megabytes_does_not_hold_the_event_loop(world: World) -> None:
    turns = 0

    async def watch() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    watching = asyncio.create_task(watch())
    await world.send(["A sentence of some words. " * 40_000])
    watching.cancel()
    assert turns > 100  # a loop that is held turns a few times


NEVER = {
    "an agent's text": Turn(role="user", text="<system-reminder>", written=False),
    "a system prompt": Turn(role="system", text="Be brief."),
    "a tool's result": Turn(role="tool", text="42", answers=("call_1",)),
    "a call without words": Turn(role="assistant", text="", calls=("call_1",)),
    "nothing": Turn(role="user", text=" \n"),
}


@pytest.mark.parametrize("turn", NEVER.values(), ids=NEVER)
async def test_what_nobody_said_is_not_stored(world: World, turn: Turn) -> None:
    await world.send([turn, Turn(role="user", text="a")])
    await world.send([Turn(role="user", text="a"), turn, Turn(role="user", text="b")])
    assert await world.said() == ["a", "b"]


REPLIES = {
    "none": None,
    "broken off": Reply(text="Hello", complete=False),
    "without words": Reply(text="", complete=True),
    "white space": Reply(text=" \n ", complete=True),
}


@pytest.mark.parametrize("reply", REPLIES.values(), ids=REPLIES)
async def test_a_reply_that_is_none_is_not_stored(world: World, reply: Reply | None) -> None:
    await world.send(["a"], reply)
    assert await world.said() == ["a"]


async def test_without_anything_said_the_store_is_not_asked(world: World) -> None:
    historian = Historian(cast("VaultStore", None), SETTINGS)
    for prompt in ([], [NEVER["a system prompt"]]):
        now = world.clock.now()
        assert await historian.new_turns(CORE, prompt, MemoryOptions(), None, "", now) == []


async def test_the_words_beside_a_tool_call_are_stored_once(world: World) -> None:
    user = Turn(role="user", text="weather?")
    call = Turn(role="assistant", text="Let me look.", calls=("call_1",))
    result = Turn(role="tool", text="", answers=("call_1",))
    await world.send([user], "Let me look.")
    await world.send([user, call, result], "It rains.")
    assert await world.said() == ["weather?", "Let me look.", "It rains."]


# --- resent histories ---

TALK = ["q1", "r1", "q2", "r2", "q3", "r3", "q4", "r4"]


async def talk(world: World, scope: Scope = CORE) -> None:
    for n in range(0, len(TALK), 2):
        await world.send(TALK[: n + 1], TALK[n + 1], scope=scope)


RESENT: dict[str, tuple[list[str], str | None, list[str]]] = {
    "the whole conversation": (TALK, None, []),
    "its beginning": (TALK[:3], None, []),
    "its beginning, with the reply": (TALK[:3], "r2", []),
    "a retry that gets another reply": (TALK[:7], "R4", ["R4"]),
    "one turn more": ([*TALK, "q5"], "r5", ["q5", "r5"]),
    "several turns more": ([*TALK, "q5", "r5", "q6"], "r6", ["q5", "r5", "q6", "r6"]),
    "without its head": ([*TALK[2:], "q5"], "r5", ["q5", "r5"]),
    "without most of it": ([*TALK[6:], "q5"], "r5", ["q5", "r5"]),
    "from an assistant's turn on": ([*TALK[3:], "q5"], "r5", ["q5", "r5"]),
    "the last turn alone, and a new one": (["r4", "q5"], "r5", ["q5", "r5"]),
    "a retry of the last turn alone": (["q4"], "r4", []),
    "with a summary for its head": (["summary", *TALK[2:], "q5"], None, ["summary", "q5"]),
    "with two": (["s1", "s2", *TALK[4:], "q5"], None, ["s1", "s2", "q5"]),
    "with an edited turn": ([*TALK[:4], "Q3"], "R3", ["Q3", "R3"]),
    "with an edited reply": ([*TALK[:5], "R3", "q4"], "R4", ["R3", "q4", "R4"]),
    "with other white space": ([f" {t}\n" for t in TALK], None, []),
    "another conversation": (["x1"], "y1", ["x1", "y1"]),
}


@pytest.mark.parametrize("scope", [CORE, Scope(vault=VaultId("v"), session="s", conversation="c")])
@pytest.mark.parametrize(("prompt", "reply", "added"), RESENT.values(), ids=RESENT)
async def test_only_what_is_new_is_added(
    world: World, prompt: list[str], reply: str | None, added: list[str], scope: Scope
) -> None:
    await talk(world, scope)
    said = [
        # The table says who speaks by the text, so that cut histories read as they were.
        Turn(role="assistant" if text.strip().lower().startswith("r") else "user", text=text)
        for text in prompt
    ]
    for _ in range(3):
        await world.send(said, reply, scope=scope)
    assert await world.said() == [*TALK, *added]


async def test_a_conversation_that_was_cut_goes_on_in_its_place(world: World) -> None:
    await talk(world)
    [q5, r5] = await world.send([*TALK[4:], "q5"], "r5")
    first = (await world.stored())[0]
    assert q5.conversation == r5.conversation == first.conversation
    assert (q5.position, r5.position) == (8, 9)


async def test_after_a_summary_the_conversation_goes_on_in_its_place(world: World) -> None:
    await talk(world)
    prompt = ["summary", *TALK[5:], "q5"]
    roles: list[Role] = ["user", "assistant", "user", "assistant", "user"]
    said = [Turn(role=role, text=text) for role, text in zip(roles, prompt, strict=True)]
    await world.send(said, "r5")
    said += [Turn(role="assistant", text="r5"), Turn(role="user", text="q6")]
    await world.send(said, "r6")
    assert await world.said() == [*TALK, "summary", "q5", "r5", "q6", "r6"]
    first, *_, last = await world.stored()
    assert last.conversation == first.conversation
    assert last.position == 11


# --- equal words ---


async def test_yes_said_twice_is_two_turns(world: World) -> None:
    await world.send(["a?"], "ok")
    await world.send(["a?", "ok", "yes"], "ok")
    await world.send(["a?", "ok", "yes", "ok", "yes"], "ok")
    assert await world.said() == ["a?", "ok", "yes", "ok", "yes", "ok"]


async def test_equal_conversations_in_two_vaults_are_two(world: World) -> None:
    other = Scope(vault=VaultId("w"))
    await talk(world)
    await talk(world, other)
    assert await world.said(VaultId("v")) == await world.said(VaultId("w"))
    assert len(await world.said()) == len(TALK)


SCOPES = {
    "sessions": [Scope(vault=VaultId("v"), session=s) for s in ("", "s", "t")],
    "conversations": [Scope(vault=VaultId("v"), conversation=c) for c in ("c", "d", "e")],
    "both": [Scope(vault=VaultId("v"), session=x, conversation=x) for x in ("c", "d", "e")],
}


@pytest.mark.parametrize("scopes", SCOPES.values(), ids=SCOPES)
async def test_equal_words_in_other_scopes_are_other_turns(
    world: World, scopes: list[Scope]
) -> None:
    for scope in scopes:
        await talk(world, scope)
        await world.send([*TALK[4:], "q5"], "r5", scope=scope)
    assert await world.said() == [*TALK, "q5", "r5"] * 3


async def test_the_same_opening_soon_after_is_a_retry(world: World) -> None:
    await world.send(["hello"], "hi")
    world.clock.advance(seconds=SETTINGS.sticky_s - 60)
    await world.send(["hello"], "hi")
    assert await world.said() == ["hello", "hi"]


async def test_the_same_opening_long_after_is_a_new_conversation(world: World) -> None:
    await world.send(["hello"], "hi")
    world.clock.advance(days=1)
    await world.send(["hello"], "hi there")
    await world.send(["hello", "hi there", "and now?"], "now this")
    assert await world.said() == ["hello", "hi", "hello", "hi there", "and now?", "now this"]
    rows = await world.stored()
    assert len({row.conversation for row in rows[2:]}) == 1
    assert rows[0].conversation != rows[2].conversation


async def test_a_named_conversation_may_be_gone_on_with_after_long(world: World) -> None:
    scope = Scope(vault=VaultId("v"), conversation="c")
    await talk(world, scope)
    world.clock.advance(days=100)
    await world.send([*TALK, "q5"], "r5", scope=scope)
    await world.send([*TALK[4:], "q5", "r5", "q6"], "r6", scope=scope)
    assert await world.said() == [*TALK, "q5", "r5", "q6", "r6"]


# --- what is not to be stored ---


def private(text: str) -> Turn:
    return Turn(role="user", text=text, memory=False)


async def test_a_turn_marked_private_stays_out_however_it_is_resent(world: World) -> None:
    [excluded, _] = await world.send([private("secret")], "noted")
    assert (excluded.keep, excluded.text, excluded.pieces) == (False, "", ())
    await world.send(["secret", "noted", "q2"], "r2")
    await world.send(["q2", "r2", "q3"], "r3")
    await world.send(["secret", "noted", "q2", "r2", "q3"], "r3")
    assert await world.said() == ["noted", "q2", "r2", "q3", "r3"]


SWITCHES: dict[str, tuple[MemoryOptions, list[str]]] = {
    "input": (MemoryOptions(store_input=False), ["r1"]),
    "reply": (MemoryOptions(store_reply=False), ["q1"]),
    "both": (MemoryOptions(store_input=False, store_reply=False), []),
    "recall alone": (MemoryOptions(recall=False), ["q1", "r1"]),
}


@pytest.mark.parametrize(("options", "kept"), SWITCHES.values(), ids=SWITCHES)
async def test_what_was_switched_off_stays_off_when_resent(
    world: World, options: MemoryOptions, kept: list[str]
) -> None:
    await world.send(["q1"], "r1", options=options)
    assert await world.said() == kept
    await world.send(["q1"], "r1")
    await world.send(["q1", "r1", "q2"], "r2")
    await world.send([Turn(role="assistant", text="r1"), Turn(role="user", text="q2")], "r2")
    assert [text for text in await world.said() if text != "r1" or "r1" in kept] == [
        *kept,
        "q2",
        "r2",
    ]


async def test_what_was_stored_stays_when_storing_is_switched_off(world: World) -> None:
    await world.send(["q1"], "r1")
    off = MemoryOptions(store_input=False, store_reply=False)
    await world.send(["q1", "r1", "q2"], "r2", options=off)
    await world.send(["q1", "r1", "q2", "r2", "q3"], "r3")
    assert await world.said() == ["q1", "r1", "q3", "r3"]


# --- any clients, any interleaving ---


@dataclass
class Client:
    """One conversation, as its client keeps it, and what should be stored of it."""

    name: int
    scope: Scope
    shown: list[Turn] = field(default_factory=list)
    """The history that the client sends."""
    cut: bool = False
    edited: bool = False
    last: list[Turn] = field(default_factory=list)


@dataclass
class Play:
    """Plays what hypothesis draws against a historian, and knows what should come of it."""

    world: World = field(default_factory=World)
    clients: dict[int, Client] = field(default_factory=dict)
    expected: Counter[tuple[VaultId, str, Role, str]] = field(default_factory=Counter)
    serial: int = 0

    def client(self, name: int) -> Client:
        if name not in self.clients:
            vault = VaultId("vw"[name % 2])
            session = ("", "s")[name // 2 % 2]
            conversation = f"c{name}" if name >= 4 else ""
            scope = Scope(vault=vault, session=session, conversation=conversation)
            self.clients[name] = Client(name=name, scope=scope)
        return self.clients[name]

    def fresh(self, kind: str) -> str:
        self.serial += 1
        return f"{kind} {self.serial}"

    def expect(self, client: Client, role: Role, text: str) -> None:
        self.expected[client.scope.vault, client.scope.session, role, text] += 1

    async def say(self, client: Client, step: Mapping[str, Any]) -> None:
        common = step["common"] and client.shown and not (client.cut or client.edited)
        text = step["common"] if common else self.fresh("asked")
        client.edited = False
        keep, input, answer = step["keep"], step["input"], step["answer"]
        client.shown.append(Turn(role="user", text=text, memory=keep))
        client.last = list(client.shown)
        if keep and input:
            self.expect(client, "user", text)
        reply = None
        if answer != "lost":
            reply = Reply(text=self.fresh("said"), complete=answer == "whole")
            if answer == "whole":
                client.shown.append(Turn(role="assistant", text=reply.text))
                if step["output"]:
                    self.expect(client, "assistant", reply.text)
        options = MemoryOptions(store_input=input, store_reply=step["output"])
        await self.world.send(client.last, reply, scope=client.scope, options=options)
        if not step["marks"]:  # a client may forget what it once marked
            client.shown = [Turn(role=t.role, text=t.text) for t in client.shown]

    async def retry(self, client: Client) -> None:
        if client.last:
            prompt = [Turn(role=t.role, text=t.text) for t in client.last]
            await self.world.send(prompt, None, scope=client.scope)

    async def twice(self, client: Client) -> None:
        """A client that loses patience and sends the same again while the first is under way."""
        if client.last:
            await asyncio.gather(
                *(self.world.send(client.last, None, scope=client.scope) for _ in range(2))
            )

    async def cut(self, client: Client, count: int) -> None:
        left = max(2, len(client.shown) - count)
        if len(client.shown) > left:
            client.shown = client.shown[-left:]
            client.cut = True
            client.last = []

    async def summarise(self, client: Client, count: int) -> None:
        await self.cut(client, count)
        if client.cut and len(client.shown) >= 2:
            summary = self.fresh("summary")
            client.shown.insert(0, Turn(role="user", text=summary))
            self.expect(client, "user", summary)
            await self.world.send(client.shown, None, scope=client.scope)
            client.last = []

    async def edit(self, client: Client) -> None:
        """The user goes back to the last question, and asks something else."""
        asked = [i for i, turn in enumerate(client.shown) if turn.role == "user"]
        if asked and asked[-1] > 2:  # of one turn alone nobody knows where it was said
            del client.shown[asked[-1] :]
            client.edited, client.last = True, []

    async def play(self, steps: Iterable[tuple[int, str, Mapping[str, Any]]]) -> None:
        for name, what, step in steps:
            client = self.client(name)
            match what:
                case "say":
                    await self.say(client, step)
                case "together":
                    other = self.client((name + 4) % 8)
                    await asyncio.gather(self.say(client, step), self.say(other, step))
                case "retry":
                    await self.retry(client)
                case "twice":
                    await self.twice(client)
                case "cut":
                    await self.cut(client, step["count"])
                case "summarise":
                    await self.summarise(client, step["count"])
                case "edit":
                    await self.edit(client)
            assert await self.stored() == self.expected

    async def stored(self) -> Counter[tuple[VaultId, str, Role, str]]:
        found = Counter[tuple[VaultId, str, Role, str]]()
        for vault in (VaultId("v"), VaultId("w")):
            for memory in await self.world.stored(vault):
                found[vault, memory.session, memory.role, memory.text] += 1
        return found


actions = st.sampled_from(
    ["say", "say", "say", "say", "together", "retry", "twice", "cut", "summarise", "edit"]
)
usually = st.sampled_from([True, True, True, False])
steps = st.fixed_dictionaries(
    {
        "common": st.sampled_from(["", "yes", "no"]),
        "answer": st.sampled_from(["whole", "whole", "whole", "broken", "lost"]),
        "keep": usually,
        "input": usually,
        "output": usually,
        "marks": usually,
        "count": st.integers(1, 8),
    }
)


@given(st.lists(st.tuples(st.integers(0, 7), actions, steps), max_size=25))
def test_whatever_clients_do_every_turn_is_stored_once(
    plan: list[tuple[int, str, Mapping[str, Any]]],
) -> None:
    """Resend, extension, retry, cut heads, changed heads, interleaved, with ids and without."""
    asyncio.run(Play().play(plan))


@given(st.lists(st.tuples(st.just(1) | st.just(5), actions, steps), max_size=40))
def test_one_long_conversation_is_stored_once(
    plan: list[tuple[int, str, Mapping[str, Any]]],
) -> None:
    asyncio.run(Play().play(plan))
