"""Bad input and bad answers in every wire format: a clear 4xx, or what the provider said."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest

from memrouter.testing.script import Answer

from .conftest import ServedProvider
from .stack import Router


@dataclass(frozen=True, kw_only=True)
class Format:
    """How one format asks; `{}` in its path stands for the method or nothing."""

    path: str
    streamed_path: str
    field: str
    rest: dict[str, Any]
    error: tuple[str, ...]
    """Where the message of an error stands."""

    def message(self, content: Any) -> Any:
        role = {"role": "user"}
        return role | ({"parts": content} if self.field == "contents" else {"content": content})

    def body(self, messages: Any, *, stream: bool = False) -> bytes:
        flag = {"stream": True} if stream and self.path == self.streamed_path else {}
        return json.dumps(self.rest | {self.field: messages} | flag).encode()

    def ask(self, text: str, *, stream: bool = False) -> bytes:
        part = {"text": text, "type": "input_text" if self.field == "input" else "text"}
        content = [{"text": text}] if self.field == "contents" else [part]
        return self.body([self.message(content)], stream=stream)


GEMINI = "/v1beta/models/gemini-3.5-flash:"
FORMATS = {
    "messages": Format(
        path="/v1/messages",
        streamed_path="/v1/messages",
        field="messages",
        rest={"model": "claude-opus-4.8", "max_tokens": 64},
        error=("error", "message"),
    ),
    "responses": Format(
        path="/v1/responses",
        streamed_path="/v1/responses",
        field="input",
        rest={"model": "gpt-5.5"},
        error=("error",),
    ),
    "gemini": Format(
        path=f"{GEMINI}generateContent",
        streamed_path=f"{GEMINI}streamGenerateContent?alt=sse",
        field="contents",
        rest={},
        error=("error", "message"),
    ),
    "gemini as a list": Format(
        path=f"{GEMINI}generateContent",
        streamed_path=f"{GEMINI}streamGenerateContent",
        field="contents",
        rest={},
        error=("error", "message"),
    ),
}
every_format = pytest.mark.parametrize("spoken", FORMATS.values(), ids=FORMATS)
both = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


@every_format
@pytest.mark.parametrize(
    "given", [b"", b"hello", b"[]", b"null", b'{"a":', b"{}", b'{"model":"\xff"}', None, 5, {}, [5]]
)
def test_what_is_no_request_is_refused_in_the_formats_own_words(
    router: Router, provider: ServedProvider, key: str, spoken: Format, given: Any
) -> None:
    body = given if isinstance(given, bytes) else spoken.body(given)
    with router.http(key) as http:
        answer = http.post(spoken.path, content=body)
    assert 400 <= answer.status_code < 500, answer.text
    if not provider.requests:
        message: Any = answer.json()
        for name in spoken.error:
            message = message[name]
        assert isinstance(message, str)
        assert message
        assert "hint" in answer.text
    assert router.memories(key) == 0


ODD: dict[str, Any] = {
    "nothing in the list": [],
    "content missing": [{"role": "user"}],
    "content null": [{"role": "user", "content": None, "parts": None}],
    "content a number": [{"role": "user", "content": 5, "parts": 5}],
    "parts of odd types": [
        {"role": "user", "content": [None, 5, {"type": 7}], "parts": [{"text": 5}, {}]}
    ],
    "role a number": [{"role": 5, "content": "x", "parts": [{"text": "x"}]}],
    "a result without its call, messages": [
        {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": "t", "content": "x"}],
            "parts": [{"functionResponse": {"name": "f", "response": {}}}],
        }
    ],
    "a result without its call, items": [
        {"type": "function_call_output", "call_id": "c", "output": "x", "parts": [{"text": "x"}]}
    ],
    "NUL and lone surrogates": [
        {"role": "user", "content": "a\x00 \ud800", "parts": [{"text": "a\x00 \ud800"}]}
    ],
}


@every_format
@both
@pytest.mark.parametrize("messages", ODD.values(), ids=ODD)
def test_odd_messages_are_served_or_refused(
    router: Router, key: str, spoken: Format, messages: Any, stream: bool
) -> None:
    with router.http(key) as http:
        path = spoken.streamed_path if stream else spoken.path
        answer = http.post(path, content=spoken.body(messages, stream=stream))
        assert answer.status_code < 500, answer.text
        assert "x-memory-error" not in answer.headers
        after = http.post(spoken.path, content=spoken.ask("hello there"))
    assert after.status_code == 200


ANSWERS: dict[str, Answer] = {
    "a page": Answer(body="<html><h1>Hello</h1></html>"),
    "nothing": Answer(body=b""),
    "an error with 200": Answer(body={"error": {"message": "no", "code": 500}}),
    "a list": Answer(body=[1, 2, 3]),
    "odd types": Answer(body={"content": 5, "output": "x", "candidates": {}, "usage": []}),
    "an error": Answer(status=529, body=b'{"odd" :  1.0}', headers={"retry-after": "3"}),
    "compressed": Answer(status=400, body={"error": "x"}, gzip=True),
    "an event cut in the middle": Answer(blocks=(b'event: x\ndata: {"type":"mess',)),
    "a character cut in the middle": Answer(blocks=(b'data: {"delta":"caf\xc3',)),
    "not utf-8": Answer(blocks=(b"data: \xff\xfe\n\n",)),
    "half a list": Answer(blocks=(b'[{"candidates":[{"content":{"parts":[{"text":"Hal',)),
}


@every_format
@both
@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_answers_come_back_as_they_are_and_odd_ones_are_not_stored(
    router: Router,
    provider: ServedProvider,
    key: str,
    spoken: Format,
    answer: Answer,
    stream: bool,
) -> None:
    provider.queue(answer, answer)
    path, body = (spoken.path, spoken.ask("My cow?"))
    if stream:
        path, body = spoken.streamed_path, spoken.ask("My cow?", stream=True)
    with httpx2.Client(base_url=provider.url, trust_env=False) as direct, router.http(key) as http:
        expected = direct.post(path, content=body)
        got = http.post(path, content=body)
    assert got.status_code == expected.status_code
    assert got.content == expected.content
    for name in ("content-type", "content-encoding", "retry-after"):
        assert got.headers.get(name) == expected.headers.get(name)
    assert router.memories(key) <= 1  # the question at most


@every_format
@both
def test_an_answer_cut_off_is_cut_for_the_client_too(
    router: Router, provider: ServedProvider, key: str, spoken: Format, stream: bool
) -> None:
    provider.queue(Answer(text="The whale is blue and big and far away.", cut_after_bytes=180))
    path = spoken.streamed_path if stream else spoken.path
    with router.http(key) as http, pytest.raises(httpx2.RemoteProtocolError):
        http.post(path, content=spoken.ask("Tell me.", stream=stream))
    assert not [text for text in router.texts(key, "whale") if "whale" in text]
