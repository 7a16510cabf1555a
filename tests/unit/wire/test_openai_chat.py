"""Chat completions: what is read beyond the corpus, and errors as the SDK shows them."""

from __future__ import annotations

from typing import Any

import httpx2
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memrouter.errors import BadRequest
from memrouter.wire import raw
from memrouter.wire.openai_chat import OpenAIChat

wire = OpenAIChat()

CHECKED: dict[str, tuple[dict[str, Any], str]] = {
    "missing": ({}, "messages is missing"),
    "null": ({"messages": None}, "messages is not an array"),
    "a string": ({"messages": "Hi"}, "messages is not an array"),
    "an object": ({"messages": {"role": "user"}}, "messages is not an array"),
    "a string within": ({"messages": [{"role": "user"}, "Hi"]}, r"messages\[1\] is not an object"),
}


@pytest.mark.parametrize(("body", "said"), CHECKED.values(), ids=CHECKED)
def test_check(body: dict[str, Any], said: str) -> None:
    with pytest.raises(BadRequest, match=said):
        wire.check(body)


def test_an_empty_list_is_for_the_provider_to_refuse() -> None:
    wire.check({"messages": []})


def test_model_and_stream() -> None:
    assert wire.model({"model": "openai/gpt-5.5"}, "/v1/chat/completions") == "openai/gpt-5.5"
    assert wire.model({"model": 5}, "") is None
    body, path = wire.with_model(raw.split_object(b'{"model": "openai/x", "n": 1.0}'), "/p", "x")
    assert (raw.join_object(body), path) == (b'{"model":"x","n":1.0}', "/p")
    assert wire.streams({"stream": True}, "")
    assert not wire.streams({"stream": 1}, "")
    assert not wire.stateful({})


@pytest.mark.parametrize(
    ("key", "conversation"),
    [
        ("01a1faaa-5bb2-7123-b342-15de2a2bce88", True),
        ("ses_4a5b6c7d8e9f0a1b2c3d", True),
        ("my-app", False),
        ("my-app-v1-2026-01-01-long-name-of-an-app", False),
        ("", False),
        (5, False),
    ],
)
def test_a_cache_key_made_for_a_conversation_names_it(key: Any, *, conversation: bool) -> None:
    found = wire.conversation({"prompt_cache_key": key})
    assert found == (key if conversation else None)


def test_calls_and_their_answers() -> None:
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    turns = wire.turns(
        {
            "messages": [
                {"role": "assistant", "tool_calls": [call, {**call, "id": "b"}, {"id": 5}]},
                {"role": "tool", "tool_call_id": "a", "content": "x"},
                {"role": "assistant", "function_call": {"name": "old", "arguments": "{}"}},
                {"role": "function", "name": "old", "content": "x"},
            ]
        }
    )
    assert [turn.calls for turn in turns] == [("a", "b"), (), ("function old",), ()]
    assert [turn.answers for turn in turns] == [(), ("a",), (), ("function old",)]
    assert not any(turn.written for turn in turns)


ROLES = {"system": "system", "developer": "system", "user": "user", "critic": "tool"}


@pytest.mark.parametrize(("name", "role"), ROLES.items())
def test_roles(name: str, role: str) -> None:
    (turn,) = wire.turns({"messages": [{"role": name, "content": "Hi"}]})
    assert turn.role == role
    assert turn.written is (role == "user")


def test_content_that_has_no_place_for_a_block_stays() -> None:
    body = raw.split_object(b'{"messages":[{"role":"user","content":null},{"role":"user"}, 5]}')
    injected = wire.inject(body, {0: "b", 1: "b", 2: "b"}, None)
    assert bytes(injected["messages"]) == b'[{"role":"user","content":null},{"role":"user"},5]'


def test_blocks_at_several_turns_as_they_are_replayed() -> None:
    body = raw.split_object(
        b'{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"},'
        b'{"role":"user","content":[{"type":"text","text":"c"}]}]}'
    )
    both = wire.inject(body, {0: "x", 2: "y"}, None)
    assert both == wire.inject(wire.inject(body, {2: "y"}, None), {0: "x"}, None)
    texts = [turn.text for turn in wire.turns(raw.parse(raw.join_object(both)))]
    assert texts == ["x\n\na", "b", "y\nc"]


def test_a_part_that_an_agent_wrote_is_passed_over() -> None:
    body = raw.split_object(
        b'{"messages":[{"role":"user","content":['
        b'{"type":"text","text":"<system-reminder>x</system-reminder>"},'
        b'{"type":"image_url","image_url":{"url":"u"}},{"type":"text","text":"Hi"}]}]}'
    )
    injected = raw.parse(raw.join_object(wire.inject(body, {0: "b"}, None)))
    kinds = [part.get("text", "image") for part in injected["messages"][0]["content"]]
    assert kinds == ["<system-reminder>x</system-reminder>", "image", "b\n\n", "Hi"]


@given(st.text(), st.text())
def test_the_text_comes_first_and_a_blank_line_after(context: str, words: str) -> None:
    body = {"messages": raw.encode([{"role": "user", "content": words}])}
    (message,) = raw.parse(raw.join_object(wire.inject(body, {0: context}, None)))["messages"]
    assert message["content"] == f"{context}\n\n{words}"


STATUSES: dict[int, type[openai.APIStatusError]] = {
    400: openai.BadRequestError,
    401: openai.AuthenticationError,
    403: openai.PermissionDeniedError,
    404: openai.NotFoundError,
    409: openai.ConflictError,
    429: openai.RateLimitError,
    502: openai.InternalServerError,
}


@pytest.mark.parametrize(("status", "raised"), STATUSES.items())
def test_errors_as_the_sdk_shows_them(status: int, raised: type[openai.APIStatusError]) -> None:
    error = wire.error(status, "No key", "Send one")
    transport = httpx2.MockTransport(lambda _: httpx2.Response(status, json=error))
    with (
        httpx2.Client(transport=transport) as http,
        openai.OpenAI(
            api_key="x", base_url="http://test/v1", max_retries=0, http_client=http
        ) as client,
        pytest.raises(raised) as caught,
    ):
        client.chat.completions.create(model="m", messages=[])
    assert caught.value.body == "No key"
    assert caught.value.response.json()["hint"] == "Send one"
