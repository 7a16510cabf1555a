"""Readers take whatever comes: no reply is taken for whole that is not."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memrouter.domain import Reply
from memrouter.wire.format import WireFormat
from memrouter.wire.replies import LIMIT_BYTES, Draft
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
