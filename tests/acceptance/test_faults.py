"""Never in the way: the provider's errors come back as they are, and memory's own stop nothing."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest

from memrouter.testing.script import Answer

from .conftest import ServedProvider
from .stack import Router, free_port

ASK: dict[str, Any] = {"model": "gpt-5.5", "messages": [{"role": "user", "content": "My cow?"}]}
both = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])

ERRORS: dict[str, Answer] = {
    "key refused": Answer(status=401, message="Incorrect API key provided"),
    "too fast": Answer(
        status=429,
        headers={"retry-after": "7", "x-ratelimit-reset-requests": "7s"},
        body={"error": {"message": "slow down", "type": "requests", "code": "rate_limit"}},
    ),
    "broken": Answer(status=500, body={"error": {"message": "the server had an error"}}),
    "overloaded": Answer(status=529, body=b'{"type":"error" , "odd" : [1.0, 1e400]}'),
    "a page": Answer(status=503, body="<html><h1>Down</h1></html>"),
    "nothing at all": Answer(status=500, body=b"", content_type="text/plain"),
    "compressed": Answer(status=400, body={"error": {"message": "no such model"}}, gzip=True),
}


@both
@pytest.mark.parametrize("answer", ERRORS.values(), ids=ERRORS)
def test_errors_of_the_provider_come_back_as_they_are(
    router: Router, provider: ServedProvider, key: str, answer: Answer, stream: bool
) -> None:
    provider.queue(answer, answer)
    body = ASK | {"stream": stream}
    with provider_http(provider) as direct, router.http(key) as http:
        expected = direct.post("/v1/chat/completions", json=body)
        got = http.post("/v1/chat/completions", json=body)
    assert got.status_code == expected.status_code == answer.status
    assert got.content == expected.content
    for name in ("content-type", "retry-after", "x-ratelimit-reset-requests", "content-encoding"):
        assert got.headers.get(name) == expected.headers.get(name)
    assert router.memories(key) <= 1  # the question at most, no answer


def test_the_sdk_raises_its_own_exceptions(
    router: Router, provider: ServedProvider, key: str
) -> None:
    provider.queue(ERRORS["too fast"], ERRORS["key refused"])
    with pytest.raises(openai.RateLimitError, match="slow down") as caught:
        router.ask(key, "My cow?")
    assert caught.value.response.headers["retry-after"] == "7"
    with pytest.raises(openai.AuthenticationError, match="Incorrect API key"):
        router.ask(key, "My cow?")


ODD: dict[str, Answer] = {
    "a page": Answer(body="<html><h1>Hello</h1></html>"),
    "nothing": Answer(body=b""),
    "an error": Answer(body={"error": {"message": "no", "code": 500}}),
    "a list": Answer(body=[1, 2, 3]),
    "no choices": Answer(body={"id": "x", "choices": []}),
    "odd types": Answer(body={"choices": [{"message": 5}], "usage": "many"}),
    "a stream that is none": Answer(blocks=(b"hello",)),
    "invalid utf-8": Answer(blocks=(b"data: \xff\xfe\n\n", b"data: [DONE]\n\n")),
}


@both
@pytest.mark.parametrize("answer", ODD.values(), ids=ODD)
def test_odd_answers_come_back_as_they_are_and_are_not_stored(
    router: Router, provider: ServedProvider, key: str, answer: Answer, stream: bool
) -> None:
    provider.queue(answer, answer)
    body = ASK | {"stream": stream}
    with provider_http(provider) as direct, router.http(key) as http:
        expected = direct.post("/v1/chat/completions", json=body)
        got = http.post("/v1/chat/completions", json=body)
    assert got.status_code == 200
    assert _without_ids(got.content) == _without_ids(expected.content)
    assert router.memories(key) <= 1
    assert router.ask(key, "Still there?") is not None


def test_an_error_event_passes_and_what_was_said_before_is_not_stored(
    router: Router, provider: ServedProvider, key: str
) -> None:
    provider.queue(Answer(text="One two three", error_after=3, message="overloaded"))
    with pytest.raises(openai.APIError, match="overloaded"):
        router.ask(key, "My cow?", stream=True)
    assert provider.requests[-1].finished
    assert router.memories(key) <= 1


@both
def test_an_answer_cut_in_the_middle_is_cut_for_the_client_too(
    router: Router, provider: ServedProvider, key: str, stream: bool
) -> None:
    provider.queue(Answer(text="The whale is blue and big.", cut_after_bytes=150))
    with pytest.raises(Exception, match=r".*"), router.http(key) as http:  # noqa: PT012
        answer = http.post("/v1/chat/completions", json=ASK | {"stream": stream})
        assert b"[DONE]" in answer.content
    assert not [text for text in router.texts(key, "whale") if "whale" in text]


def test_a_provider_that_cannot_be_reached(new_router: Callable[..., Router]) -> None:
    dead = f"http://127.0.0.1:{free_port()}"
    router = new_router(PROVIDERS__GROQ__BASE_URL=dead, CONNECT_TIMEOUT_S="2")
    key = router.mint()
    for stream in (False, True):
        with router.http(key) as http:
            body = ASK | {"model": "groq/llama-3", "stream": stream}
            answer = http.post("/v1/chat/completions", json=body)
        assert answer.status_code == 502
        assert answer.json()["error"]
        assert answer.json()["hint"]
        assert "sk-server" not in answer.text
    assert router.ask(key, "Is another provider there?") == "I don't know."


def test_no_provider_key_says_what_to_do(new_router: Callable[..., Router]) -> None:
    router = new_router(PROVIDERS__MISTRAL__BASE_URL="http://127.0.0.1:9", SECRET_KEY="s" * 40)
    with router.http(router.mint()) as http:
        answer = http.post("/v1/chat/completions", json=ASK | {"model": "mistral/mistral-large"})
    assert answer.status_code == 400
    assert answer.json() == {
        "error": "No API key configured for provider: mistral",
        "hint": "Add your mistral API key in your account settings, or pass X-Provider-Key header",
    }


@both
def test_a_broken_vault_stops_no_answer_and_is_not_overwritten(
    new_router: Callable[..., Router], provider: ServedProvider, stream: bool
) -> None:
    router = new_router()
    broken, healthy = router.mint("broken"), router.mint("healthy")
    router.ask(healthy, "My horse is called Blitz.")
    before = _database_files(router)
    router.ask(broken, "My cow is called Berta.")
    router.stop()
    (vault,) = [path for path in _database_files(router) if path not in before]
    whole = vault.read_bytes()
    vault.write_bytes(b"this is no database\n" * 200 + whole[4000:])
    damaged = hashlib.sha256(vault.read_bytes()).digest()

    router.start()
    with router.http(broken) as http:
        answer = http.post("/v1/chat/completions", json=ASK | {"stream": stream})
    assert answer.status_code == 200
    assert answer.headers["x-memory-error"]
    assert b"know" in answer.content
    assert provider.requests[-1].json["messages"] == ASK["messages"]
    assert hashlib.sha256(vault.read_bytes()).digest() == damaged
    assert router.ask(healthy, "What is my horse called?") == "My horse is called Blitz."

    router.stop()
    vault.write_bytes(whole)  # an operator puts the backup back
    router.start()
    assert router.ask(broken, "What is my cow called?") == "My cow is called Berta."


def test_recall_over_its_budget_leaves_without_it(
    new_router: Callable[..., Router], provider: ServedProvider
) -> None:
    router = new_router(RECALL_TIMEOUT_S="0.000001")
    key = router.mint()
    router.ask(key, "My cow is called Berta.")
    router.stop()
    router.start()  # the vault must be opened first: what waits for nothing is never late
    with router.http(key) as http:
        answer = http.post("/v1/chat/completions", json=ASK)
    assert answer.status_code == 200
    assert answer.headers["x-memory-error"]
    assert provider.requests[-1].json["messages"] == ASK["messages"]


def provider_http(provider: ServedProvider) -> httpx2.Client:
    return httpx2.Client(base_url=provider.url, trust_env=False)


def _without_ids(body: bytes) -> bytes:
    return re.sub(rb'"(id|created)":\s*("[^"]*"|\d+)', b"", body)


def _database_files(router: Router) -> set[Path]:
    """The SQLite files in the data directory: the directory's and one a vault."""
    found = set()
    for path in (router.data / "store").rglob("*"):
        if path.is_file() and path.stat().st_size:
            with path.open("rb") as file:
                if file.read(15) == b"SQLite format 3":
                    found.add(path)
    assert found
    return found
