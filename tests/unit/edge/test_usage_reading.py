"""Reading usage: of streams that memory does not read, of whatever passes through, cut anywhere."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Sequence
from typing import Any, cast

import pytest

from memrouter.domain import Reply, Usage
from memrouter.edge import usage_reading
from memrouter.edge.asgi import Request, Send
from memrouter.edge.exchange import Endpoint, Exchange
from memrouter.edge.outcome import Outcome
from memrouter.edge.usage_reading import PassedUsage, StreamedUsage
from memrouter.wire.anthropic_messages import AnthropicMessages
from memrouter.wire.format import WireFormat
from memrouter.wire.gemini_generate import GeminiGenerate
from memrouter.wire.openai_chat import OpenAIChat
from memrouter.wire.openai_responses import OpenAIResponses


def exchange(wire: WireFormat | None) -> Exchange:
    return Exchange(
        request=Request(method="POST", path="/v1/x", query="", headers=[]),
        endpoint=Endpoint(wire=wire),
        send=cast("Send", None),
        outcome=Outcome(surface="v1", request_id="req_1"),
    )


# --- reading streams that memory does not read ---


def sse(*events: Any, end: str = "\n\n") -> bytes:
    lines = [e if isinstance(e, str) else json.dumps(e) for e in events]
    return "".join(f"data: {line}{end}" for line in lines).encode()


def chat(words: int, usage: Any = None) -> bytes:
    def event(delta: Any, reason: Any = None) -> Any:
        return {"id": "c", "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}

    events = [event({"content": f"word{i} "}) for i in range(words)]
    ends = [event({}, "stop"), *([{"choices": [], "usage": usage}] if usage else []), "[DONE]"]
    return sse(*events, *ends)


def anthropic(words: int) -> bytes:
    def delta(i: int) -> Any:
        text = {"type": "text_delta", "text": f"word{i} "}
        return {"type": "content_block_delta", "index": 0, "delta": text}

    start = {"type": "message_start", "message": {"id": "m", "usage": {"input_tokens": 41}}}
    block = {"type": "content_block_start", "index": 0, "content_block": {"type": "text"}}
    end = {
        "type": "message_delta",
        "delta": {"stop_reason": "end_turn"},
        "usage": {"output_tokens": words},
    }
    return sse(start, block, *map(delta, range(words)), end, {"type": "message_stop"})


def responses(words: int) -> bytes:
    deltas = [{"type": "response.output_text.delta", "delta": f"word{i} "} for i in range(words)]
    text = "".join(f"word{i} " for i in range(words))
    said = {"type": "message", "content": [{"type": "output_text", "text": text}]}
    whole = {
        "id": "r",
        "status": "completed",
        "instructions": "be brief " * 9000,
        "output": [said],
        "usage": {"input_tokens": 41, "output_tokens": words, "total_tokens": 41 + words},
    }
    return sse(*deltas, {"type": "response.completed", "response": whole})


def gemini(words: int) -> bytes:
    def event(i: int) -> Any:
        part = {"content": {"role": "model", "parts": [{"text": f"word{i} "}]}}
        if i == words - 1:
            part["finishReason"] = "STOP"  # type: ignore[assignment]
        counts = {"promptTokenCount": 41, "candidatesTokenCount": i + 1}
        return {"candidates": [part], "usageMetadata": counts}

    return sse(*map(event, range(words)), end="\r\n\r\n")


CHAT_USAGE = {"prompt_tokens": 41, "completion_tokens": 3000, "total_tokens": 3041}
STREAMS: dict[str, tuple[WireFormat, bytes, int]] = {
    "chat": (OpenAIChat(), chat(3000, CHAT_USAGE), 3000),
    "chat, short": (OpenAIChat(), chat(3, CHAT_USAGE | {"completion_tokens": 3}), 3000),
    "anthropic": (AnthropicMessages(), anthropic(3000), 3000),
    "anthropic, short": (AnthropicMessages(), anthropic(3), 3),
    "responses, the last event is most of it": (OpenAIResponses(), responses(3000), 3000),
    "responses, short": (OpenAIResponses(), responses(3), 3),
    "gemini, cr lf": (GeminiGenerate(), gemini(3000), 3000),
    "gemini, short": (GeminiGenerate(), gemini(3), 3),
}


def read(wire: WireFormat, data: bytes, cuts: Sequence[int] = ()) -> Reply:
    reader = StreamedUsage(wire)
    ends = [0, *sorted(cuts), len(data)]
    for start, end in itertools.pairwise(ends):
        reader.feed(data[start:end])
    assert not reader.done
    return reader.finish()


@pytest.mark.parametrize("blocks", [1, 7, 400])
@pytest.mark.parametrize(("wire", "data", "answered"), STREAMS.values(), ids=STREAMS)
def test_the_figures_of_a_stream(wire: WireFormat, data: bytes, answered: int, blocks: int) -> None:
    cuts = random.Random(blocks).sample(range(len(data)), min(blocks - 1, len(data) // 2))
    reply = read(wire, data, cuts)
    assert reply.complete
    assert reply.usage is not None
    assert (reply.usage.input_tokens, reply.usage.output_tokens) == (41, answered)


@pytest.mark.parametrize("words", [3, 3000])
def test_without_figures_the_text_is_read(words: int) -> None:
    reply = read(OpenAIChat(), chat(words))
    assert reply.complete
    assert reply.usage is None
    assert reply.text == "".join(f"word{i} " for i in range(words))


def test_figures_of_zero_are_none() -> None:
    end = {
        "type": "message_delta",
        "delta": {"stop_reason": "end_turn"},
        "usage": {"output_tokens": 0},
    }
    start = {"type": "message_start", "message": {"id": "m", "usage": {"input_tokens": 0}}}
    texts = [{"type": "text_delta", "text": f"word{i} "} for i in range(400)]
    deltas = [{"type": "content_block_delta", "index": 0, "delta": text} for text in texts]
    said = sse(start, *deltas, end, {"type": "message_stop"})
    assert len(said) > 20_000
    assert read(AnthropicMessages(), said).text.split() == [f"word{i}" for i in range(400)]


def test_a_stream_that_broke_off_is_not_complete() -> None:
    data = anthropic(3000)
    reply = read(AnthropicMessages(), data[: len(data) // 2])
    assert not reply.complete
    assert reply.usage is not None
    assert reply.usage.input_tokens == 41


def test_of_a_huge_stream_little_is_held() -> None:
    reader = StreamedUsage(OpenAIChat())
    block = chat(1000).removesuffix(b"data: [DONE]\n\n")
    for _ in range(60):
        reader.feed(block)
    reader.feed(chat(1, CHAT_USAGE))
    assert reader._held_bytes < 2 << 20
    reply = reader.finish()
    assert reply.usage == Usage(input_tokens=41, output_tokens=3000)


@pytest.mark.parametrize(
    "data", [b"", b"\n\n", b"<html>", b"\x00\xff" * 40_000, b"data: {\n\n" * 9]
)
def test_whatever_comes_is_read(data: bytes) -> None:
    assert read(OpenAIChat(), data).usage is None


# --- what is passed through ---

PASSED: dict[str, tuple[bytes, Usage | None]] = {
    "embeddings": (
        b'{"data": [{"embedding": [' + b"0.1," * 9000 + b'0]}], "model": "m", '
        b'"usage": {"prompt_tokens": 8, "total_tokens": 8}}',
        Usage(input_tokens=8),
    ),
    "completion": (
        b'{"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 7, '
        b'"total_tokens": 12, "completion_tokens_details": {"reasoning_tokens": 0}}, "x": 1}',
        Usage(input_tokens=5, output_tokens=7),
    ),
    "transcription": (
        b'{"text": "hi", "usage": {"type": "tokens", "input_tokens": 14, '
        b'"input_token_details": {"audio_tokens": 14}, "output_tokens": 45, "total_tokens": 59}}',
        Usage(input_tokens=14, output_tokens=45),
    ),
    "stream": (
        b'data: {"usage":null}\n\ndata: {"usage": {"prompt_tokens":3,"completion_tokens":4}}\n\n'
        b"data: [DONE]\n\n",
        Usage(input_tokens=3, output_tokens=4),
    ),
    "only a total": (b'{"usage":{"total_tokens":9}}', Usage(input_tokens=9)),
    "seconds": (b'{"usage": {"type": "duration", "seconds": 9}}', None),
    "null": (b'{"usage": null}', None),
    "a number": (b'{"usage": 5}', None),
    "cut": (b'{"usage": {"prompt_tokens": 5', None),
    "absurd": (b'{"usage": {"prompt_tokens": true, "completion_tokens": "9"}}', None),
    "said in a text": (b'{"text": "say \\"usage\\": {\\"prompt_tokens\\": 5}"}', None),
    "none": (b'{"input_tokens": 12}', None),
    "empty": (b"", None),
    "no text": (b'\xff\xfe"usage"\xff', None),
    "deep": (b'{"usage": ' + b"[" * 7000, None),
}


@pytest.mark.parametrize("step", [1, 1000, 1 << 20])
@pytest.mark.parametrize(("data", "used"), PASSED.values(), ids=PASSED)
def test_the_figures_at_the_end_of_any_answer(data: bytes, used: Usage | None, step: int) -> None:
    reader = PassedUsage()
    for at in range(0, len(data), step):
        reader.feed(data[at : at + step])
    reply = reader.finish()
    assert reply.usage == used
    assert reply.complete == (used is not None)


READERS = {
    "stream of a format": (OpenAIChat(), b"text/event-stream; charset=utf-8", StreamedUsage),
    "stream of none": (None, b"text/event-stream", PassedUsage),
    "json of none": (None, b"application/json", PassedUsage),
    "audio": (None, b"audio/mpeg", None),
    "nothing said": (None, b"", None),
}


@pytest.mark.parametrize(("wire", "kind", "reader"), READERS.values(), ids=READERS)
def test_what_reads_what(wire: WireFormat | None, kind: bytes, reader: type | None) -> None:
    chosen = usage_reading.reader(exchange(wire), kind)
    assert (None if chosen is None else type(chosen)) is reader


def test_a_whole_answer_is_read_by_its_format() -> None:
    chosen = usage_reading.reader(exchange(OpenAIChat()), b"application/json")
    assert chosen is not None
    chosen.feed(json.dumps({"choices": [], "usage": CHAT_USAGE}).encode())
    assert chosen.finish().usage == Usage(input_tokens=41, output_tokens=3000)
