"""Anthropic, Gemini and OpenAI Responses with the real Python SDKs, streamed and not."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from typing import Any

import anthropic
import openai
import pytest
from google import genai
from google.genai import errors, types

from memrouter.testing.script import NOT_KNOWN, NOTED, Answer, ToolCall

from .conftest import ServedProvider
from .stack import Router, raw_messages, until

FACT = "My dog is called Rex."
QUESTION = "What is my dog called?"
WEATHER = ToolCall(name="get_weather", arguments={"city": "Zürich"})

Ask = Callable[[Router, str, str], str | None]


def messages(router: Router, key: str, text: str) -> str:
    with anthropic_client(router, key) as client:
        answer: Any = client.messages.create(**_message(text))
    return "".join(block.text for block in answer.content)


def messages_streamed(router: Router, key: str, text: str) -> str:
    with (
        anthropic_client(router, key) as client,
        client.messages.stream(**_message(text)) as stream,
    ):
        return stream.get_final_text()


def gemini(router: Router, key: str, text: str) -> str | None:
    with gemini_client(router, key) as client:
        return client.models.generate_content(model="gemini-3.5-flash", contents=text).text


def gemini_streamed(router: Router, key: str, text: str) -> str:
    with gemini_client(router, key) as client:
        parts = client.models.generate_content_stream(model="gemini-3.5-flash", contents=text)
        return "".join(part.text or "" for part in parts)


def gemini_v1(router: Router, key: str, text: str) -> str | None:
    with gemini_client(router, key, version="v1") as client:
        return client.models.generate_content(model="gemini-3.5-flash", contents=text).text


def gemini_array(router: Router, key: str, text: str) -> str:
    """Without alt=sse a stream is one JSON list."""
    body = {"contents": [{"role": "user", "parts": [{"text": text}]}]}
    with router.http(key) as http:
        path = "/v1/models/gemini-3.5-flash:streamGenerateContent"
        answer = http.post(path, json=body)
    if answer.status_code >= 400:
        raise errors.APIError(answer.status_code, answer.json())
    parts = [c for a in answer.json() for c in a["candidates"][0]["content"]["parts"]]
    return "".join(part["text"] for part in parts)


def responses(router: Router, key: str, text: str) -> str:
    with router.openai(key) as client:
        return client.responses.create(model="openai/gpt-5.5", input=text).output_text


def responses_streamed(router: Router, key: str, text: str) -> str:
    items: Any = [{"role": "user", "content": [{"type": "input_text", "text": text}]}]
    with (
        router.openai(key) as client,
        client.responses.stream(model="openai/gpt-5.5", input=items) as stream,
    ):
        return stream.get_final_response().output_text


WAYS: list[Ask] = [
    messages,
    messages_streamed,
    gemini,
    gemini_streamed,
    gemini_v1,
    gemini_array,
    responses,
    responses_streamed,
]
every_way = pytest.mark.parametrize("ask", WAYS, ids=lambda f: f.__name__)


@every_way
def test_a_second_conversation_knows_what_the_first_was_told(
    router: Router, provider: ServedProvider, key: str, ask: Ask
) -> None:
    assert ask(router, key, QUESTION) == NOT_KNOWN
    assert ask(router, key, FACT) == NOTED
    assert ask(router, key, QUESTION) == FACT
    assert router.ask(key, QUESTION) == FACT  # the vault is one, whatever the format
    assert ask(router, router.mint(), QUESTION) == NOT_KNOWN
    stored = router.texts(key, QUESTION)
    assert stored.count(FACT) >= 1
    assert provider.prompts[2].question == QUESTION


@every_way
def test_errors_raise_the_sdks_own_exceptions(
    router: Router, provider: ServedProvider, key: str, ask: Ask
) -> None:
    limited = (openai.RateLimitError, anthropic.RateLimitError, errors.APIError)
    provider.queue(Answer(status=429, headers={"retry-after": "7"}, message="slow down"))
    with pytest.raises(limited, match="slow down"):
        ask(router, key, QUESTION)
    unknown = (openai.AuthenticationError, anthropic.AuthenticationError, errors.APIError)
    with pytest.raises(unknown) as caught:
        ask(router, "mk_" + "z" * 40, QUESTION)
    assert getattr(caught.value, "status_code", None) or getattr(caught.value, "code", 0) == 401


def test_each_provider_gets_its_own_credentials(
    router: Router, provider: ServedProvider, key: str
) -> None:
    messages(router, key, "hello")
    assert provider.requests[-1].header("x-api-key") == "sk-server-anthropic"
    assert provider.requests[-1].header("authorization") is None
    gemini(router, key, "hello")
    sent = provider.requests[-1]
    assert sent.header("x-goog-api-key") == "sk-server-google"
    assert "key=" not in sent.query
    responses(router, key, "hello")
    assert provider.requests[-1].header("authorization") == "Bearer sk-server-openai"


def test_the_providers_own_compatible_endpoints_serve_chat(
    router: Router, provider: ServedProvider, key: str
) -> None:
    router.ask(key, "hello", model="anthropic/claude-opus-4.8")
    assert provider.requests[-1].json["model"] == "claude-opus-4.8"
    assert provider.requests[-1].path.endswith("/chat/completions")
    router.ask(key, "hello", model="google/gemini-3.5-flash")
    assert provider.requests[-1].json["model"] == "gemini-3.5-flash"
    assert provider.requests[-1].path.endswith("/openai/chat/completions")


def test_oauth_tokens_pass_beside_the_memory_key(
    router: Router, provider: ServedProvider, key: str
) -> None:
    headers = {"X-Memory-Key": key, "Authorization": "Bearer sk-ant-oat01-abc"}
    with router.http(**headers) as http:
        answer = http.post(
            "/v1/messages",
            json=_message("hello"),
            headers={"anthropic-version": "2023-06-01", "anthropic-beta": "oauth-2025-04-20"},
        )
    assert answer.status_code == 200
    sent = provider.requests[-1]
    assert sent.header("authorization") == "Bearer sk-ant-oat01-abc"
    assert sent.header("x-api-key") is None
    assert sent.header("anthropic-beta") == "oauth-2025-04-20"


def test_messages_keep_what_they_hold_through_a_tool_loop(
    router: Router, provider: ServedProvider, key: str
) -> None:
    messages(router, key, FACT)
    provider.clear()
    tools: Any = [{"name": "get_weather", "input_schema": {"type": "object"}}]
    system: Any = [
        {"type": "text", "text": "You are terse.", "cache_control": {"type": "ephemeral"}}
    ]
    picture = {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}
    conversation: list[Any] = [
        {
            "role": "user",
            "content": [
                {"type": "image", "source": picture},
                {
                    "type": "text",
                    "text": "What is my dog called, and how is the weather?",
                    "cache_control": {"type": "ephemeral"},
                },
            ],
        }
    ]
    provider.queue(
        Answer(text="Let me see.", thinking="hm", tool_calls=(WEATHER,)), Answer(text="Wet.")
    )
    with anthropic_client(router, key) as client:
        for _ in range(2):
            answer = client.messages.create(
                model="claude-sonnet-4-6",
                max_tokens=64,
                system=system,
                tools=tools,
                messages=conversation,
                thinking={"type": "adaptive"},
            )
            content = [block.model_dump(exclude_none=True) for block in answer.content]
            conversation.append({"role": "assistant", "content": content})
            results = [
                {"type": "tool_result", "tool_use_id": b.id, "content": "rain in Zürich"}
                for b in answer.content
                if b.type == "tool_use"
            ]
            if results:
                conversation.append({"role": "user", "content": results})
    first, second = provider.requests
    assert first.prompt
    assert second.prompt
    assert FACT in first.prompt.memory
    assert first.prompt.memory == second.prompt.memory
    assert raw_messages(second).startswith(raw_messages(first))
    assert second.json["system"] == system
    assert second.json["messages"][1:] == conversation[1:-1]
    asked = first.json["messages"][0]["content"]
    assert asked[0] == conversation[0]["content"][0]
    assert asked[-1]["cache_control"] == {"type": "ephemeral"}
    assert second.json["messages"][1]["content"][0]["signature"]
    stored = "\n".join(router.texts(key, "dog weather rain Zürich terse hm"))
    for words in ("rain in", "terse", "iVBOR", "hm\n"):
        assert words not in stored


def test_a_model_that_takes_system_messages_later_gets_the_block_there(
    router: Router, provider: ServedProvider, key: str
) -> None:
    messages(router, key, FACT)
    messages(router, key, QUESTION)
    sent = provider.requests[-1].json["messages"]
    assert sent[0] == {"role": "user", "content": QUESTION}
    assert sent[1]["role"] == "system"
    assert FACT in json.dumps(sent[1])
    assert len(sent) == 2


def test_responses_with_state_on_the_server(
    router: Router, provider: ServedProvider, key: str
) -> None:
    with router.openai(key) as client:
        first = client.responses.create(model="openai/gpt-5.5", input=FACT)
        second = client.responses.create(
            model="openai/gpt-5.5", input=QUESTION, previous_response_id=first.id
        )
        compacted = client.responses.compact(model="openai/gpt-5.5", input=QUESTION)
    assert second.output_text == FACT
    assert provider.requests[1].json["previous_response_id"] == first.id
    assert compacted.output[-1].type == "compaction"
    assert router.memories(key) == 4  # compacting stores nothing


def test_counting_tokens_has_nothing_to_do_with_memory(
    router: Router, provider: ServedProvider, key: str
) -> None:
    messages(router, key, FACT)
    before = router.memories(key)
    with anthropic_client(router, key) as client:
        counted = client.messages.count_tokens(
            model="claude-opus-4.8", messages=[{"role": "user", "content": QUESTION}]
        )
    assert counted.input_tokens > 0
    with gemini_client(router, key) as google:
        assert google.models.count_tokens(model="gemini-3.5-flash", contents="hi").total_tokens
    assert not [p for p in provider.prompts[1:] if p.memory]
    assert router.memories(key) == before


@pytest.mark.parametrize("ask", [messages_streamed, gemini_streamed, responses_streamed])
def test_a_stream_that_broke_off_or_failed_is_not_stored(
    router: Router, provider: ServedProvider, key: str, ask: Ask
) -> None:
    provider.queue(
        Answer(text="Half a giraffe answer, or less than half", cut_after=5),
        Answer(text="Half a giraffe answer, or less than half", error_after=5),
    )
    for _ in range(2):
        with contextlib.suppress(Exception):  # each SDK has its own, and some take a cut for an end
            ask(router, key, "Tell me about the giraffe.")
    assert not [t for t in router.texts(key, "giraffe answer") if t.startswith("Half")]


def test_a_stream_arrives_piece_by_piece_in_every_format(
    router: Router, provider: ServedProvider, key: str
) -> None:
    asked: list[tuple[str, dict[str, Any]]] = [
        ("/v1/messages", _message("hello") | {"stream": True}),
        ("/v1/responses", {"model": "gpt-5.5", "input": "hello", "stream": True}),
        (
            "/v1beta/models/gemini-3.5-flash:streamGenerateContent?alt=sse",
            {"contents": [{"parts": [{"text": "hello"}]}]},
        ),
        (
            "/v1beta/models/gemini-3.5-flash:streamGenerateContent",
            {"contents": [{"parts": [{"text": "hello"}]}]},
        ),
    ]
    for path, body in asked:
        provider.queue(Answer(text="one two three four five six", hold_after=3))
        with router.http(key) as http, http.stream("POST", path, json=body) as answer:
            blocks = answer.iter_raw()
            assert next(blocks)
            assert not provider.requests[-1].finished
            provider.release()
            assert b"".join(blocks)
        until(lambda: provider.requests[-1].finished, what=path)


def test_pass_through_endpoints(router: Router, provider: ServedProvider, key: str) -> None:
    audio = bytes(range(256)) * 4096
    with router.openai(key) as client:
        heard = client.audio.transcriptions.create(model="whisper-1", file=("a.mp3", audio))
        part = next(p for p in heard.model_dump()["parts"] if p["name"] == "file")
        assert part["bytes"] == len(audio)
        spoken = client.audio.speech.create(model="tts-1", voice="alloy", input="hello")
        assert len(spoken.content) == 16384
        assert client.images.generate(model="gpt-image-1", prompt="a cat").data
        vectors = client.embeddings.create(model="text-embedding-3-small", input=["a", "b"])
        assert len(vectors.data) == 2
        assert client.moderations.create(input="x").results
        assert client.completions.create(model="gpt-5.5", prompt="x").choices[0].text
        assert client.files.list().data == []
        with pytest.raises(openai.NotFoundError):
            client.vector_stores.list()
    assert router.memories(key) == 0


def test_models_of_the_configured_providers(
    router: Router, provider: ServedProvider, key: str
) -> None:
    with router.openai(key) as client:
        names = {model.id for model in client.models.list()}
    assert "openai/gpt-5.5" in names
    assert any(name.startswith("anthropic/") for name in names)
    with router.http(key) as http:
        catalog = http.get("/v1/models").json()
    assert {p["provider"] for p in catalog["providers"]} >= {"openai", "anthropic", "google"}
    assert set(catalog["models"]) == names
    assert "default" in catalog
    assert catalog["catalog_updated"]


def anthropic_client(router: Router, key: str) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=router.url, api_key=key, max_retries=0)


class gemini_client:  # noqa: N801 - used as a function
    """A client that is closed, which the SDK's own context manager does not do everywhere."""

    def __init__(self, router: Router, key: str, version: str = "v1beta") -> None:
        options = types.HttpOptions(base_url=router.url, api_version=version)
        self._client = genai.Client(api_key=key, http_options=options)

    def __enter__(self) -> genai.Client:
        return self._client

    def __exit__(self, *_: object) -> None:
        self._client.close()


def _message(text: str) -> dict[str, Any]:
    return {
        "model": "claude-opus-4.8",
        "max_tokens": 64,
        "messages": [{"role": "user", "content": text}],
    }
