"""What parameters mean, and what a search shows of what was found. See also tests/integration."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, cast

import pytest

from memrouter.domain import Chunk, Hit, MemoryOptions, Scope, VaultId
from memrouter.edge import memory_api as api
from memrouter.edge.access import Access
from memrouter.errors import BadRequest

NUMBERS = {
    "0": 0,
    "12": 12,
    "9223372036854775807": (1 << 63) - 1,
    "9223372036854775808": None,
    "9" * 5000: None,
    "": None,
    "-1": None,
    "1.5": None,
    "x": None,
    "²": None,
    "١": None,
}


@pytest.mark.parametrize(("text", "number"), NUMBERS.items(), ids=[n[:20] for n in NUMBERS])
def test_numbers_of_memories(text: str, number: int | None) -> None:
    assert api._number(text) == number


@pytest.mark.parametrize(
    ("said", "after"),
    [({}, 0), ({"after": "memory_7"}, 7), ({"after": "7"}, 7), ({"after": ""}, 0)],
)
def test_cursors(said: dict[str, str], after: int) -> None:
    assert api._after(said) == after


def hit(turn: int, score: float, text: str = "x") -> Hit:
    created = datetime(2026, 6, 5, tzinfo=UTC)
    chunk = Chunk(id=turn, turn=turn, role="user", text=text, tokens=1, created=created)
    return Hit(chunk=chunk, score=score)


def test_of_a_long_memory_the_best_part_is_shown() -> None:
    hits = (hit(1, 0.5), hit(2, 0.9, "best"), hit(2, 0.4), hit(3, 0.7))
    found = api._best_of_each(hits)
    assert [(h.chunk.turn, h.score) for h in found] == [(2, 0.9), (3, 0.7), (1, 0.5)]
    assert found[0].chunk.text == "best"


class _Head:
    def __init__(self, named: dict[str, str], parameters: dict[str, str]) -> None:
        self.named = named
        self.parameters = parameters


class _To:
    def __init__(self, session: str, **said: Any) -> None:
        self.scope = Scope(vault=VaultId("v"), session=session)
        self.head = _Head(said.get("named", {}), said.get("parameters", {}))
        self.options = MemoryOptions()


NAMES = ("x-session-id", "session_id", "x-chat-id")
CLEARED: dict[str, tuple[_To, tuple[str | None, bool]]] = {
    "all": (_To(""), (None, False)),
    "all, by a key in the query": (_To("", parameters={"key": "mk_x"}), (None, False)),
    "a session": (_To("s", named={"x-session-id": "s"}), ("s", False)),
    "a session in the query": (_To("s", parameters={"session_id": "s"}), ("s", False)),
    "reset": (_To("", parameters={"reset": "true"}), (None, True)),
    "reset, as a number": (_To("", parameters={"reset": "1"}), (None, True)),
    "no reset": (_To("s", parameters={"reset": "false"}), ("s", False)),
}


@pytest.mark.parametrize(("to", "cleared"), CLEARED.values(), ids=CLEARED)
def test_what_is_cleared(to: _To, cleared: tuple[str | None, bool]) -> None:
    assert api._to_clear(cast("Access", to), NAMES) == cleared


DOUBTFUL: dict[str, _To] = {
    "an empty session": _To("", named={"x-session-id": ""}),
    "an empty session of a front end": _To("", named={"x-chat-id": ""}),
    "an empty session in the query": _To("", parameters={"session_id": ""}),
    "a parameter that we do not know": _To("", parameters={"session": "s"}),
    "reset that is none": _To("", parameters={"reset": "yes please"}),
    "reset of a session": _To("s", parameters={"reset": "true"}),
}


@pytest.mark.parametrize("to", DOUBTFUL.values(), ids=DOUBTFUL)
def test_in_doubt_nothing_is_cleared(to: _To) -> None:
    with pytest.raises(BadRequest) as caught:
        api._to_clear(cast("Access", to), NAMES)
    assert caught.value.hint
