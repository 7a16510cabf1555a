"""What a vault holds on a question: through store and embedder, within budget and floor."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from zlib import crc32

import numpy as np
import pytest

from memrouter.domain import Budget, NewTurn, Piece, Role, Scope, VaultId, Vector, Vectors
from memrouter.errors import EmbedderError
from memrouter.memory import analysis, finder, lineage, passages, scoring
from memrouter.memory.backlog import Backlog
from memrouter.memory.encoders import Encoders
from memrouter.memory.finder import Finder
from memrouter.memory.question import read
from memrouter.ports import Asked
from memrouter.testing.store import MemoryVaultStore

START = datetime(2024, 3, 1, 9, 0, tzinfo=UTC)
NOW = datetime(2024, 6, 12, 12, 0, tzinfo=UTC)
VAULT = VaultId("v")
CORE = Scope(vault=VAULT)
AMPLE = Budget(memories=50, tokens=100_000)


class Letters:
    """Words as random directions: texts are alike as far as they share words."""

    name = "letters"
    dimension = 64
    instant = True

    def __init__(self, name: str = "letters") -> None:
        self.name = name

    def _vector(self, text: str) -> Vector:
        total = np.full(self.dimension, 1e-6, np.float32)
        for word in text.lower().split():
            chance = np.random.default_rng(crc32(word.strip("?.,!").encode("utf-8", "replace")))
            total += chance.standard_normal(self.dimension).astype(np.float32)
        unit: Vector = (total / np.linalg.norm(total)).astype(np.float32)
        return unit

    async def query(self, text: str, rarity: Mapping[str, float]) -> Asked:
        """See Embedder.query."""
        vector = self._vector(text)
        return Asked(weighted=vector, plain=vector)

    async def passages(self, texts: Sequence[str]) -> Vectors:
        """See Embedder.passages."""
        return np.array([self._vector(text) for text in texts], np.float32)


class World:
    """A store, an embedder, and a finder over them."""

    def __init__(self, *, floor: float = 0.3) -> None:
        self.store = MemoryVaultStore()
        self.embedder = Letters()
        self.finder = Finder(self.store, self.embedder, floor=floor)
        self._said = 0

    async def say(
        self, *texts: str, role: Role = "user", session: str = "", tokens: int = 10
    ) -> None:
        """Store turns on days of their own, and their vectors."""
        turns = []
        for text in texts:
            self._said += 1
            created = START + timedelta(days=self._said)
            piece = Piece(text=text, tokens=tokens, terms=analysis.index_terms(text, created))
            turns.append(
                NewTurn(
                    role=role,
                    text=text,
                    created=created,
                    pieces=(piece,),
                    session=session,
                    conversation=f"c{self._said}",
                    digest=lineage.digest(role, text),
                )
            )
        await self.store.remember(VAULT, turns, now=NOW)
        await Backlog(self.store, self.embedder).drain_some(VAULT)

    async def found(self, text: str, around: str = "", **options: object) -> list[str]:
        """Texts that are found, best first."""
        options = {"budget": AMPLE, "scope": CORE, "now": NOW} | options
        scope = options.pop("scope")
        hits = await self.finder.find(scope, text, around, **options)  # type: ignore[arg-type]
        return [hit.chunk.text for hit in hits.hits]


async def test_an_empty_vault_holds_nothing() -> None:
    assert await World().found("Where do I live?") == []


async def test_the_best_comes_first_with_scores_between_0_and_1() -> None:
    world = World()
    await world.say("bread is baked", "I live in Porto", "cheese is made")
    found = await world.finder.find(CORE, "Where do I live?", budget=AMPLE, now=NOW)
    assert found.hits[0].chunk.text == "I live in Porto"
    scores = [hit.score for hit in found.hits]
    assert all(0 <= score <= 1 for score in scores)
    assert found.revision > 0


@pytest.mark.parametrize("text", ["hi", "thanks!", "", "  ", "ok, great", "and you?"])
async def test_small_talk_finds_nothing(text: str) -> None:
    world = World()
    await world.say("hi there", "thanks a lot", "ok great")
    assert await world.found(text) == []


async def test_what_was_never_said_finds_nothing_unless_asked_for() -> None:
    world = World(floor=0.47)
    await world.say("bread is baked", "cheese is made")
    assert await world.found("Which antihistamine was prescribed?") == []
    assert len(await world.found("Which antihistamine was prescribed?", floor=False)) == 2


async def test_a_single_word_finds_more_where_a_conversation_was_cut() -> None:
    """What was left out was said in this very conversation: no small talk has to be feared."""
    world = World(floor=0.47)
    await world.say("The cottage is by the sea", "bread is baked", *(f"cottage {n}" for n in "abc"))
    assert await world.found("Where was the cottage?") == []
    assert "The cottage is by the sea" in await world.found("Where was the cottage?", cut=True)
    assert await world.found("Which antihistamine was prescribed?", cut=True) == []
    assert await world.found("thanks!", cut=True) == []


async def test_where_it_is_in_doubt_the_best_few_of_someones_words_are_found() -> None:
    said = [f"I keep object {n} in a drawer" for n in range(9)]
    question, chore = "Where do I keep my object with a drawer?", "Keep object with a drawer?"
    sure = World(floor=0.0)
    await sure.say(*said)
    assert len(await sure.found(question)) > finder.FEW
    signals = await sure.store.signals(CORE)
    asked = read(question, "", NOW)
    looked = scoring.look_up(signals, asked)
    near = scoring.similar(signals, await sure.embedder.query(question, {}))
    relevance = scoring.rank(signals, asked, looked, near, count=9).relevance
    for above, few in ((finder.DOUBT - 0.01, finder.FEW), (finder.DOUBT + 0.01, 0)):
        doubting = Finder(sure.store, sure.embedder, floor=relevance + above)
        hits = (await doubting.find(CORE, question, budget=AMPLE, now=NOW)).hits
        assert len(hits) == few
        assert not (await doubting.find(CORE, chore, budget=AMPLE, now=NOW)).hits


async def test_what_is_far_below_the_best_is_left_out() -> None:
    world = World()
    await world.say("Porto is on the Douro river", *(f"filler {n} text" for n in range(20)))
    assert await world.found("Is Porto on the Douro river?") == ["Porto is on the Douro river"]


async def test_what_the_prompt_holds_is_not_found() -> None:
    world = World()
    await world.say("I live in Porto", "I live by the river in Porto")
    exclude = frozenset({lineage.digest("user", "I live in Porto")})
    found = await world.found("Do I live in Porto?", exclude=exclude)
    assert found == ["I live by the river in Porto"]


async def test_what_stands_in_a_replayed_block_is_not_found() -> None:
    world = World()
    await world.say("I live in Porto", "I live by the river in Porto")
    found = await world.finder.find(CORE, "Do I live in Porto?", budget=AMPLE, now=NOW)
    taken = frozenset({found.hits[0].chunk.id})
    texts = await world.found("Do I live in Porto?", taken=taken)
    assert found.hits[0].chunk.text not in texts
    assert len(texts) == len(found.hits) - 1


async def test_what_a_replayed_block_holds_keeps_its_place_in_the_budget() -> None:
    """A question gets its best memories, wherever they stand; not the next best beside them."""
    world = World()
    await world.say("Porto", "Porto by the river", "Porto by the sea, far away", "Lyon")
    two = Budget(memories=2, tokens=2_000)
    found = await world.finder.find(CORE, "Porto?", budget=two, floor=False, now=NOW)
    first, second = (hit.chunk for hit in found.hits)
    taken = frozenset({first.id})
    assert await world.found("Porto?", budget=two, floor=False, taken=taken) == [second.text]
    both = frozenset({first.id, second.id})
    assert await world.found("Porto?", budget=two, floor=False, taken=both) == []


async def test_a_budget_skips_what_is_too_big() -> None:
    world = World()
    await world.say("Porto Porto Porto", tokens=900)
    await world.say("Porto again", "Porto once more", tokens=20)
    budget = Budget(memories=50, tokens=2 * (20 + passages.LINE_TOKENS))
    assert sorted(await world.found("Porto", budget=budget, floor=False)) == [
        "Porto again",
        "Porto once more",
    ]
    one = Budget(memories=1, tokens=2_000)
    assert await world.found("Porto", budget=one, floor=False) == ["Porto Porto Porto"]


async def test_sessions_do_not_mix() -> None:
    world = World()
    await world.say("the code is 1111 for core")
    await world.say("the code is 2222 for one", session="one")
    await world.say("the code is 3333 for two", session="two")
    one = Scope(vault=VAULT, session="one")
    assert sorted(await world.found("What is the code, please?", scope=one)) == [
        "the code is 1111 for core",
        "the code is 2222 for one",
    ]
    alone = await world.found("What is the code, please?", scope=one, core=False)
    assert alone == ["the code is 2222 for one"]


async def test_a_follow_up_recalls_by_what_was_said_before() -> None:
    world = World()
    await world.say("The camper van from Ghent needs a new clutch")
    assert await world.found("what about it?") == []
    assert await world.found("what about it?", "We talk of the camper van") == [
        "The camper van from Ghent needs a new clutch"
    ]
    for text in ("thanks!", "make it shorter", "what do you mean by that?", "and you?"):
        assert await world.found(text, "We talk of the camper van") == []


async def test_vectors_of_another_embedder_are_not_compared() -> None:
    world = World()
    await world.say("I live in Porto")
    other = Finder(world.store, Letters("other"), floor=0.3)
    found = await other.find(CORE, "Do I live in Porto?", budget=AMPLE, now=NOW)
    assert [hit.chunk.text for hit in found.hits] == ["I live in Porto"]


async def test_many_rows_are_ranked_off_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finder, "LARGE", 1)
    world = World()
    await world.say("bread is baked", "I live in Porto", "cheese is made")
    assert (await world.found("Where do I live?"))[0] == "I live in Porto"


async def test_without_a_clock_now_is_when_the_vault_last_grew() -> None:
    world = World()
    await world.say("bread is baked", "the roof leaks", "cheese is made")
    assert await world.found("What did I say yesterday?", now=None) == ["the roof leaks"]


ODD = {
    "NUL": "Porto\x00Porto",
    "lone surrogate": "Porto \ud800",
    "ten megabytes": "Porto " * 1_700_000,
    "Chinese": "波尔图在哪里?",
    "only function words": "what is it that was",
    "emoji": "🏠🏠 Porto?",
}


@pytest.mark.parametrize("text", ODD.values(), ids=ODD)
async def test_odd_questions_do_no_harm(text: str) -> None:
    world = World()
    await world.say("I live in Porto", "我住在波尔图")
    await world.found(text)
    assert len(await world.found(text, floor=False)) <= 2


class Meaning(Letters):
    """An encoder that knows what "hound" is; breaks when told to."""

    broken = False

    async def query(self, text: str, rarity: Mapping[str, float]) -> Asked:
        """See Embedder.query."""
        if self.broken:
            raise EmbedderError("out of memory")
        return await super().query(text.replace("hound", "Biscuit"), rarity)


async def test_encodings_are_asked_beside_the_vectors() -> None:
    world, encoder = World(), Meaning("meaning")
    await world.say("the weather was fine", "a walk with Biscuit", "the train was late")
    found = Finder(world.store, world.embedder, floor=0.0, encoders=Encoders(encoder))

    async def first() -> list[str]:
        ranked = await found.find(CORE, "hound", budget=AMPLE, floor=False, now=NOW)
        return [hit.chunk.text for hit in ranked.hits][:1]

    unaided = await first()
    assert await world.store.encode_by(VAULT, "meaning") == 3
    while waiting := await world.store.unencoded(VAULT, "meaning", 2):
        vectors = await encoder.passages([w.text for w in waiting])
        await world.store.set_encodings(VAULT, "meaning", [w.id for w in waiting], vectors)
    assert await first() == ["a walk with Biscuit"]
    encoder.broken = True  # the vectors do without it
    assert await first() == unaided


async def test_a_slow_encoder_is_not_waited_for() -> None:
    world, encoder = World(), Slow("slow")
    await world.say("a walk with Biscuit")
    await world.store.encode_by(VAULT, "slow")
    (waiting,) = await world.store.unencoded(VAULT, "slow", 2)
    vectors = await encoder.passages([waiting.text])
    await world.store.set_encodings(VAULT, "slow", [waiting.id], vectors)
    found = Finder(
        world.store, world.embedder, floor=0.0, encoders=Encoders(encoder), encode_timeout_s=0.01
    )
    async with asyncio.timeout(5):
        ranked = await found.find(CORE, "walk", budget=AMPLE, now=NOW)
    assert len(ranked.hits) == 1


class Slow(Letters):
    """Never answers a question."""

    async def query(self, text: str, rarity: Mapping[str, float]) -> Asked:
        """See Embedder.query."""
        await asyncio.Event().wait()
        raise NotImplementedError
