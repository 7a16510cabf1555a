"""The real SDKs understand the scripted provider: what it sends is what providers send."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import anthropic
import httpx2
import openai
import pytest
from google import genai
from google.genai import errors, types

from memrouter.testing.endpoints import SPEECH
from memrouter.testing.provider import ScriptedProvider, answer_to_json, serving
from memrouter.testing.script import NOT_KNOWN, Answer, Prompt, ToolCall

WEATHER = ToolCall(name="get_weather", arguments={"city": "Zürich"})
TIME = ToolCall(name="get_time", arguments={"zone": "Europe/Zurich"})
ASK: Any = [{"role": "user", "content": "hi"}]


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """The provider and its clients."""

    provider: ScriptedProvider
    url: str
    openai: openai.OpenAI
    anthropic: anthropic.Anthropic
    genai: genai.Client
    http: httpx2.Client


@pytest.fixture(scope="module")
def whole_world() -> Iterator[World]:
    provider = ScriptedProvider()
    with serving(provider) as port:
        url = f"http://127.0.0.1:{port}"
        with (
            openai.OpenAI(base_url=f"{url}/v1", api_key="k", max_retries=0) as chat,
            anthropic.Anthropic(base_url=url, api_key="k", max_retries=0) as messages,
            httpx2.Client(base_url=url, trust_env=False) as http,
        ):
            options = types.HttpOptions(base_url=url)
            gemini = genai.Client(api_key="k", http_options=options)
            yield World(
                provider=provider,
                url=url,
                openai=chat,
                anthropic=messages,
                genai=gemini,
                http=http,
            )
            gemini.close()


@pytest.fixture
def world(whole_world: World) -> World:
    provider = whole_world.provider
    provider.clear()
    provider.script = provider.keys = None
    return whole_world


# --- one way to ask each format, whatever the answer ---


def chat(world: World, text: str) -> str | None:
    answer = world.openai.chat.completions.create(
        model="m", messages=[{"role": "user", "content": text}]
    )
    return answer.choices[0].message.content


def chat_streamed(world: World, text: str) -> str:
    stream = world.openai.chat.completions.create(
        model="m", messages=[{"role": "user", "content": text}], stream=True
    )
    return "".join(c.choices[0].delta.content or "" for c in stream)


def responses(world: World, text: str) -> str:
    return world.openai.responses.create(model="m", input=text).output_text


def responses_streamed(world: World, text: str) -> str:
    with world.openai.responses.stream(model="m", input=text) as stream:
        return stream.get_final_response().output_text


def messages(world: World, text: str) -> str:
    answer = world.anthropic.messages.create(
        model="m", max_tokens=9, messages=[{"role": "user", "content": text}]
    )
    return "".join(b.text for b in answer.content if b.type == "text")


def messages_streamed(world: World, text: str) -> str:
    with world.anthropic.messages.stream(
        model="m", max_tokens=9, messages=[{"role": "user", "content": text}]
    ) as stream:
        return stream.get_final_text()


def gemini(world: World, text: str) -> str | None:
    return world.genai.models.generate_content(model="m", contents=text).text


def gemini_streamed(world: World, text: str) -> str:
    parts = world.genai.models.generate_content_stream(model="m", contents=text)
    return "".join(part.text or "" for part in parts)


def gemini_array(world: World, text: str) -> str:
    body = {"contents": [{"role": "user", "parts": [{"text": text}]}]}
    answer = world.http.post("/v1beta/models/m:streamGenerateContent", json=body)
    if answer.status_code >= 400:
        raise errors.APIError(answer.status_code, answer.json())
    pieces = [c for part in answer.json() for c in part["candidates"][0]["content"]["parts"]]
    return "".join(piece["text"] for piece in pieces)


WAYS: list[Callable[[World, str], str | None]] = [
    chat,
    chat_streamed,
    responses,
    responses_streamed,
    messages,
    messages_streamed,
    gemini,
    gemini_streamed,
    gemini_array,
]
every_way = pytest.mark.parametrize("ask", WAYS, ids=lambda f: f.__name__)


@every_way
def test_answers_from_the_prompt(world: World, ask: Callable[[World, str], str | None]) -> None:
    assert (
        ask(world, "My dog is called Rex. \u2028 What is my dog's name?") == "My dog is called Rex."
    )
    assert ask(world, "What is my dog's name?") == NOT_KNOWN
    first = world.provider.requests[0]
    assert first.prompt is not None
    assert first.prompt.text.startswith("My dog is called Rex.")
    assert first.finished
    assert not first.disconnected


@every_way
def test_errors_reach_the_sdk(world: World, ask: Callable[[World, str], str | None]) -> None:
    world.provider.queue(Answer(status=429, headers={"retry-after": "7"}, message="slow down"))
    with pytest.raises(
        (openai.RateLimitError, anthropic.RateLimitError, errors.APIError), match="slow down"
    ):
        ask(world, "hi")


@every_way
def test_compressed_and_scripted_by_a_callable(
    world: World, ask: Callable[[World, str], str | None]
) -> None:
    def script(prompt: Prompt) -> Answer | None:
        return Answer(text="Grüezi mitenand", gzip=True) if "salut" in prompt.text else None

    world.provider.script = script
    assert ask(world, "salut") == "Grüezi mitenand"
    assert ask(world, "what else?") == NOT_KNOWN


@pytest.mark.parametrize(
    "ask", [w for w in WAYS if "stream" in w.__name__], ids=lambda f: f.__name__
)
def test_a_cut_stream_is_an_error(world: World, ask: Callable[[World, str], str | None]) -> None:
    world.provider.queue(Answer(text="one two three", cut_after=2))
    try:
        text = ask(world, "hi")
    except (httpx2.RemoteProtocolError, openai.APIError, anthropic.APIError, RuntimeError):
        text = None
    assert text != "one two three"
    assert not world.provider.requests[0].finished


def test_an_error_inside_a_stream(world: World) -> None:
    world.provider.queue(*[Answer(text="one two", error_after=3, message="overloaded")] * 3)
    for ask in (chat_streamed, responses_streamed, messages_streamed):
        with pytest.raises((openai.APIError, anthropic.APIStatusError, RuntimeError)):
            ask(world, "hi")


# --- tools, thinking, stops: what only one format can say ---


def test_chat_calls_tools_in_parallel(world: World) -> None:
    world.provider.queue(*[Answer(tool_calls=(WEATHER, TIME))] * 2)
    whole = world.openai.chat.completions.create(model="m", messages=ASK).choices[0]
    with world.openai.chat.completions.stream(model="m", messages=ASK) as stream:
        streamed = stream.get_final_completion().choices[0]
    for choice in (whole, streamed):
        assert choice.finish_reason == "tool_calls"
        calls: Any = choice.message.tool_calls
        assert [json.loads(c.function.arguments) for c in calls] == [
            WEATHER.arguments,
            TIME.arguments,
        ]


def test_chat_usage_length_and_refusal(world: World) -> None:
    world.provider.queue(
        Answer(text="one two", stop="length"),
        Answer(text="no", stop="refusal"),
        Answer(usage=False),
    )
    create = world.openai.chat.completions.create
    stream = list(
        create(model="m", messages=ASK, stream=True, stream_options={"include_usage": True})
    )
    assert stream[-1].usage
    assert stream[-2].choices[0].finish_reason == "length"
    refusal = create(model="m", messages=ASK)
    assert refusal.choices[0].message.refusal == "no"
    assert create(model="m", messages=ASK).usage is None


def test_responses_think_call_and_remember(world: World) -> None:
    thinking = Answer(text="Hello you", thinking="hm", tool_calls=(WEATHER, TIME))
    world.provider.queue(thinking, thinking)
    whole = world.openai.responses.create(model="m", input="The code is blue.")
    with world.openai.responses.stream(model="m", input="hi") as stream:
        kinds = [event.type for event in stream]
        streamed = stream.get_final_response()
    for response in (whole, streamed):
        assert [item.type for item in response.output] == [
            "reasoning",
            "message",
            "function_call",
            "function_call",
        ]
        assert response.output_text == "Hello you"
        assert response.usage
    assert kinds[-1] == "response.completed"
    again = world.openai.responses.create(
        model="m", input="Which code?", previous_response_id=whole.id
    )
    assert again.output_text == "The code is blue."
    with pytest.raises(openai.BadRequestError, match="not found"):
        world.openai.responses.create(model="m", input="?", previous_response_id="resp_no")


def test_responses_stop_by_length_and_compact(world: World) -> None:
    world.provider.queue(Answer(text="one", stop="length"))
    response = world.openai.responses.create(model="m", input="hi")
    assert response.status == "incomplete"
    assert response.incomplete_details
    assert response.incomplete_details.reason == "max_output_tokens"
    compacted = world.openai.responses.compact(model="m", input="hi")
    assert [item.type for item in compacted.output] == ["message", "compaction"]


def test_responses_call_custom_tools(world: World) -> None:
    patch = ToolCall(name="apply_patch", arguments={"input": "*** Begin"}, custom=True)
    world.provider.queue(Answer(tool_calls=(patch,)))
    with world.openai.responses.stream(model="m", input="hi") as stream:
        (item,) = stream.get_final_response().output
    assert item.type == "custom_tool_call"
    assert item.input == "*** Begin"


def test_messages_think_and_call(world: World) -> None:
    answer = Answer(text="Let me see.", thinking="hm", tool_calls=(WEATHER, TIME))
    world.provider.queue(answer, answer, Answer(text="no", stop="refusal"), Answer(stop="length"))
    create = world.anthropic.messages.create
    whole = create(model="m", max_tokens=9, messages=ASK)
    with world.anthropic.messages.stream(model="m", max_tokens=9, messages=ASK) as stream:
        streamed = stream.get_final_message()
    messages: list[Any] = [whole, streamed]
    for message in messages:
        assert [b.type for b in message.content] == ["thinking", "text", "tool_use", "tool_use"]
        assert message.content[0].signature
        assert message.content[2].input == WEATHER.arguments
        assert message.stop_reason == "tool_use"
        assert message.usage.output_tokens
    assert create(model="m", max_tokens=9, messages=ASK).stop_reason == "refusal"
    empty = create(model="m", max_tokens=9, messages=ASK)
    assert (empty.stop_reason, empty.content) == ("max_tokens", [])
    counted = world.anthropic.messages.count_tokens(model="m", messages=ASK)
    assert counted.input_tokens > 0


def test_messages_read_tool_results_as_no_question(world: World) -> None:
    world.anthropic.messages.create(
        model="m",
        max_tokens=9,
        system=[{"type": "text", "text": "The code is blue."}],
        messages=[
            {"role": "user", "content": [{"type": "text", "text": "Which code?"}]},
            {
                "role": "assistant",
                "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {}}],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "t", "content": "The code is red."}
                ],
            },
        ],
    )
    (prompt,) = world.provider.prompts
    assert prompt.question == "Which code?"
    assert prompt.after_tool
    assert "red" in prompt.text


def test_gemini_thinks_calls_and_refuses(world: World) -> None:
    answer = Answer(text="Let me see.", thinking="hm", tool_calls=(WEATHER, TIME))
    world.provider.queue(answer, answer, Answer(stop="refusal"), Answer(text="a", stop="length"))
    generate = world.genai.models.generate_content
    whole = generate(model="m", contents="hi")
    streamed = list(world.genai.models.generate_content_stream(model="m", contents="hi"))
    assert [c.args for c in whole.function_calls or []] == [WEATHER.arguments, TIME.arguments]
    assert [c.args for c in streamed[-1].function_calls or []] == [
        WEATHER.arguments,
        TIME.arguments,
    ]
    refusal = generate(model="m", contents="hi")
    assert refusal.prompt_feedback
    assert refusal.prompt_feedback.block_reason == types.BlockedReason.SAFETY
    (candidate,) = generate(model="m", contents="hi").candidates or []
    assert candidate.finish_reason == types.FinishReason.MAX_TOKENS
    assert world.genai.models.count_tokens(model="m", contents="hi").total_tokens
    assert whole.usage_metadata
    assert whole.usage_metadata.prompt_token_count


# --- endpoints without a model ---


def test_catalogs_embeddings_and_media(world: World) -> None:
    assert "gpt-5.5" in {m.id for m in world.openai.models.list()}
    assert world.openai.models.retrieve("gpt-5.5").id == "gpt-5.5"
    assert "claude-opus-4.8" in {m.id for m in world.anthropic.models.list()}
    assert "models/gemini-3.5-flash" in {m.name for m in world.genai.models.list()}
    near = world.openai.embeddings.create(model="e", input=["my dog Rex", "my dog", "taxes"])
    a, b, c = (d.embedding for d in near.data)
    assert sum(x * y for x, y in zip(a, b, strict=True)) > sum(
        x * y for x, y in zip(a, c, strict=True)
    )
    audio = bytes(range(256)) * 1000
    heard = world.openai.audio.transcriptions.create(model="whisper-1", file=("a.mp3", audio))
    part = next(p for p in heard.model_dump()["parts"] if p["name"] == "file")
    assert part["sha256"] == hashlib.sha256(audio).hexdigest()
    assert part["bytes"] == len(audio)
    speech = world.openai.audio.speech.create(model="tts-1", voice="alloy", input="hi")
    assert speech.content == SPEECH
    assert world.openai.images.generate(prompt="a cat").data
    assert world.openai.completions.create(model="m", prompt="x").choices[0].text
    assert world.openai.moderations.create(input="x").results
    with pytest.raises(openai.NotFoundError):
        world.openai.vector_stores.list()


# --- going about it badly ---


def test_bodies_that_are_not_the_formats_own(world: World) -> None:
    cases = [
        (Answer(body="<html>down</html>", status=503), 503, b"<html>down</html>", "text/html"),
        (Answer(body=b""), 200, b"", "application/json"),
        (Answer(body={"error": {"message": "no"}}), 200, b'{"error":{"message":"no"}}', "json"),
    ]
    world.provider.queue(*(answer for answer, *_ in cases))
    for _, status, body, kind in cases:
        answer = world.http.post("/v1/chat/completions", json={"model": "m", "messages": ASK})
        assert (answer.status_code, answer.content) == (status, body)
        assert kind in answer.headers["content-type"]


def test_a_body_cut_by_bytes(world: World) -> None:
    world.provider.queue(Answer(text="one two three", cut_after_bytes=20))
    with pytest.raises(httpx2.RemoteProtocolError):
        world.http.post("/v1/chat/completions", json={"model": "m", "messages": ASK})


def test_blocks_are_sent_as_given(world: World) -> None:
    blocks = (b"data: {\n", "é".encode()[:1], "é".encode()[1:])
    world.provider.queue(Answer(blocks=blocks))
    answer = world.http.post("/v1/chat/completions", json={"model": "m", "messages": ASK})
    assert answer.content == b"".join(blocks)


def test_a_stream_can_be_held_and_left(world: World) -> None:
    body = {"model": "m", "messages": ASK, "stream": True}
    world.provider.queue(*[Answer(text="one two three", hold_after=2)] * 2)
    with world.http.stream("POST", "/v1/chat/completions", json=body) as answer:
        blocks = answer.iter_raw()
        assert b"chat.completion.chunk" in next(blocks)
        assert not world.provider.requests[0].finished
        world.provider.release()
        assert b"".join(blocks).endswith(b"data: [DONE]\n\n")
    with world.http.stream("POST", "/v1/chat/completions", json=body) as answer:
        next(answer.iter_raw())
    _until(lambda: world.provider.requests[1].disconnected)
    assert not world.provider.requests[1].finished


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"{}", b'{"model":"m","messages":[1]}', b'{"messages":[]}'], ids=str
)
def test_bad_requests_are_the_clients_fault(world: World, body: bytes) -> None:
    for path in (
        "/v1/chat/completions",
        "/v1/responses",
        "/v1/messages",
        "/v1beta/models/m:generateContent",
    ):
        assert world.http.post(path, content=body).status_code == 400


def test_only_known_credentials(world: World) -> None:
    world.provider.keys = frozenset({"good"})
    with pytest.raises(openai.AuthenticationError):
        chat(world, "hi")
    with pytest.raises(anthropic.AuthenticationError):
        messages(world, "hi")
    for headers in ({"authorization": "Bearer good"}, {"x-api-key": "good"}):
        assert world.http.get("/v1/models", headers=headers).status_code == 200
    assert world.http.get("/v1/models?key=good").status_code == 200


def test_queued_answers_wait_for_their_request(world: World) -> None:
    world.provider.queue(Answer(text="for gemini", when="generateContent"), Answer(text="first"))
    assert chat(world, "hi") == "first"
    assert gemini(world, "hi") == "for gemini"


def test_it_runs_as_a_process() -> None:
    command = [sys.executable, "-m", "memrouter.testing.provider", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            url = process.stdout.readline().split()[-1]
            with httpx2.Client(base_url=url, trust_env=False) as http:
                scripted = [answer_to_json(a) for a in (Answer(body=b"\xff"), Answer(status=500))]
                assert http.post("/_script", json=scripted).json() == {"ok": True}
                assert http.post("/_script", json={"nonsense": 1}).status_code == 400
                body = {"model": "m", "messages": ASK}
                assert http.post("/v1/chat/completions", json=body).content == b"\xff"
                assert http.post("/v1/chat/completions", json=body).status_code == 500
                assert http.post("/v1/chat/completions", json=body).status_code == 200
                seen = http.get("/_requests").json()
                assert [(r["status"], r["question"]) for r in seen] == [
                    (200, "hi"),
                    (500, "hi"),
                    (200, "hi"),
                ]
                http.delete("/_requests")
                assert http.get("/_requests").json() == []
        finally:
            process.terminate()


def _until(condition: Callable[[], bool], seconds: float = 5) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)
