"""Which dialect messages are in, what of them may be stored, and what is answered."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest

from memrouter.domain import Json, MemoryOptions, NewTurn, Role, Turn
from memrouter.edge import inference_api as api
from memrouter.edge.access import Access
from memrouter.edge.controls import Controls
from memrouter.errors import BadRequest
from memrouter.testing.clock import FixedClock

DIALECTS: dict[str, tuple[Any, str]] = {
    "text": ("hi", "openai_chat"),
    "text in parts": ([{"type": "text", "text": "hi"}], "openai_chat"),
    "OpenAI's image": ([{"type": "image_url", "image_url": {"url": "x"}}], "openai_chat"),
    "Anthropic's image": ([{"type": "image", "source": {}}], "anthropic_messages"),
    "Anthropic's document": ([{"type": "document"}], "anthropic_messages"),
    "a tool result": ([{"type": "tool_result", "tool_use_id": "t"}], "anthropic_messages"),
    "thinking": ([{"type": "thinking", "thinking": "…"}], "anthropic_messages"),
    "odd parts": ([5, {"type": 5}, {}, None], "openai_chat"),
    "no content": (None, "openai_chat"),
}


@pytest.mark.parametrize(("content", "name"), DIALECTS.values(), ids=DIALECTS)
def test_dialects(content: Any, name: str) -> None:
    body: Json = {"messages": [{"role": "user"}, {"role": "user", "content": content}]}
    assert api._checked(body).name == name


@pytest.mark.parametrize("messages", [None, "hi", {}, 5, ["hi"], [{}, 5]])
def test_messages_that_are_none(messages: Any) -> None:
    with pytest.raises(BadRequest, match="messages") as caught:
        api._checked({"messages": messages})
    assert caught.value.hint
    with pytest.raises(BadRequest, match="messages"):
        api._checked({})


SWITCHES: dict[str, tuple[MemoryOptions, list[Role]]] = {
    "both": (MemoryOptions(), ["user", "assistant"]),
    "no input": (MemoryOptions(store_input=False), ["assistant"]),
    "no reply": (MemoryOptions(store_reply=False), ["user"]),
    "neither": (MemoryOptions(store_input=False, store_reply=False), []),
}


@pytest.mark.parametrize(("options", "roles"), SWITCHES.values(), ids=SWITCHES)
def test_what_may_be_stored(options: MemoryOptions, roles: list[Role]) -> None:
    to = cast("Access", _Asking(Controls(options=options)))
    turns = [Turn(role=r, text="x") for r in ("system", "user", "assistant", "tool")]
    kept = [replace(turn, memory=False) for turn in turns]
    assert [turn.role for turn in api._wanted(turns, to) if turn.memory] == roles
    assert not [turn for turn in api._wanted(kept, to) if turn.memory]


class _Asking:
    def __init__(self, asked: Controls) -> None:
        self.asked = asked


TURN = NewTurn(role="user", text="x", created=FixedClock().now(), pieces=())
SAID = [
    (True, [TURN], "Ingest accepted for background processing"),
    (True, [], "Nothing was stored: there is nothing new to remember in these messages"),
    (True, [replace(TURN, keep=False)], "Nothing was stored: there is nothing new"),
    (False, [], "Nothing was stored: the memory mode of this request stores nothing"),
]


@pytest.mark.parametrize(("accepted", "new", "message"), SAID)
def test_what_is_answered(accepted: bool, new: list[NewTurn], message: str) -> None:
    assert api._said(accepted, new).startswith(message)
