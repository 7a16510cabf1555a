"""generateContent: names in both spellings, models in paths, errors as the SDK shows them."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest
from google import genai
from google.genai import errors, types

from memrouter.domain import Turn
from memrouter.errors import BadRequest
from memrouter.wire import raw
from memrouter.wire.gemini_generate import GeminiGenerate

wire = GeminiGenerate()

CHECKED: dict[str, tuple[dict[str, Any], str]] = {
    "missing": ({}, "contents is missing"),
    "a string": ({"contents": "Hi"}, "contents is not an array"),
    "a string within": ({"contents": ["Hi"]}, r"contents\[0\] is not an object"),
}


@pytest.mark.parametrize(("body", "said"), CHECKED.values(), ids=CHECKED)
def test_check(body: dict[str, Any], said: str) -> None:
    with pytest.raises(BadRequest, match=said):
        wire.check(body)


PATHS: dict[str, tuple[str | None, str]] = {
    "/v1beta/models/gemini-3.5-flash:generateContent": (
        "gemini-3.5-flash",
        "/v1beta/models/x:generateContent",
    ),
    "/v1/models/google/gemini-3.5-flash:streamGenerateContent": (
        "google/gemini-3.5-flash",
        "/v1/models/x:streamGenerateContent",
    ),
    "/v1/models/google%2Fgemini-3.5-flash:generateContent": (
        "google/gemini-3.5-flash",
        "/v1/models/x:generateContent",
    ),
    "/v1/projects/p/locations/l/publishers/google/models/g:generateContent": (
        "g",
        "/v1/projects/p/locations/l/publishers/google/models/x:generateContent",
    ),
    "/v1beta/models/gemini-3.5-flash": ("gemini-3.5-flash", "/v1beta/models/x"),
    "/v1beta/models": (None, "/v1beta/models"),
    "": (None, ""),
}


@pytest.mark.parametrize(("path", "expected"), PATHS.items())
def test_the_model_is_in_the_path(path: str, expected: tuple[str | None, str]) -> None:
    model, changed = expected
    assert wire.model({}, path) == model
    assert wire.with_model({}, path, "x") == ({}, changed)


def test_streams() -> None:
    assert wire.streams({}, "/v1beta/models/g:streamGenerateContent")
    assert not wire.streams({"stream": True}, "/v1beta/models/g:generateContent")


def test_state_and_system() -> None:
    assert wire.stateful({"cachedContent": "cachedContents/a"})
    assert wire.stateful({"cached_content": "cachedContents/a"})
    assert not wire.stateful({"cachedContent": ""})
    for system in (
        {"parts": [{"text": "Be"}, {"text": "kind."}]},
        {"parts": {"text": "Be\nkind."}},
    ):
        assert wire.system_text({"systemInstruction": system}) == "Be\nkind."
        assert wire.system_text({"system_instruction": system}) == "Be\nkind."
    assert wire.system_text({"systemInstruction": "Be\nkind."}) == "Be\nkind."
    assert wire.system_text({}) == ""
    assert wire.conversation({}) is None


def test_calls_and_answers_by_id_or_by_name() -> None:
    turns = wire.turns(
        {
            "contents": [
                {
                    "role": "model",
                    "parts": [{"functionCall": {"id": "a", "name": "f", "args": {}}}],
                },
                {"role": "user", "parts": [{"functionResponse": {"id": "a", "name": "f"}}]},
                {"role": "model", "parts": {"function_call": {"name": "g"}}},
                {"role": "function", "parts": {"function_response": {"name": "g"}}},
            ]
        }
    )
    assert [turn.calls for turn in turns] == [("a",), (), ("function g",), ()]
    assert [turn.answers for turn in turns] == [(), ("a",), (), ("function g",)]
    assert not any(turn.text for turn in turns)


@pytest.mark.parametrize("odd", ["", 1, [], None, True], ids=str)
@pytest.mark.parametrize("part", ["functionCall", "functionResponse", "inlineData", "fileData"])
def test_parts_of_another_type_read_as_empty(part: str, odd: Any) -> None:
    [turn] = wire.turns({"contents": [{"parts": [{part: odd}, {"text": "hi"}]}]})
    assert turn.text.endswith("hi")


def test_a_message_without_a_role_is_the_users() -> None:
    (turn,) = wire.turns({"contents": [{"parts": [{"text": "Hi"}]}]})
    assert turn.asks


def test_single_objects_become_lists_of_one() -> None:
    body = raw.split_object(b'{"contents":{"parts":{"text":"Hi", "n": 1.0}}}')
    injected = wire.inject(body, {0: "b"}, None)
    assert raw.join_object(injected) == (
        rb'{"contents":[{"parts":[{"text":"b\n\n"},{"text":"Hi", "n": 1.0}]}]}'
    )
    led = wire.lead(body, [Turn(role="assistant", text="a")])
    assert raw.parse(raw.join_object(led))["contents"][0] == {
        "role": "model",
        "parts": [{"text": "a"}],
    }


def test_gemini_cli() -> None:
    context = (
        "This is the Gemini CLI. We are setting up the context for our chat.\nToday is Friday."
    )
    turns = wire.turns(
        {"contents": [{"role": "user", "parts": [{"text": context}, {"text": "Hi"}]}]}
    )
    assert turns[0].text == "Hi"
    speaker = "Analyze *only* the content and structure of your immediately preceding response"
    assert wire.chore({"contents": [{"role": "user", "parts": [{"text": speaker}]}]})


STATUSES: dict[int, tuple[type[errors.APIError], str]] = {
    400: (errors.ClientError, "INVALID_ARGUMENT"),
    401: (errors.ClientError, "UNAUTHENTICATED"),
    403: (errors.ClientError, "PERMISSION_DENIED"),
    404: (errors.ClientError, "NOT_FOUND"),
    413: (errors.ClientError, "INVALID_ARGUMENT"),
    429: (errors.ClientError, "RESOURCE_EXHAUSTED"),
    500: (errors.ServerError, "INTERNAL"),
    502: (errors.ServerError, "UNAVAILABLE"),
    504: (errors.ServerError, "DEADLINE_EXCEEDED"),
}


@pytest.mark.parametrize(("status", "expected"), STATUSES.items())
def test_errors_as_the_sdk_shows_them(
    status: int, expected: tuple[type[errors.APIError], str]
) -> None:
    error = wire.error(status, "No key", "Send one")
    transport = httpx2.MockTransport(lambda _: httpx2.Response(status, json=error))
    with httpx2.Client(transport=transport) as http:
        options = types.HttpOptions(base_url="http://test", httpx_client=http)
        client = genai.Client(api_key="x", http_options=options)
        with pytest.raises(expected[0]) as caught:
            client.models.generate_content(model="m", contents="Hi")
    assert caught.value.status == expected[1]
    assert caught.value.message == "No key"
    assert "Send one" in str(caught.value)
