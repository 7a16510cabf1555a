"""Messages: where a block goes, what Claude Code sends, errors as the SDK shows them."""

from __future__ import annotations

import json
from typing import Any

import anthropic
import httpx2
import pytest

from memrouter.domain import Turn
from memrouter.wire import raw
from memrouter.wire.anthropic_messages import AnthropicMessages

wire = AnthropicMessages()

TAKES_SYSTEM = {
    "claude-opus-4-8": True,
    "claude-opus-4-8-20260528": True,
    "claude-opus-4.8": True,
    "claude-opus-5": True,
    "claude-opus-5-5": True,
    "claude-fable-5-1": True,
    "claude-mythos-5": True,
    "claude-sonnet-5-5": True,
    "claude-haiku-5-5-20261001": True,
    "claude-opus-4-7": False,
    "claude-opus-4-80": False,
    "claude-opus-4-1-20250805": False,
    "claude-sonnet-5": False,
    "claude-haiku-4-5": False,
    "claude-opus-50": False,
    "anthropic.claude-opus-4-8-v1:0": False,
    "deepseek-chat": False,
}

# roles of the messages, where the block is meant for, roles as sent; ! has the block
PLACED: dict[str, tuple[str, int, str]] = {
    "at the end": ("u", 0, "u s!"),
    "before an answer": ("u a u", 0, "u s! a u"),
    "in a tool loop": ("u a u a u", 0, "u s! a u a u"),
    "before the agent's own": ("u s", 0, "u s! s"),
    "before the agent's own and an answer": ("u s s a u", 0, "u s! s s a u"),
    "two of the user's in a row": ("u u", 0, "u! u"),
    "the last of them": ("u u", 1, "u u s!"),
    "the agent's own before another turn of the user": ("u s u", 0, "u! s u"),
    "a system message first": ("s u", 1, "s u s!"),
    "an answer that is begun": ("u a", 0, "u s! a"),
    "not a turn of the user": ("u a", 1, "u a!"),
}
ROLES = {"u": "user", "a": "assistant", "s": "system"}


def sent(roles: str) -> dict[str, Any]:
    return {"messages": [{"role": ROLES[r], "content": "Hi"} for r in roles.split()]}


def placed(roles: str, at: int, model: str) -> str:
    body = raw.split_object(json.dumps(sent(roles)).encode())
    injected = raw.parse(raw.join_object(wire.inject(body, {at: "BLOCK"}, model)))
    marks = []
    for message in injected["messages"]:
        mark = "!" if "BLOCK" in message["content"] else ""
        marks.append(message["role"][0] + mark)
    return " ".join(marks)


@pytest.mark.parametrize(("roles", "at", "expected"), PLACED.values(), ids=PLACED)
def test_place_of_the_block(roles: str, at: int, expected: str) -> None:
    assert placed(roles, at, "claude-opus-4-8") == expected


@pytest.mark.parametrize(("model", "takes"), TAKES_SYSTEM.items())
def test_models_that_take_a_system_message(model: str, *, takes: bool) -> None:
    assert placed("u a u", 2, model) == ("u a u s!" if takes else "u a u!")


def test_several_blocks_keep_their_places() -> None:
    body = raw.split_object(json.dumps(sent("u a u u a u")).encode())
    injected = wire.inject(body, {0: "x", 2: "y", 5: "z"}, "claude-opus-5")
    messages = raw.parse(raw.join_object(injected))["messages"]
    assert [(m["role"][0], m["content"]) for m in messages] == [
        ("u", "Hi"),
        ("s", "x"),
        ("a", "Hi"),
        ("u", "y\n\nHi"),  # another turn of the user follows, so there is no place after it
        ("u", "Hi"),
        ("a", "Hi"),
        ("u", "Hi"),
        ("s", "z"),
    ]


def test_request_n_plus_one_starts_with_request_n() -> None:
    model = "claude-opus-5"
    first = sent("u a u")
    later = {"messages": first["messages"] + sent("a u")["messages"]}
    one = wire.inject(raw.split_object(json.dumps(first).encode()), {0: "x", 2: "y"}, model)
    two = wire.inject(raw.split_object(json.dumps(later).encode()), {0: "x", 2: "y", 4: "z"}, model)
    before = [bytes(m) for m in raw.split_array(one["messages"])]
    after = [bytes(m) for m in raw.split_array(two["messages"])]
    assert after[: len(before)] == before


def test_results_stay_first_in_a_message() -> None:
    result = {"type": "tool_result", "tool_use_id": "t", "content": "x"}
    image = {"type": "image", "source": {"type": "url", "url": "u"}}
    for parts, at in (([result], 1), ([result, image], 1), ([image], 0)):
        body = {"messages": raw.encode([{"role": "user", "content": parts}])}
        (message,) = raw.parse(raw.join_object(wire.inject(body, {0: "b"}, None)))["messages"]
        assert message["content"][at] == {"type": "text", "text": "b\n\n"}
        assert message["content"][:at] + message["content"][at + 1 :] == parts


