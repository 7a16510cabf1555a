"""Plan what to inject, commit what was said; over fakes, so that each step can be seen."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, cast

import numpy as np
import pytest

from memrouter.domain import (
    Budget,
    Hit,
    MemoryOptions,
    NewTurn,
    Piece,
    Reply,
    Scope,
    Turn,
    VaultId,
    Vectors,
)
from memrouter.errors import EmbedderError, StoreFull
from memrouter.memory import lineage
from memrouter.memory.conversation import Window
from memrouter.memory.engine import Memory, Plan, Prompt
from memrouter.memory.finder import Finder, Found
from memrouter.memory.forgive import attempt
from memrouter.memory.historian import Historian
from memrouter.memory.settings import MemorySettings
from memrouter.ports import Asked, Stored
from memrouter.testing.clock import FixedClock
from memrouter.testing.store import MemoryVaultStore

VAULT = VaultId("v")
CORE = Scope(vault=VAULT)


def count(text: str) -> int:
    return len(text.split())


SETTINGS = MemorySettings(
    budgets={"default": Budget(memories=3, tokens=100), "low": Budget(memories=1, tokens=100)},
    zone=UTC,
    count=count,
)


class WordFinder:
    """Finds what shares a word with the question; keeps what it was asked."""

    def __init__(self, store: MemoryVaultStore) -> None:
        self._store = store
        self.asked: list[dict[str, Any]] = []

    async def find(
        self,
        scope: Scope,
        text: str,
        surroundings: str = "",
        *,
        budget: Budget,
        exclude: frozenset[bytes] = frozenset(),
        taken: frozenset[int] = frozenset(),
        **more: Any,
    ) -> Found:
        self.asked.append({"text": text, "surroundings": surroundings, "budget": budget, **more})
        signals = await self._store.signals(scope)
        chunks = await self._store.chunks(scope.vault, [int(id) for id in signals.ids])
        hits = [
            Hit(chunk=chunk, score=1.0)
            for chunk in chunks
            if set(chunk.text.split()) & set(text.split())
            and chunk.digest not in exclude
            and chunk.id not in taken
        ]
        return Found(hits=tuple(hits[: budget.memories]), revision=signals.revision)


class OneVector:
    """An embedder to which all texts are alike. Implements ports.Embedder."""

    name = "one-vector"
    dimension = 4
    instant = True

    def __init__(self) -> None:
        self.failing = False

    async def query(self, text: str, rarity: Mapping[str, float]) -> Asked:
        vector = np.full(4, 0.5, np.float32)
        return Asked(weighted=vector, plain=vector)

    async def passages(self, texts: Sequence[str]) -> Vectors:
        if self.failing:
            raise EmbedderError("The embedder broke")
        return np.full((len(texts), 4), 0.5, np.float32)


class World:
    """The engine over fakes, and one conversation with it."""

    def __init__(
        self,
        store: MemoryVaultStore | None = None,
        historian: Historian | None = None,
        settings: MemorySettings = SETTINGS,
    ) -> None:
        self.store = store or MemoryVaultStore()
        self.clock = FixedClock()
        self.finder = WordFinder(self.store)
        self.embedder = OneVector()
        self.told: list[tuple[Scope, Stored]] = []
        self.memory = Memory(
            self.store,
            cast("Finder", self.finder),
            historian or Historian(self.store, settings),
            self.embedder,
            self.clock,
            settings,
            on_stored=lambda scope, stored: self.told.append((scope, stored)),
        )

    async def plan(self, *said: str | Turn, scope: Scope = CORE, **options: Any) -> Plan:
        prompt = Prompt(scope=scope, turns=turns(*said), options=MemoryOptions(**options))
        return await self.memory.plan(prompt)

    async def exchange(
        self, *said: str | Turn, reply: str = "", scope: Scope = CORE, **options: Any
    ) -> Plan:
        plan = await self.plan(*said, scope=scope, **options)
        answer = Reply(text=reply, complete=True) if reply else None
        await self.memory.commit(plan, None, answer, "gpt")
        self.clock.advance(seconds=60)
        return plan

    async def said(self, scope: Scope = CORE) -> list[str]:
        return [memory.text for memory in await self.store.memories(scope)]


def turns(*said: str | Turn) -> tuple[Turn, ...]:
    return tuple(
        t if isinstance(t, Turn) else Turn(role="assistant" if i % 2 else "user", text=t)
        for i, t in enumerate(said)
    )


@pytest.fixture
def world() -> World:
    return World()


CALL = Turn(role="assistant", text="", calls=("call_1",))
RESULT = Turn(role="tool", text="", answers=("call_1",))


# --- what is injected ---


async def test_what_is_found_goes_into_the_last_question(world: World) -> None:
    await world.exchange("dog Rex")
    plan = await world.plan("hello", "hi", "my dog ?")
    assert list(plan.recall.blocks) == [2]
    assert plan.recall.blocks[2] == plan.recall.context
    assert "[MEMORY - 1 minute ago (Fri, Jun 5, 9:00 PM)] dog Rex\n" in plan.recall.blocks[2]
    assert plan.recall.retrieved_tokens == 2
    assert plan.recall.tokens == count(plan.recall.blocks[2])
    assert [hit.chunk.text for hit in plan.recall.hits] == ["dog Rex"]
    assert plan.block is not None
    assert plan.block.key == lineage.prompt_keys(CORE, plan.turns)[2]


async def test_where_nothing_is_found_nothing_is_injected_but_that_is_kept(world: World) -> None:
    plan = await world.exchange("cat ?")
    assert plan.recall.blocks == {}
    assert plan.recall.context is None
    assert plan.block is not None
    assert plan.block.text == ""
    # Within the tool loop that follows, nothing comes in although it is there now.
    await world.exchange("cat Tom", scope=Scope(vault=VAULT))
    again = await world.plan("cat ?", CALL, RESULT)
    assert again.recall.blocks == {}


async def test_what_the_prompt_holds_is_not_injected(world: World) -> None:
    await world.exchange("dog Rex", reply="dog noted")
    plan = await world.plan("dog Rex", "dog noted", "dog ?")
    assert plan.recall.blocks == {}
    other = await world.plan("dog ?")
    assert [hit.chunk.text for hit in other.recall.hits] == ["dog Rex", "dog noted"]


async def test_the_question_is_the_users_last_turn_and_what_was_said_before(world: World) -> None:
    reminder = Turn(role="user", text="<system-reminder>", written=False)
    await world.plan("first", "second", "third ?", CALL, RESULT, reminder)
    [asked] = world.finder.asked
    assert asked["text"] == "third ?"
    assert asked["cut"] is False
    assert asked["surroundings"] == "second\nfirst"


@pytest.mark.parametrize(
    ("options", "found"), [({}, 3), ({"density": "low"}, 1), ({"context_limit": 2}, 2)], ids=str
)
async def test_the_budget_is_the_requests(
    world: World, options: dict[str, Any], found: int
) -> None:
    for n in range(5):
        await world.exchange(f"dog number {n}", recall=False)
    plan = await world.plan("dog ?", **options)
    assert len(plan.recall.hits) == found


NOTHING_ASKED: dict[str, tuple[str | Turn, ...]] = {
    "no turns": (),
    "system alone": (Turn(role="system", text="dog"),),
    "an assistant alone": (Turn(role="assistant", text="dog"),),
    "an agent's text": (Turn(role="user", text="dog", written=False),),
}


@pytest.mark.parametrize("said", NOTHING_ASKED.values(), ids=NOTHING_ASKED)
async def test_without_a_question_nothing_is_looked_for(
    world: World, said: tuple[str | Turn, ...]
) -> None:
    plan = await world.exchange(*said)
    assert plan.recall.blocks == {}
    assert plan.block is None
    assert world.finder.asked == []


# --- what stays ---


async def test_on_the_next_turn_the_blocks_before_are_replayed_byte_for_byte(world: World) -> None:
    await world.exchange("dog Rex", scope=CORE)
    talk = ["my dog ?"]
    first = await world.exchange(*talk, reply="Rex it is")
    talk += ["Rex it is", "and my cat ?"]
    await world.exchange("cat Tom")
    second = await world.exchange(*talk, reply="Tom")
    assert second.recall.blocks[0] == first.recall.blocks[0]
    assert "cat Tom" in second.recall.blocks[2]
    assert "dog Rex" not in second.recall.blocks[2]
    assert second.recall.tokens == sum(map(count, second.recall.blocks.values()))
    talk += ["Tom", "thanks"]
    third = await world.plan(*talk)
    assert {i: third.recall.blocks[i] for i in (0, 2)} == second.recall.blocks
    assert third.used == tuple(lineage.prompt_keys(CORE, third.turns)[i] for i in (0, 2))


async def test_a_tool_loop_of_hours_keeps_its_block(world: World) -> None:
    await world.exchange("dog Rex")
    first = await world.exchange("my dog ?", reply="")
    for n in range(1, 6):
        loop = [t for k in range(n) for t in _round(k)]
        world.clock.advance(seconds=50 * 60)
        plan = await world.exchange("my dog ?", *loop)
        assert plan.recall.blocks == first.recall.blocks
        assert plan.block is None
    assert len(world.finder.asked) == 2


def _round(n: int) -> tuple[Turn, Turn]:
    call = Turn(role="assistant", text="", calls=(f"call_{n}",))
    return call, Turn(role="tool", text="", answers=(f"call_{n}",))


async def test_blocks_are_forgotten_when_no_cache_can_be_warm(world: World) -> None:
    await world.exchange("dog Rex")
    await world.exchange("my dog ?", reply="Rex")
    world.clock.advance(seconds=SETTINGS.sticky_s + 1)
    plan = await world.plan("my dog ?", "Rex", "sure ?")
    assert plan.recall.blocks == {}
    assert plan.used == ()


async def test_a_retry_gets_the_same_block_as_long_as_nothing_was_stored(world: World) -> None:
    await world.exchange("dog Rex")
    off: dict[str, Any] = {"store_input": False, "store_reply": False}
    first = await world.exchange("my dog ?", **off)
    world.clock.advance(seconds=1000)
    again = await world.exchange("my dog ?", **off)
    assert again.recall.blocks == first.recall.blocks
    assert again.block is None


async def test_blocks_that_outgrow_three_budgets_all_go_and_are_forgotten(world: World) -> None:
    talk: list[str] = []
    dropped = []
    for n in range(8):
        await world.exchange(f"w{n} " + "x " * 60 + str(n), recall=False)
        talk.append(f"w{n} ?")
        plan = await world.exchange(*talk, reply=f"r{n}")
        talk.append(f"r{n}")
        dropped.append(len(plan.dropped))
        if plan.dropped:
            assert list(plan.recall.blocks) == [len(talk) - 2]
        assert plan.recall.tokens <= 3 * 100 + 100
    assert sum(map(bool, dropped)) >= 1
    held, _ = await world.store.blocks(
        VAULT, lineage.prompt_keys(CORE, turns(*talk)), FixedClock().now()
    )
    assert len(held) < 8


async def test_a_conversation_and_its_twin_in_another_vault_share_nothing(world: World) -> None:
    other = Scope(vault=VaultId("w"))
    await world.exchange("dog Rex")
    await world.exchange("my dog ?", reply="yes")
    plan = await world.plan("my dog ?", "yes", "sure ?", scope=other)
    assert plan.recall.blocks == {}


# --- off ---

MODES: dict[str, tuple[dict[str, Any], bool, list[str]]] = {
    "on": ({}, True, ["my dog ?", "Rex"]),
    "no recall": ({"recall": False}, False, ["my dog ?", "Rex"]),
    "no storing": ({"store_input": False, "store_reply": False}, True, []),
    "no storing of what is asked": ({"store_input": False}, True, ["Rex"]),
    "no storing of replies": ({"store_reply": False}, True, ["my dog ?"]),
}


@pytest.mark.parametrize(("options", "recalls", "kept"), MODES.values(), ids=MODES)
async def test_switches(
    world: World, options: dict[str, Any], recalls: bool, kept: list[str]
) -> None:
    await world.exchange("dog Rex")
    plan = await world.exchange("my dog ?", reply="Rex", **options)
    assert bool(plan.recall.blocks) is recalls
    assert (await world.said())[1:] == kept


# --- what is stored ---


async def test_a_draft_is_what_the_commit_stores(world: World) -> None:
    plan = await world.plan("dog Rex")
    draft = await world.memory.draft(plan)
    assert [turn.text for turn in draft.turns] == ["dog Rex"]
    assert await world.said() == []
    world.clock.advance(seconds=30)
    stored = await world.memory.commit(plan, draft, Reply(text="ok", complete=True), "gpt")
    assert stored.turns == 2
    assert await world.said() == ["dog Rex", "ok"]
    memories = await world.store.memories(CORE)
    assert [memory.model for memory in memories] == ["", "gpt"]
    assert memories[0].conversation == memories[1].conversation == draft.conversation


async def test_every_write_is_told_of(world: World) -> None:
    await world.exchange("dog Rex", reply="ok")
    [(scope, stored)] = world.told
    assert scope == CORE
    assert len(stored.chunks) == 2


async def test_where_nothing_is_new_nothing_is_written(world: World) -> None:
    await world.exchange("dog Rex", reply="ok", recall=False)
    await world.exchange("dog Rex", reply="ok", recall=False)
    assert len(world.told) == 1


# --- a long conversation (Infinite Chat) ---

WINDOW = Window(threshold_tokens=50, recent_tokens=10, block_tokens=10)


async def test_what_is_left_out_is_stored_first_and_can_be_recalled(world: World) -> None:
    scope = Scope(vault=VAULT, conversation="c")
    talk = [t for n in range(10) for t in (f"w{n} said {n}", f"noted {n}")]
    prompt = Prompt(
        scope=scope,
        turns=tuple(
            Turn(role=t.role, text=t.text, tokens=10) for t in turns(*talk, "what about w0 ?")
        ),
        options=MemoryOptions(),
        window=WINDOW,
    )
    plan = await world.memory.plan(prompt)
    assert plan.kept is not None
    assert 0 not in plan.kept
    assert plan.kept[-1] == 20
    assert "w0 said 0" in (plan.recall.context or "")
    assert list(plan.recall.blocks) == [len(plan.kept) - 1]
    assert world.finder.asked[-1]["cut"] is True
    await world.memory.commit(plan, None, None)
    assert await world.said(scope) == [*talk, "what about w0 ?"]


def long_prompt(said: Sequence[str], question: str, conversation: str = "c") -> Prompt:
    return Prompt(
        scope=Scope(vault=VAULT, conversation=conversation),
        turns=tuple(Turn(role=t.role, text=t.text, tokens=10) for t in turns(*said, question)),
        options=MemoryOptions(),
        window=WINDOW,
    )


TALK = [t for n in range(10) for t in (f"w{n} said {n}", f"noted {n}")]


class Slow(MemoryVaultStore):
    """A store whose writes wait until they are let through."""

    def __init__(self) -> None:
        super().__init__()
        self.open = asyncio.Event()
        self.asked = asyncio.Event()
        self.done = asyncio.Event()
        self.writes: list[list[str]] = []
        self.failing = False

    async def remember(self, vault: VaultId, turns: Sequence[NewTurn], **more: Any) -> Stored:
        self.writes.append([turn.text for turn in turns])
        self.asked.set()
        await self.open.wait()
        if self.failing:
            raise StoreFull("The disk is full")
        stored = await super().remember(vault, turns, **more)
        self.done.set()
        return stored


class Counting(Historian):
    """Counts what it analyses."""

    def __init__(self, store: MemoryVaultStore) -> None:
        super().__init__(store, SETTINGS)
        self.analysed: list[str] = []

    def pieces(self, text: str, created: datetime) -> tuple[Piece, ...]:
        self.analysed.append(text)
        return super().pieces(text, created)


@pytest.mark.parametrize("conversation", ["c", ""], ids=["named", "unnamed"])
async def test_a_history_that_takes_too_long_is_stored_behind_the_request(
    conversation: str,
) -> None:
    store = Slow()
    world = World(store)
    prompt = long_prompt(TALK, "what about w0 ?", conversation)
    tried = await attempt(lambda: world.memory.plan(prompt), 0.02, "recall")
    assert tried.value is None
    assert tried.error == "recall took longer than 20 ms"
    bare = Plan(prompt=prompt)  # what the relay goes on with
    drafting = asyncio.create_task(world.memory.draft(bare))
    store.open.set()
    draft = await drafting
    assert draft.chunks == len(TALK) + 1
    assert [turn.text for turn in draft.turns] == ["what about w0 ?"]
    await world.memory.commit(bare, draft, Reply(text="w0 said 0", complete=True))
    assert store.writes == [TALK, ["what about w0 ?", "w0 said 0"]]
    said = [*TALK, "what about w0 ?", "w0 said 0"]
    assert await world.said(Scope(vault=VAULT, conversation=conversation)) == said
    again = await world.memory.plan(long_prompt(said, "and w3 ?", conversation))
    assert again.kept is not None
    assert "w3 said 3" in (again.recall.context or "")


async def test_a_history_sent_again_while_it_is_being_stored_is_not_made_anew() -> None:
    store = Slow()
    historian = Counting(store)
    world = World(store, historian)
    first, again = (long_prompt(TALK, "what about w0 ?") for _ in range(2))
    for prompt in (first, again):
        tried = await attempt(partial(world.memory.plan, prompt), 0.02, "recall")
        assert tried.value is None
    store.open.set()
    for prompt in (first, again):
        await world.memory.commit(Plan(prompt=prompt), None, None)
    assert store.writes[0] == TALK
    assert sorted(historian.analysed) == sorted([*TALK, "what about w0 ?", "what about w0 ?"])
    assert await world.said() == [*TALK, "what about w0 ?"]


async def test_the_draft_of_a_plan_serves_its_commit() -> None:
    store = MemoryVaultStore()
    historian = Counting(store)
    world = World(store, historian)
    plan = await world.memory.plan(long_prompt(TALK, "what about w0 ?"))
    await world.memory.commit(plan, await world.memory.draft(plan), None)
    assert historian.analysed == [*TALK, "what about w0 ?"]
    assert await world.said() == [*TALK, "what about w0 ?"]


async def test_a_history_that_could_not_be_stored_ahead_is_stored_with_the_answer() -> None:
    store = Slow()
    store.open.set()
    store.failing = True
    world = World(store)
    prompt = long_prompt(TALK, "what about w0 ?")
    tried = await attempt(lambda: world.memory.plan(prompt), 1.0, "recall")
    assert tried.error == "recall: StoreFull: The disk is full"
    store.failing = False
    await world.memory.commit(Plan(prompt=prompt), None, Reply(text="ok", complete=True))
    assert await world.said() == [*TALK, "what about w0 ?", "ok"]


async def test_a_client_that_leaves_does_not_stop_what_is_being_stored() -> None:
    store = Slow()
    world = World(store)
    planning = asyncio.create_task(world.memory.plan(long_prompt(TALK, "what about w0 ?")))
    await store.asked.wait()
    planning.cancel()
    with pytest.raises(asyncio.CancelledError):
        await planning
    store.open.set()
    await store.done.wait()
    assert await world.said() == TALK


@pytest.mark.parametrize(("long_tokens", "most"), [(60, 300), (500, 500)], ids=["small", "large"])
async def test_the_larger_recall_of_a_cut_conversation_is_not_multiplied(
    long_tokens: int, most: int
) -> None:
    """Replayed are three budgets of the density, or one recall where that is more."""
    settings = replace(SETTINGS, long_tokens=long_tokens, long_most=long_tokens)
    world = World(settings=settings)
    said = [t for n in range(12) for t in (f"w{n} " + "x " * 60 + str(n), "noted")]
    window = Window(threshold_tokens=50, recent_tokens=1, block_tokens=241)  # it cuts once
    dropped, replayed = 0, []
    for n in range(12):
        said.append(f"w{n} ?")
        prompt = replace(long_prompt(said[:-1], said[-1]), window=window)
        plan = await world.memory.plan(prompt)
        assert plan.kept is not None
        new = plan.block.tokens if plan.block else 0
        replayed.append(plan.recall.tokens - new)
        dropped += bool(plan.dropped)
        await world.memory.commit(plan, None, Reply(text="ok", complete=True))
        said.append("ok")
    assert dropped
    assert most - 100 < max(replayed) <= most


async def test_a_new_turn_alone_gets_the_turns_before_it_in_front(world: World) -> None:
    scope = Scope(vault=VAULT, conversation="c")
    await world.exchange("dog Rex", reply="ok", scope=scope)
    prompt = Prompt(scope=scope, turns=turns("and now ?"), options=MemoryOptions(), window=WINDOW)
    plan = await world.memory.plan(prompt)
    assert [turn.text for turn in plan.lead] == ["dog Rex", "ok"]
    assert [turn.text for turn in plan.sent] == ["dog Rex", "ok", "and now ?"]
    await world.memory.commit(plan, None, Reply(text="yes", complete=True))
    memories = await world.store.memories(scope)
    assert [(m.text, m.position) for m in memories] == [
        ("dog Rex", 0),
        ("ok", 1),
        ("and now ?", 2),
        ("yes", 3),
    ]


async def test_yes_said_twice_to_a_router_that_keeps_the_history_is_two_turns(
    world: World,
) -> None:
    """The client sends only what is new; the router knows what came before."""
    scope = Scope(vault=VAULT, conversation="c")
    for reply in ("really?", "sure?", "fine"):
        prompt = Prompt(scope=scope, turns=turns("yes"), options=MemoryOptions(), window=WINDOW)
        plan = await world.memory.plan(prompt)
        await world.memory.commit(plan, None, Reply(text=reply, complete=True))
        world.clock.advance(seconds=60)
    assert await world.said(scope) == ["yes", "really?", "yes", "sure?", "yes", "fine"]


# --- through forgive.attempt, as the relay does it ---


class Broken(MemoryVaultStore):
    """A store that fails or hangs where it is told to."""

    def __init__(self, failure: Exception | None) -> None:
        super().__init__()
        self._failure = failure

    async def blocks(self, *_: Any, **__: Any) -> Any:
        if self._failure is not None:
            raise self._failure
        await asyncio.Event().wait()


BROKEN = {
    "raises": (StoreFull("The disk is full"), "recall: StoreFull: The disk is full"),
    "has a bug": (IndexError("secret"), "recall: IndexError"),
    "hangs": (None, "recall took longer than 20 ms"),
}


@pytest.mark.parametrize(("failure", "said"), BROKEN.values(), ids=BROKEN)
async def test_a_plan_that_fails_is_none_and_what_was_said_is_stored_all_the_same(
    failure: Exception | None, said: str
) -> None:
    world = World(Broken(failure))
    prompt = Prompt(scope=CORE, turns=turns("dog Rex"), options=MemoryOptions())
    tried = await attempt(lambda: world.memory.plan(prompt), 0.02, "recall")
    assert tried.value is None
    assert tried.error == said
    await world.memory.commit(Plan(prompt=prompt), None, Reply(text="ok", complete=True))
    assert await world.said() == ["dog Rex", "ok"]


async def test_an_embedder_that_fails_does_not_keep_a_turn_from_being_stored(world: World) -> None:
    world.embedder.failing = True
    await world.exchange("dog Rex", reply="ok")
    assert await world.said() == ["dog Rex", "ok"]


@pytest.mark.parametrize("long", [False, True], ids=["short", "long"])
async def test_chunks_without_a_vector_are_told_of(world: World, long: bool) -> None:
    text = "This is a sentence of words. " * 2_000 if long else "dog Rex"
    await world.exchange(text)
    pending = await world.store.pending(VAULT, 1000)
    [(_, stored)] = world.told
    assert stored.pending is bool(pending) is long
