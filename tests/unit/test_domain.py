from __future__ import annotations

import dataclasses
import inspect
from dataclasses import replace
from typing import Any

import pytest

from memrouter import domain
from memrouter.domain import MemoryOptions, Mode, Turn, turn_digest

# turn → (storable, asks)
TURNS: dict[str, tuple[Turn, bool, bool]] = {
    "a user": (Turn(role="user", text="hi"), True, True),
    "an assistant": (Turn(role="assistant", text="hi"), True, False),
    "a system prompt": (Turn(role="system", text="hi", written=False), False, False),
    "an agent": (Turn(role="user", text="hi", written=False), False, False),
    "what is private": (Turn(role="user", text="hi", memory=False), False, True),
    "nothing": (Turn(role="user", text=""), False, False),
    "white space": (Turn(role="user", text=" \n\u2003"), False, False),
    "a tool's result": (Turn(role="tool", text="", answers=("c",), written=False), False, False),
}


@pytest.mark.parametrize(("turn", "storable", "asks"), TURNS.values(), ids=TURNS)
def test_turns(turn: Turn, storable: bool, asks: bool) -> None:
    assert (turn.storable, turn.asks) == (storable, asks)


@pytest.mark.parametrize(
    ("mode", "does"),
    [
        (Mode.ON, (True, True)),
        (Mode.READ, (True, False)),
        (Mode.WRITE, (False, True)),
        (Mode.OFF, (False, False)),
    ],
)
def test_modes(mode: Mode, does: tuple[bool, bool]) -> None:
    assert (mode.recalls, mode.stores) == does


@pytest.mark.parametrize("recall", [True, False])
@pytest.mark.parametrize("store_input", [True, False])
@pytest.mark.parametrize("store_reply", [True, False])
def test_memory_is_off_only_if_all_of_it_is(
    recall: bool, store_input: bool, store_reply: bool
) -> None:
    options = MemoryOptions(recall=recall, store_input=store_input, store_reply=store_reply)
    assert options.off is not any((recall, store_input, store_reply))


def values() -> list[Any]:
    return [
        found
        for _, found in inspect.getmembers(domain, dataclasses.is_dataclass)
        if found.__module__ == domain.__name__
    ]


@pytest.mark.parametrize("value", values())
def test_values_are_frozen_keyword_only_and_say_what_they_are(value: Any) -> None:
    assert value.__doc__
    assert not value.__doc__.startswith(f"{value.__name__}(")
    assert value.__dataclass_params__.frozen
    assert all(field.kw_only for field in dataclasses.fields(value))


def test_the_digest_of_a_turn_is_that_of_its_words() -> None:
    turn = Turn(role="user", text=" hi\n", tokens=3)
    assert turn.digest == turn.digest == turn_digest("user", "hi")
    assert replace(turn, text="ho").digest == turn_digest("user", "ho")
    assert turn == Turn(role="user", text=" hi\n", tokens=3)
    assert "digest" not in repr(turn)
