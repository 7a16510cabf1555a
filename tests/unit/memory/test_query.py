"""What to ask memory, from the turns of a prompt."""

from __future__ import annotations

from memrouter.domain import Turn
from memrouter.memory import query

USER = Turn(role="user", text="Where do I live?")
BEFORE = Turn(role="user", text="I moved to Porto.")
REPLY = Turn(role="assistant", text="How nice!")
SYSTEM = Turn(role="system", text="Be brief.")
TOOL = Turn(role="tool", text="{}", written=False)


def test_the_last_user_turn_is_the_question() -> None:
    assert query.question([SYSTEM, BEFORE, REPLY, USER]) == "Where do I live?"
    assert query.question([BEFORE, REPLY, USER, TOOL]) == "Where do I live?"


def test_without_a_user_there_is_no_question() -> None:
    assert query.question([SYSTEM, REPLY]) == ""
    assert query.surroundings([SYSTEM, REPLY]) == ""
    assert query.question([]) == ""


def test_surroundings_are_the_turns_just_before_newest_first() -> None:
    turns = [SYSTEM, Turn(role="user", text="Long ago"), BEFORE, REPLY, TOOL, USER]
    assert query.surroundings(turns) == "How nice!\nI moved to Porto."


def test_long_turns_are_looked_at_from_both_ends() -> None:
    long = "first " + "x" * 100_000 + " last"
    asked = query.question([Turn(role="user", text=long)])
    assert len(asked) == query.LONGEST + 1
    assert asked.startswith("first")
    assert asked.endswith("last")
    around = query.surroundings([Turn(role="user", text=long), USER])
    assert len(around) == query.NEAR + 1