def test_calls_answers_and_thinking() -> None:
    turns = wire.turns(
        {
            "messages": [
                {"role": "assistant", "content": [
                    {"type": "thinking", "thinking": "hm", "signature": "s"},
                    {"type": "tool_use", "id": "a", "name": "f", "input": {"n": 10**30}},
                    {"type": "server_tool_use", "id": "b", "name": "web_search", "input": {}},
                    {"type": "web_search_tool_result", "tool_use_id": "b", "content": [
                        {"type": "web_search_result", "title": "t", "content": "c"}]},
                ]},
                {"role": "user", "content": [
                    {"type": "tool_result", "tool_use_id": "a", "content": [
                        {"type": "text", "text": "x"},
                        {"type": "image", "source": {}},
                        {"type": "search_result", "content": [{"type": "text", "text": "y"}]},
                    ]},
                ]},
                {"role": "assistant", "content": [{"type": "redacted_thinking", "data": "x"}]},
            ]
        }
    )  # fmt: skip
    assert [turn.calls for turn in turns] == [("a", "b"), (), ()]
    assert [turn.answers for turn in turns] == [("b",), ("a",), ()]
    assert [turn.signed for turn in turns] == [True, False, True]
    assert [turn.text for turn in turns] == ["", "", ""]
    assert turns[1].tokens > 1000


CONVERSATIONS = {
    '{"device_id":"d","session_id":"3648b524-fa06-4a3b"}': "3648b524-fa06-4a3b",
    "user_0a1b_account_9f_session_8c1d": "8c1d",
    '{"session_id":5}': None,
    "{broken": None,
    "user-17": None,
    "": None,
}


@pytest.mark.parametrize(("user", "conversation"), CONVERSATIONS.items())
def test_conversation(user: str, conversation: str | None) -> None:
    assert wire.conversation({"metadata": {"user_id": user}}) == conversation
    assert wire.conversation({"metadata": None}) is None


CODE = [{"type": "text", "text": "You are Claude Code, Anthropic's official CLI for Claude."}]
HI = {"role": "user", "content": "Hi"}
QUOTA = {"messages": [{"role": "user", "content": "quota"}], "max_tokens": 1}
CHORES: dict[str, tuple[dict[str, Any], bool]] = {
    "a probe": (QUOTA, True),
    "one token of a conversation": ({**QUOTA, "messages": [HI, HI, HI]}, False),
    "Claude Code without tools": ({"system": CODE, "messages": [HI]}, True),
    "Claude Code with tools": ({"system": CODE, "messages": [HI], "tools": [{"name": "x"}]}, False),
    "an app without tools": ({"system": "You are kind.", "messages": [HI]}, False),
    "compaction": (
        {
            "system": CODE,
            "tools": [{"name": "x"}],
            "messages": [
                HI,
                {"role": "user", "content": [
                    {"type": "text", "text": "and his name"},
                    {"type": "text", "text": "CRITICAL: Respond with TEXT ONLY. Do NOT call any "
                                             "tools.\n\n- Do NOT use Read."},
                ]},
                {"role": "system", "content": "While auto mode is active:"},
            ],
        },
        True,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("body", "chore"), CHORES.values(), ids=CHORES)
def test_chores(body: dict[str, Any], *, chore: bool) -> None:
    assert wire.chore(body) is chore


def test_system_text() -> None:
    assert wire.system_text({"system": "Be kind."}) == "Be kind."
    assert wire.system_text({"system": [*CODE, {"type": "text", "text": "Be kind."}]}).endswith(
        "Claude.\nBe kind."
    )
    assert wire.system_text({"system": 5}) == wire.system_text({}) == ""


def test_the_user_speaks_first() -> None:
    turns = [Turn(role="assistant", text="a"), Turn(role="user", text="b")]
    led = wire.lead(raw.split_object(json.dumps(sent("u")).encode()), turns)
    assert bytes(led["messages"]).startswith(b'[{"role":"user","content":"b"},')
    none = wire.lead(raw.split_object(json.dumps(sent("u")).encode()), turns[:1])
    assert len(raw.split_array(none["messages"])) == 1


STATUSES: dict[int, tuple[type[anthropic.APIStatusError], str]] = {
    400: (anthropic.BadRequestError, "invalid_request_error"),
    401: (anthropic.AuthenticationError, "authentication_error"),
    402: (anthropic.APIStatusError, "billing_error"),
    403: (anthropic.PermissionDeniedError, "permission_error"),
    404: (anthropic.NotFoundError, "not_found_error"),
    409: (anthropic.ConflictError, "invalid_request_error"),
    413: (anthropic.APIStatusError, "request_too_large"),
    429: (anthropic.RateLimitError, "rate_limit_error"),
    500: (anthropic.InternalServerError, "api_error"),
    502: (anthropic.InternalServerError, "api_error"),
    503: (anthropic.APIStatusError, "overloaded_error"),
}


@pytest.mark.parametrize(("status", "expected"), STATUSES.items())
def test_errors_as_the_sdk_shows_them(
    status: int, expected: tuple[type[anthropic.APIStatusError], str]
) -> None:
    error = wire.error(status, "No key", "Send one")
    assert error["error"]["type"] == expected[1]
    transport = httpx2.MockTransport(lambda _: httpx2.Response(status, json=error))
    with (
        httpx2.Client(transport=transport) as http,
        anthropic.Anthropic(
            api_key="x", base_url="http://test", max_retries=0, http_client=http
        ) as client,
        pytest.raises(expected[0]) as caught,
    ):
        client.messages.create(model="m", max_tokens=1, messages=[])
    assert "No key" in str(caught.value)
    assert "Send one" in str(caught.value)
