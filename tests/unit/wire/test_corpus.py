"""Recorded traffic: what is forwarded, what is stored, what a reply holds, wherever it is cut.

Each case is a folder: request.json; forwarded.json, the request with the block below in front of
the last turn that its user wrote; reply.json or stream.txt; turns.json, what memory keeps of it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from memrouter.domain import Reply
from memrouter.wire import raw
from memrouter.wire.format import ReplyReader, WireFormat
from memrouter.wire.table import FORMATS

CORPUS = Path(__file__).parents[2] / "data" / "wire"
CASES = sorted(case for case in CORPUS.glob("*/*") if case.is_dir())
OURS = frozenset(("memory", "memory_mode", "session_id"))
BLOCK = (
    "<memory_context>\n"
    "[MEMORY - 2 days ago (Wed, Jun 3, 9:14 AM)] Prefers tea over coffee.\n"
    "</memory_context>\n\n"
    "The above are retrieved memories from past conversations. "
    "Use them as background context, do not respond to them directly."
)

each_case = pytest.mark.parametrize(
    "case", CASES, ids=[f"{case.parent.name}/{case.name}" for case in CASES]
)


def wire_of(case: Path) -> WireFormat:
    return FORMATS[case.parent.name]


def expected_of(case: Path) -> dict[str, Any]:
    expected: dict[str, Any] = json.loads((case / "turns.json").read_bytes())
    return expected


def feed(reader: ReplyReader, answer: bytes, step: int) -> Reply:
    for start in range(0, len(answer), step):
        reader.feed(answer[start : start + step])
    return reader.finish()


def summary(reply: Reply) -> dict[str, Any]:
    usage = reply.usage
    return {
        "text": reply.text,
        "complete": reply.complete,
        "usage": [usage.input_tokens, usage.output_tokens] if usage else None,
        "id": reply.id,
    }


def answer_of(case: Path) -> tuple[bytes, bool]:
    """The answer, and whether it is a stream of events."""
    stream = case / "stream.txt"
    return (
        (stream.read_bytes(), True)
        if stream.exists()
        else ((case / "reply.json").read_bytes(), False)
    )


@each_case
def test_what_is_forwarded(case: Path) -> None:
    wire = wire_of(case)
    request = (case / "request.json").read_bytes()
    body = raw.parse(request)
    wire.check(body)
    at = max(i for i, turn in enumerate(wire.turns(body)) if turn.asks)
    fields = wire.strip(raw.split_object(request), OURS)
    forwarded = raw.join_object(wire.inject(fields, {at: BLOCK}, wire.model(body, "")))
    assert json.loads(forwarded) == json.loads((case / "forwarded.json").read_bytes())


@each_case
def test_what_is_stored(case: Path) -> None:
    wire = wire_of(case)
    body = raw.parse((case / "request.json").read_bytes())
    expected = expected_of(case)
    reply = feed_whole(case)
    stored = [[turn.role, turn.text] for turn in wire.turns(body) if turn.storable]
    if reply.complete and reply.text:
        stored.append(["assistant", reply.text])
    assert stored == expected["stored"]
    assert wire.chore(body) is expected.get("chore", False)


def feed_whole(case: Path) -> Reply:
    answer, streamed = answer_of(case)
    return feed(wire_of(case).reader(streamed=streamed), answer, len(answer) or 1)


@each_case
def test_the_reply_however_it_is_cut(case: Path) -> None:
    answer, streamed = answer_of(case)
    expected = expected_of(case)["reply"]
    for step in range(1, len(answer) + 1):
        assert summary(feed(wire_of(case).reader(streamed=streamed), answer, step)) == expected


@each_case
def test_done_with_the_last_event_and_not_before(case: Path) -> None:
    answer, streamed = answer_of(case)
    reader = wire_of(case).reader(streamed=streamed)
    last = answer.rstrip()[-1:]
    reader.feed(answer.rstrip()[:-1])
    early = reader.done
    reader.feed(last + b"\n\n")
    assert not early
    assert reader.done or case.name in ("stream_without_done", "cut_stream", "error_in_stream")


@each_case
def test_a_reply_that_broke_off_is_not_complete(case: Path) -> None:
    answer, streamed = answer_of(case)
    reader = wire_of(case).reader(streamed=streamed)
    cut = answer[: len(answer) // 2]
    assert not feed(reader, cut, 16).complete


def history_of(format: str, answer: Any) -> dict[str, Any]:
    """A request whose history is this answer, as the format's SDKs make it."""
    match format:
        case "openai_chat":
            chosen = [c["message"] for c in answer.get("choices", []) if c["index"] == 0]
            return {"messages": chosen}
        case "anthropic_messages":
            return {"messages": [{"role": "assistant", "content": answer["content"]}]}
        case "openai_responses":
            return {"input": answer["output"]}
    pieces = answer if isinstance(answer, list) else [answer]
    candidates = [c for piece in pieces for c in piece.get("candidates", [])]
    return {"contents": [c["content"] for c in candidates if "content" in c]}


@each_case
def test_an_answer_reads_the_same_when_it_comes_back_as_history(case: Path) -> None:
    """Else a conversation that is sent again would be stored again."""
    answer, streamed = answer_of(case)
    if streamed:
        return
    history = history_of(case.parent.name, json.loads(answer))
    texts = [turn.text for turn in wire_of(case).turns(history) if turn.storable]
    text = expected_of(case)["reply"]["text"]
    assert texts == ([text] if text else [])
