from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memrouter.domain import Block, Scope, Turn, VaultId
from memrouter.memory import lineage, sticky

NOW = datetime(2026, 6, 5, 21, 0, tzinfo=UTC)
REVISION = 7

SYSTEM = Turn(role="system", text="Be brief.")
CALL = Turn(role="assistant", text="", calls=("call_1",))
RESULT = Turn(role="tool", text="", answers=("call_1",))
RESULT_BY_USER = Turn(role="user", text="", written=False, answers=("call_1",))
REMINDER = Turn(role="user", text="<system-reminder>", written=False)


def user(text: str) -> Turn:
    return Turn(role="user", text=text)


def model(text: str) -> Turn:
    return Turn(role="assistant", text=text)


def block(
    text: str = "B", *, tokens: int = 10, revision: int = REVISION, chunks: tuple[int, ...] = ()
) -> Block:
    return Block(key=b"", text=text, chunks=chunks, tokens=tokens, made=NOW, revision=revision)


def replay(
    turns: list[Turn], held: Mapping[int, Block], *, revision: int = REVISION, limit: int = 100
) -> sticky.Replay:
    """Replay where `held` says which message has which block."""
    keys = lineage.prompt_keys(Scope(vault=VaultId("v")), turns)
    by_key = {keys[i]: b for i, b in held.items()}
    return sticky.replay(turns, keys, by_key, revision, limit)


ASKED = {
    "nothing": ([], []),
    "system only": ([SYSTEM], []),
    "one question": ([SYSTEM, user("a")], [1]),
    "two": ([user("a"), model("b"), user("c")], [0, 2]),
    "not an agent's": ([REMINDER, user("a"), REMINDER], [1]),
    "not a tool's": ([user("a"), CALL, RESULT_BY_USER], [0]),
    "not an empty one": ([user("a"), user(" \n")], [0]),
    "also what is not to be stored": ([Turn(role="user", text="a", memory=False)], [0]),
}


@pytest.mark.parametrize(("turns", "at"), ASKED.values(), ids=ASKED)
def test_which_turns_ask(turns: list[Turn], at: list[int]) -> None:
    assert sticky.asked(turns) == at


# --- the block of the last turn ---

# turns, place of the last question
LOOPS = {
    "a call": ([user("q"), CALL], 0),
    "a call and its result": ([user("q"), CALL, RESULT], 0),
    "results in user messages": ([user("q"), CALL, RESULT_BY_USER], 0),
    "many rounds": ([user("q"), CALL, RESULT, model("hm"), CALL, RESULT], 0),
    "a reminder after it": ([user("q"), CALL, RESULT, REMINDER], 0),
    "after other turns": ([user("a"), model("b"), user("q"), CALL, RESULT], 2),
}


@pytest.mark.parametrize(("turns", "at"), LOOPS.values(), ids=LOOPS)
def test_in_a_tool_loop_the_block_stands_whatever_was_stored_since(
    turns: list[Turn], at: int
) -> None:
    found = replay(turns, {at: block(revision=REVISION - 3)})
    assert found.settled
    assert found.blocks == {at: block(revision=REVISION - 3)}


def test_an_empty_block_settles_a_tool_loop_too() -> None:
    found = replay([user("q"), CALL, RESULT], {0: block("", tokens=0, revision=1)})
    assert found.settled


def test_calls_before_the_question_are_no_tool_loop() -> None:
    turns = [user("a"), CALL, RESULT, model("b"), user("q")]
    assert not sticky.in_tool_loop(turns, 4)
    assert not replay(turns, {4: block(revision=REVISION - 1)}).settled


def test_a_retry_gets_the_same_block_while_the_vault_stands_still() -> None:
    assert replay([user("q")], {0: block()}).settled
    assert not replay([user("q")], {0: block()}, revision=REVISION + 1).settled


def test_an_outdated_block_of_the_last_turn_does_not_stand() -> None:
    found = replay([user("q")], {0: block(chunks=(1,))}, revision=REVISION + 1)
    assert found.blocks == {}
    assert found.chunks == frozenset()


