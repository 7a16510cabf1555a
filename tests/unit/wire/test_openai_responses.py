"""Responses: items, state that the provider holds, what Codex says of itself."""

from __future__ import annotations

import json
from typing import Any

import pytest

from memrouter.domain import Turn
from memrouter.errors import BadRequest
from memrouter.wire import raw
from memrouter.wire.openai_responses import OpenAIResponses

wire = OpenAIResponses()

CHECKED: dict[str, tuple[dict[str, Any], str | None]] = {
    "a string": ({"input": "Hi"}, None),
    "items": ({"input": [{"role": "user", "content": "Hi"}]}, None),
    "a stored prompt": ({"prompt": {"id": "p"}}, None),
    "going on": ({"previous_response_id": "r"}, None),
    "missing": ({}, "input is missing"),
    "a number": ({"input": 5}, "input is neither"),
    "a string within": ({"input": ["Hi"]}, r"input\[0\] is not an object"),
}


@pytest.mark.parametrize(("body", "said"), CHECKED.values(), ids=CHECKED)
def test_check(body: dict[str, Any], said: str | None) -> None:
    if said is None:
        wire.check(body)
        return
    with pytest.raises(BadRequest, match=said):
        wire.check(body)


STATEFUL: dict[str, tuple[dict[str, Any], bool]] = {
    "nothing": ({"input": "Hi", "previous_response_id": None}, False),
    "a response before": ({"previous_response_id": "r"}, True),
    "a conversation": ({"conversation": "conv_1"}, True),
    "a conversation as an object": ({"conversation": {"id": "conv_1"}}, True),
    "an item that is referred to": ({"input": [{"type": "item_reference", "id": "m"}]}, True),
    "a compacted history": ({"input": [{"type": "compaction", "encrypted_content": "x"}]}, True),
}


@pytest.mark.parametrize(("body", "stateful"), STATEFUL.values(), ids=STATEFUL)
def test_stateful(body: dict[str, Any], *, stateful: bool) -> None:
    assert wire.stateful(body) is stateful


def codex(**said: str) -> dict[str, Any]:
    return {"client_metadata": {"x-codex-turn-metadata": json.dumps(said)}}


UUID = "01a1faaa-5bb2-7123-b342-15de2a2bce88"
CONVERSATIONS: dict[str, tuple[dict[str, Any], str | None]] = {
    "none": ({}, None),
    "the provider's": ({"conversation": {"id": "conv_1"}, "prompt_cache_key": UUID}, "conv_1"),
    "Codex's thread": (codex(session_id="s", thread_id="t"), "t"),
    "Codex's session": (codex(session_id="s"), "s"),
    "Codex's thread, bare": ({"client_metadata": {"thread_id": "t"}}, "t"),
    "a cache key": ({"prompt_cache_key": UUID}, UUID),
    "a cache key of an app": ({"prompt_cache_key": "my-app"}, None),
    "broken": ({"client_metadata": {"x-codex-turn-metadata": "{"}}, None),
}


@pytest.mark.parametrize(("body", "conversation"), CONVERSATIONS.values(), ids=CONVERSATIONS)
def test_conversation(body: dict[str, Any], conversation: str | None) -> None:
    assert wire.conversation(body) == conversation


@pytest.mark.parametrize(
    ("kind", "chore"),
    [("turn", False), ("prewarm", True), ("compaction", True), ("memory", True), ("new", False)],
)
def test_what_codex_asks_for(kind: str, *, chore: bool) -> None:
    assert wire.chore({"input": "Hi", **codex(request_kind=kind)}) is chore


def test_other_chores() -> None:
    assert wire.chore({"input": "Generate a title for this conversation:\nHi"})
    title = {"role": "developer", "content": "You are a title generator. You output ONLY a thread "
             "title. Nothing else."}  # fmt: skip
    assert wire.chore({"input": [title, {"role": "user", "content": "Hi"}]})
    assert wire.chore({"input": "Hi", "instructions": title["content"]})
    assert wire.chore({"input": [], "generate": False})
    assert not wire.chore({"input": "Hi", "instructions": "Be kind."})


