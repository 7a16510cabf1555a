"""Readers take whatever comes: no reply is taken for whole that is not."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memrouter.domain import Reply
from memrouter.wire.format import WireFormat
from memrouter.wire.replies import LIMIT_BYTES, Draft, StreamReader, WholeReader
from memrouter.wire.table import FORMATS

each_format = pytest.mark.parametrize("wire", FORMATS.values(), ids=FORMATS)
either_way = pytest.mark.parametrize("streamed", [True, False], ids=["stream", "whole"])

JUNK: dict[str, bytes] = {
    "nothing": b"",
    "HTML": b"<!doctype html><html><body>502 Bad Gateway</body></html>",
    "plain text": b"upstream connect error",
    "an empty object": b"{}",
    "an empty array": b"[]",
    "null": b"null",
    "an error as 200": b'{"error":{"message":"No credits","code":402}}',
    "an error that is a string": b'{"error":"unauthorized"}',
    "cut JSON": b'{"choices":[{"message":{"content":"Hi',
    "cut UTF-8": b'data: {"a":"\xe2\x82',
    "invalid UTF-8": b'data: {"a":"\xff"}\n\n',
    "an event that is no JSON": b"data: oops\n\n",
    "an event that is a number": b"data: 1\n\n",
    "compressed": b"\x1f\x8b\x08\x00\x00\x00",
    "a lone surrogate": b'data: {"a":"\\ud800"}\n\n',
    "only comments": b": ping\n\n: ping\n\n",
}


def read(wire: WireFormat, answer: bytes, *, streamed: bool, step: int = 7) -> Reply:
    reader = wire.reader(streamed=streamed)
    for start in range(0, len(answer), step):
        reader.feed(answer[start : start + step])
    return reader.finish()


@each_format
@either_way
@pytest.mark.parametrize("answer", JUNK.values(), ids=JUNK)
def test_junk_is_no_reply(wire: WireFormat, answer: bytes, *, streamed: bool) -> None:
    reply = read(wire, answer, streamed=streamed)
    assert not reply.complete
    assert reply.text == ""


KEYS = (
    *("choices", "index", "delta", "message", "content", "text", "type", "finish_reason", "usage"),
    *("prompt_tokens", "completion_tokens", "id", "error", "candidates", "parts", "finishReason"),
    *("response", "output", "status", "content_block", "stop_reason", "usageMetadata", "thought"),
    *("promptTokenCount", "input_tokens", "incomplete_details", "reason", "promptFeedback"),
)
WORDS = (
    *("text", "message", "assistant", "stop", "STOP", "error", "message_start", "message_stop"),
    *("content_block_delta", "text_delta", "response.completed", "response.output_text.delta"),
    *("message_delta", "response.failed", "completed", "output_text", "content_block_start"),
)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 10) | st.floats() | st.sampled_from(WORDS),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4)
    ),
    max_leaves=12,
)


@each_format
@given(events=st.lists(values, max_size=5), step=st.integers(1, 50))
def test_never_raises_whatever_the_events_are(
    wire: WireFormat, events: list[Any], step: int
) -> None:
    stream = b"".join(b"data: %b\n\n" % json.dumps(event).encode() for event in events)
    assert read(wire, stream, streamed=True, step=step) == read(wire, stream, streamed=True)
    for body in (*events, events):
        assert isinstance(read(wire, json.dumps(body).encode(), streamed=False), Reply)


@each_format
@either_way
@given(answer=st.binary(max_size=200))
def test_never_raises_whatever_the_bytes_are(
    wire: WireFormat, answer: bytes, *, streamed: bool
) -> None:
    ends = b"[DONE]" in answer  # all that a whole stream needs
    assert ends or not read(wire, answer, streamed=streamed).complete


@each_format
def test_an_endless_answer_is_given_up(wire: WireFormat) -> None:
    reader = wire.reader(streamed=False)
    block = b" " * (1 << 20)
    for _ in range(LIMIT_BYTES // len(block) + 2):
        reader.feed(block)
    assert not reader.finish().complete


def test_a_text_over_the_limit_is_not_kept() -> None:
    draft = Draft()
    draft.add("a")
    draft.add("b" * LIMIT_BYTES)
    draft.ended = True
    assert not draft.reply().complete


def test_a_body_is_done_when_it_is_whole() -> None:
    body = json.dumps({"choices": [{"message": {"content": "a}"}, "finish_reason": "stop"}]})
    cut = body.index("}") + 1  # what comes first looks whole
    reader = FORMATS["openai_chat"].reader(streamed=False)
    reader.feed(body[:cut].encode())
    early = reader.done
    reader.feed(body[cut:].encode() + b"\n")
    assert (early, reader.done) == (False, True)
    assert reader.finish().text == "a}"


def read_the_long_way(wire: WireFormat, answer: bytes) -> Reply:
    reader = cast("StreamReader", wire.reader(streamed=True))
    plain = StreamReader(reader._read)
    plain.feed(answer)
    return plain.finish()


def chunk(**changes: Any) -> Any:
    choice = {"index": 0, "delta": {"content": "Hi "}, "finish_reason": None, "logprobs": None}
    return {"id": "c", "choices": [choice | changes], "usage": None, "created": 1.5}


EVENTS: dict[str, Any] = {
    "text": chunk(),
    "a role first": chunk(delta={"role": "assistant", "content": ""}),
    "no text": chunk(delta={}),
    "null text": chunk(delta={"content": None, "reasoning": "hm"}),
    "pieces of text": chunk(delta={"content": [{"type": "text", "text": "Hi "}]}),
    "a number": chunk(delta={"content": 5}),
    "no delta": chunk(delta=None),
    "another choice": chunk(index=1),
    "an index below 0": chunk(index=-1),
    "an index that is none": chunk(index=None),
    "an index that is a word": chunk(index="0"),
    "the end": chunk(finish_reason="stop"),
    "withheld": chunk(finish_reason="content_filter"),
    "failed": chunk(finish_reason="error"),
    "an end that is none": chunk(finish_reason=""),
    "an end that is a number": chunk(finish_reason=1),
    "usage": chunk() | {"usage": {"prompt_tokens": 3, "completion_tokens": 4}},
    "usage at Groq": chunk() | {"x_groq": {"usage": {"prompt_tokens": 3}}},
    "an error": chunk() | {"error": {"message": "no"}},
    "an id that is none": chunk() | {"id": 7},
    "choices that are none": {"choices": None},
    "choices that are words": {"choices": ["a"]},
    "a lone surrogate": chunk(delta={"content": "a\ud800"}),
    "several": [chunk(), chunk()],
    "Anthropic's text": {
        "type": "content_block_delta",
        "index": 0,
        "delta": {"type": "text_delta", "text": "Hi "},
    },
    "Anthropic's thinking": {
        "type": "content_block_delta",
        "delta": {"type": "thinking_delta", "thinking": "hm"},
    },
    "Anthropic's text, none": {"type": "content_block_delta", "delta": {"type": "text_delta"}},
    "a response's text": {"type": "response.output_text.delta", "delta": "Hi "},
    "a response's text, none": {"type": "response.output_text.delta", "delta": None},
}


@each_format
@pytest.mark.parametrize("event", EVENTS.values(), ids=EVENTS)
def test_usual_events_are_read_as_all_others_are(wire: WireFormat, event: Any) -> None:
    written = b"data: %b\n\n" % json.dumps(event).encode()
    for stream in (written, written * 3, written + b"data: [DONE]\n\n"):
        assert read(wire, stream, streamed=True) == read_the_long_way(wire, stream)


@each_format
@given(events=st.lists(values, max_size=5))
def test_any_events_are_read_alike(wire: WireFormat, events: list[Any]) -> None:
    stream = b"".join(b"data: %b\n\n" % json.dumps(event).encode() for event in events)
    assert read(wire, stream, streamed=True) == read_the_long_way(wire, stream)


def whole(**changes: Any) -> Any:
    message: Any = {"role": "assistant", "content": "Hi", "refusal": None, "annotations": []}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    usage = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 9}
    return {"id": "c", "choices": [choice | changes], "usage": usage, "created": 1.5}


BODIES: dict[str, Any] = {
    "an answer": whole(),
    "no text": whole(message={"content": None, "tool_calls": [{"id": "1"}]}),
    "pieces of text": whole(message={"content": [{"type": "text", "text": "Hi "}]}),
    "no message": whole(message=None),
    "another choice": whole(index=1),
    "an index below 0": whole(index=-1),
    "cut short": whole(finish_reason=None),
    "withheld": whole(finish_reason="content_filter"),
    "no usage": whole() | {"usage": None},
    "empty usage": whole() | {"usage": {}},
    "usage below 0": whole() | {"usage": {"prompt_tokens": -3, "total_tokens": -1}},
    "usage in part": whole() | {"usage": {"completion_tokens": 3}},
    "usage with details": whole()
    | {"usage": {"prompt_tokens": 5, "prompt_tokens_details": {"cached_tokens": 4}}},
    "usage in words": whole() | {"usage": {"prompt_tokens": "many"}},
    "usage, true": whole() | {"usage": {"prompt_tokens": True, "completion_tokens": 2}},
    "usage at Groq": whole() | {"usage": None, "x_groq": {"usage": {"prompt_tokens": 3}}},
    "an error": whole() | {"error": {"message": "no"}},
    "an array": [whole(), whole()],
    "a lone surrogate": whole(message={"content": "a\ud800"}),
}


@each_format
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_usual_bodies_are_read_as_all_others_are(wire: WireFormat, body: Any) -> None:
    written = json.dumps(body).encode()
    plain = WholeReader(cast("WholeReader", wire.reader(streamed=False))._read)
    plain.feed(written)
    found = read(wire, written, streamed=False)
    assert found == plain.finish() == plain.finish()