def test_a_new_turn_has_no_block() -> None:
    assert replay([user("q")], {}) == sticky.Replay()


# --- the blocks of earlier turns ---

TALK = [SYSTEM, user("a"), model("b"), user("c"), model("d"), user("e")]


def test_blocks_of_earlier_turns_stand_where_they_were() -> None:
    held = {1: block("one", chunks=(1, 2)), 3: block("two", chunks=(3,))}
    found = replay(TALK, held, revision=REVISION + 5)
    assert found.blocks == held
    assert not found.settled
    assert found.dropped == ()
    assert found.chunks == {1, 2, 3}


def test_a_turn_without_a_block_gets_none_later() -> None:
    assert replay(TALK, {3: block()}).blocks == {3: block()}


def test_blocks_of_a_conversation_that_went_another_way_do_not_stand() -> None:
    keys = lineage.prompt_keys(Scope(vault=VaultId("v")), TALK)
    edited = [SYSTEM, user("A"), *TALK[2:]]
    other_keys = lineage.prompt_keys(Scope(vault=VaultId("v")), edited)
    held = {keys[1]: block(), keys[3]: block()}
    assert sticky.replay(edited, other_keys, held, REVISION, 100) == sticky.Replay()


def test_without_a_question_nothing_is_replayed() -> None:
    assert replay([SYSTEM, model("b")], {1: block()}) == sticky.Replay()


# tokens of the blocks of two earlier turns, limit, whether they stay
ROOM = {
    "room for all": (50, 49, 100, True),
    "just room": (50, 50, 100, True),
    "too much": (50, 51, 100, False),
    "one too big": (101, 0, 100, False),
    "no room at all": (1, 0, 0, False),
    "empty blocks need none": (0, 0, 0, True),
}


@pytest.mark.parametrize(("one", "two", "limit", "stay"), ROOM.values(), ids=ROOM)
def test_blocks_that_take_too_much_room_all_go(one: int, two: int, limit: int, stay: bool) -> None:
    held = {1: block(tokens=one, chunks=(1,)), 3: block(tokens=two, chunks=(2,))}
    found = replay(TALK, held, limit=limit)
    keys = lineage.prompt_keys(Scope(vault=VaultId("v")), TALK)
    assert found.blocks == (held if stay else {})
    assert found.dropped == (() if stay else (keys[1], keys[3]))
    assert found.chunks == ({1, 2} if stay else set())


def test_in_a_tool_loop_nothing_is_dropped() -> None:
    held = {1: block(tokens=500), 3: block(tokens=500), 5: block(tokens=10)}
    found = replay([*TALK, CALL, RESULT], held)
    assert found.blocks == held
    assert found.dropped == ()


@given(
    st.lists(st.tuples(st.integers(0, 60), st.booleans()), min_size=1, max_size=12),
    st.integers(0, 200),
)
def test_a_conversation_replays_a_prefix_or_starts_afresh(
    spoken: list[tuple[int, bool]], limit: int
) -> None:
    """What stands for turn n stands unchanged for turn n + 1, or all of it is dropped at once."""
    turns: list[Turn] = []
    held: dict[bytes, Block] = {}
    before: dict[int, Block] = {}
    for n, (tokens, has_block) in enumerate(spoken):
        turns.append(user(f"q{n}"))
        keys = lineage.prompt_keys(Scope(vault=VaultId("v")), turns)
        found = sticky.replay(turns, keys, held, n, limit)
        assert found.blocks in (before, {})
        assert set(found.dropped) in (set(), {keys[i] for i in before})
        assert sum(b.tokens for b in found.blocks.values()) <= limit
        for key in found.dropped:
            del held[key]
        before = dict(found.blocks)
        if has_block:
            held[keys[-1]] = before[len(turns) - 1] = block(f"b{n}", tokens=tokens, revision=n)
        turns.append(model(f"r{n}"))