ITEMS: dict[str, tuple[dict[str, Any], tuple[str, tuple[str, ...], tuple[str, ...]]]] = {
    "function_call": ({"call_id": "c"}, ("assistant", ("c",), ())),
    "function_call_output": ({"call_id": "c", "output": "x"}, ("tool", (), ("c",))),
    "custom_tool_call": ({"call_id": "c", "input": "x"}, ("assistant", ("c",), ())),
    "custom_tool_call_output": ({"call_id": "c"}, ("tool", (), ("c",))),
    "local_shell_call": ({"id": "i", "action": {"command": ["ls"]}}, ("assistant", ("i",), ())),
    "local_shell_call_output": ({"id": "i"}, ("tool", (), ("i",))),
    "computer_call": ({"id": "i", "call_id": "c"}, ("assistant", ("c",), ())),
    "computer_call_output": ({"call_id": "c", "output": {}}, ("tool", (), ("c",))),
    "mcp_approval_request": ({"id": "i"}, ("assistant", ("i",), ())),
    "mcp_approval_response": ({"approval_request_id": "i"}, ("tool", (), ("i",))),
    "web_search_call": ({"id": "ws_1", "action": {}}, ("assistant", (), ())),
    "reasoning": ({"summary": [{"text": "x"}], "encrypted_content": "y"}, ("assistant", (), ())),
    "item_reference": ({"id": "m"}, ("assistant", (), ())),
}


@pytest.mark.parametrize(("kind", "row"), ITEMS.items())
def test_items_that_are_no_messages(
    kind: str, row: tuple[dict[str, Any], tuple[str, tuple[str, ...], tuple[str, ...]]]
) -> None:
    item, expected = row
    (turn,) = wire.turns({"input": [{"type": kind, **item}]})
    assert (turn.role, turn.calls, turn.answers) == expected
    assert (turn.text, turn.written, turn.glued) == ("", False, kind == "reasoning")


def test_a_string_is_one_message() -> None:
    body = raw.split_object(rb'{"input": "caf\u00e9 \ud800", "n": 1.0}')
    assert [t.asks for t in wire.turns(raw.parse(raw.join_object(body)))] == [True]
    assert bytes(wire.inject(body, {0: "b"}, None)["input"]) == rb'"b\n\ncaf\u00e9 \ud800"'
    assert wire.inject(body, {1: "b"}, None) == body
    assert wire.keep(body, [0]) == body
    assert bytes(wire.keep(body, [])["input"]) == b"[]"
    led = wire.lead(body, [Turn(role="user", text="a"), Turn(role="assistant", text="b")])
    assert bytes(led["input"]) == (
        rb'[{"role":"user","content":"a"},{"role":"assistant","content":"b"},'
        rb'{"role":"user","content":"caf\u00e9 \ud800"}]'
    )
    assert wire.lead(body, []) == body


def test_developer_messages_stay_in_front() -> None:
    given = b'{"input":[{"role":"developer","content":"d"},{"role":"user","content":"u"}]}'
    led = wire.lead(raw.split_object(given), [Turn(role="user", text="a")])
    assert [i["content"] for i in raw.parse(raw.join_object(led))["input"]] == ["d", "a", "u"]


def test_rest() -> None:
    assert wire.model({"model": "gpt-5.5"}, "") == "gpt-5.5"
    assert wire.with_model({}, "/p", "x")[1] == "/p"
    assert wire.streams({"stream": True}, "")
    assert wire.system_text({"instructions": "Be kind."}) == "Be kind."
    assert wire.error(400, "No", "Yes") == {"error": "No", "hint": "Yes"}


@pytest.mark.parametrize("odd", [{}, [], 1, None], ids=str)
def test_outputs_of_an_odd_type_are_read(odd: Any) -> None:
    output = [{"type": odd, "text": "x"}]
    item = {"type": "function_call_output", "call_id": "c", "output": output}
    [turn] = wire.turns({"input": [item]})
    assert turn.role == "tool"
