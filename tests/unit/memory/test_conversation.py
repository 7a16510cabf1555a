"""What of a long conversation is sent: never half of a pair, and seldom another beginning."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memrouter.domain import Memory, Role, Turn
from memrouter.memory.conversation import ALIGNED, Window, head_of, kept, lead, with_lead

WINDOW = Window(threshold_tokens=100, recent_tokens=30, block_tokens=160)
STEP = WINDOW.block_tokens // 4
SYSTEM = Turn(role="system", text="Be brief.", tokens=10)


def user(text: str = "q", tokens: int = 10) -> Turn:
    return Turn(role="user", text=text, tokens=tokens)


def model(text: str = "r", tokens: int = 10) -> Turn:
    return Turn(role="assistant", text=text, tokens=tokens)


def call(*ids: str, tokens: int = 10, glued: bool = False) -> Turn:
    return Turn(role="assistant", text="", tokens=tokens, calls=ids, glued=glued)


def result(*ids: str, tokens: int = 10, role: Role = "tool") -> Turn:
    return Turn(role=role, text="", tokens=tokens, answers=ids, written=False)


def talk(rounds: int) -> list[Turn]:
    return [turn for n in range(rounds) for turn in (user(f"q{n}"), model(f"r{n}"))]


# turns, tokens of a system prompt beside them → places that are kept; None is all
CASES: dict[str, tuple[list[Turn], int, tuple[int, ...] | None]] = {
    "nothing": ([], 0, None),
    "short": (talk(5), 0, None),
    "at the threshold": (talk(5), 0, None),
    "over it by the system prompt": ([*talk(5), user()], 0, tuple(range(8, 11))),
    "one block out": ([*talk(6), user()], 0, tuple(range(8, 13))),
    "two blocks out": ([*talk(8), user()], 0, tuple(range(12, 17))),
    "the system prompt stays": (
        [SYSTEM, SYSTEM, *talk(6), user()],
        0,
        (0, 1, *range(10, 15)),
    ),
    "nobody asks": ([model(tokens=200)], 0, None),
    "one long question": ([user(tokens=500)], 0, None),
    "a loop within bounds": (
        [*talk(5), user(), call("a"), result("a")],
        0,
        tuple(range(8, 13)),
    ),
    "signed thinking binds all before it": (
        [*talk(10), Turn(role="assistant", text="x", tokens=1, signed=True), user()],
        0,
        None,
    ),
}


@pytest.mark.parametrize(("turns", "system", "places"), CASES.values(), ids=CASES)
def test_what_is_kept(turns: list[Turn], system: int, places: tuple[int, ...] | None) -> None:
    assert kept(turns, system, WINDOW) == places


def test_a_system_prompt_beside_the_messages_counts() -> None:
    assert kept(talk(5), 0, WINDOW) is None
    assert kept([*talk(4), user()], 11, WINDOW) is not None


def test_in_a_loop_that_is_too_long_the_question_stays_and_old_calls_go() -> None:
    loop = [turn for n in range(20) for turn in (call(f"c{n}"), result(f"c{n}"))]
    turns = [SYSTEM, *talk(2), user("the question"), *loop]
    places = kept(turns, 0, WINDOW)
    assert places is not None
    assert places[:2] == (0, 5)
    assert turns[5].text == "the question"
    rest = places[2:]
    assert turns[rest[0]].calls
    assert rest == tuple(range(rest[0], len(turns)))
    assert len(rest) < 14


def test_what_was_said_just_before_the_question_stays() -> None:
    """A long reply, and "shorten it": without the reply there is nothing to shorten."""
    turns = [*talk(2), user("write a report"), model("a long report", tokens=200), user("shorten")]
    places = kept(turns, 0, WINDOW)
    assert places is None or 5 in places


@pytest.mark.timeout(20)
def test_a_hundred_thousand_turns_take_linear_time() -> None:
    """A call that is answered at the very end spans every cut that could be made."""
    turns = [user("first"), call("c"), *talk(50_000), user("last"), result("c")]
    kept(turns, 0, WINDOW)


# --- any conversation ---


@st.composite
def conversations(draw: st.DrawFn) -> list[Turn]:
    sizes = st.integers(1, 60)
    turns = [SYSTEM] * draw(st.integers(0, 2))
    serial = 0
    for n in range(draw(st.integers(1, 12))):
        turns.append(user(f"q{n}", draw(sizes)))
        for _ in range(draw(st.integers(0, 4))):
            ids = [f"c{serial + i}" for i in range(draw(st.integers(1, 3)))]
            serial += len(ids)
            if draw(st.booleans()):
                turns.append(Turn(role="assistant", text="", tokens=draw(sizes), glued=True))
            turns.append(call(*ids, tokens=draw(sizes)))
            if draw(st.booleans()):
                turns.append(result(*ids, tokens=draw(sizes), role="user"))
            else:
                turns += [result(id, tokens=draw(sizes)) for id in ids]
        if draw(st.booleans()):
            turns.append(model(f"r{n}", draw(sizes)))
    if turns[-1].role == "assistant" and not turns[-1].calls:
        turns.append(user("last", draw(sizes)))
    return turns


@given(conversations())
def test_pairs_leave_and_stay_together(turns: list[Turn]) -> None:
    places = kept(turns, 0, WINDOW)
    if places is None:
        return
    stay = set(places)
    assert list(places) == sorted(stay)
    head = head_of(turns)
    assert set(range(head)) <= stay
    assert len(turns) - 1 in stay
    # What a provider sees first is a question.
    assert turns[places[head]].asks
    called = {id for i in places for id in turns[i].calls}
    answered = {id for i in places for id in turns[i].answers}
    answers = {id for turn in turns for id in turn.answers}
    assert answered <= called
    assert called & answers <= answered
    for i in places:
        if turns[i].glued:
            assert i + 1 in stay
    last = max(i for i, turn in enumerate(turns) if turn.asks)
    assert last in stay


@given(conversations())
def test_a_growing_conversation_seldom_begins_anew(turns: list[Turn]) -> None:
    starts = []
    for end in range(1, len(turns) + 1):
        if not turns[end - 1].asks:
            continue
        places = kept(turns[:end], 0, WINDOW)
        starts.append(0 if places is None else places[head_of(turns) :][0])
    assert starts == sorted(starts)
    steps = sum(turn.tokens for turn in turns) // STEP
    assert len(set(starts)) <= steps + 1


@pytest.mark.parametrize("block", [16, 6], ids=["in parts", "one that has no quarters"])
def test_the_longer_a_conversation_the_larger_the_steps(block: int) -> None:
    window = Window(threshold_tokens=20, recent_tokens=4, block_tokens=block)
    cuts = []
    for rounds in range(10, 1_500):
        turns = [turn for _ in range(rounds) for turn in (user(tokens=1), model(tokens=1))]
        places = kept([*turns, user(tokens=1)], 0, window)
        assert places is not None
        cuts.append(places[0])
    assert cuts == sorted(cuts)
    steps = [b - a for a, b in pairwise(sorted(set(cuts)))]
    assert steps == sorted(steps)
    assert set(steps) == ({4, 8, 16} if block == 16 else {6})
    assert min(cut for cut in cuts if cut % block == 0 and cut >= 64 * block) == 64 * block


# --- a new turn alone ---


def stored(texts: list[str], first: int = 0) -> list[Memory]:
    roles: tuple[Role, Role] = ("user", "assistant")
    now = datetime(2026, 6, 5, tzinfo=UTC)
    return [
        Memory(id=i + 1, role=roles[i % 2], text=t, created=now, position=first + i, tokens=5)
        for i, t in enumerate(texts)
    ]


TALK = ["q1", "r1", "q2", "r2"]

# what is stored, prompt → texts put in front
LEADS: dict[str, tuple[list[str], list[Turn], list[str]]] = {
    "a new turn": (TALK, [user("q3")], TALK),
    "behind a system prompt": (TALK, [SYSTEM, user("q3")], TALK),
    "two new turns": (TALK, [user("q3"), user("and")], TALK),
    "nothing stored": ([], [user("q3")], []),
    "no prompt": (TALK, [], []),
    "a system prompt alone": (TALK, [SYSTEM], []),
    "the whole history": (TALK, [user("q1"), model("r1"), user("q3")], []),
    "a tool's result": (TALK, [result("c", role="user")], []),
    "a retry that was never answered": ([*TALK, "q3"], [user("q3")], TALK),
    "yes, again": (["yes", "sure?"], [user("yes")], ["yes", "sure?"]),
    "questions alone, sent again": (["a", "r", "b", "r"], [user("a"), user("c")], []),
}


@pytest.mark.parametrize(("texts", "turns", "front"), LEADS.values(), ids=LEADS)
def test_what_is_put_in_front(texts: list[str], turns: list[Turn], front: list[str]) -> None:
    found = lead(stored(texts), turns)
    assert [turn.text for turn in found] == front
    assert all(turn.tokens > 5 for turn in found)


def test_what_is_put_in_front_begins_where_it_did_before() -> None:
    texts = [f"t{n}" for n in range(ALIGNED)]
    begins = {lead(stored(texts, first), [user("new")])[0].text for first in (0, ALIGNED)}
    assert begins == {"t0"}
    cut = lead(stored(texts, first=ALIGNED - 50), [user("new")])
    assert cut[0].text == "t50"


PLACES: dict[str, tuple[list[Turn], list[Any]]] = {
    "behind the system prompt": ([SYSTEM, user("new")], ["Be brief.", "a", "b", "new"]),
    "without one": ([user("new")], ["a", "b", "new"]),
    "before a later system message": (
        [SYSTEM, user("new"), SYSTEM],
        ["Be brief.", "a", "b", "new", "Be brief."],
    ),
    "alone": ([], ["a", "b"]),
}


@pytest.mark.parametrize(("turns", "texts"), PLACES.values(), ids=PLACES)
def test_where_they_are_put(turns: list[Turn], texts: list[str]) -> None:
    assert [turn.text for turn in with_lead(turns, [user("a"), model("b")])] == texts
