from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from memrouter.domain import Chunk, Hit, Recall
from memrouter.edge.asgi import Surface
from memrouter.edge.outcome import Outcome

HIT = Hit(
    chunk=Chunk(
        id=1, turn=1, role="user", text="t", tokens=9, created=datetime(2026, 6, 5, tzinfo=UTC)
    ),
    score=1.0,
)
RECALL = Recall(hits=(HIT, HIT), retrieved_tokens=18, tokens=70)


def said(surface: Surface, now_s: float = 3.0, **known: Any) -> dict[str, str]:
    fields: dict[str, Any] = {
        "request_id": "req_1",
        "started_s": 1.0,
        "sent_s": 1.25,
        "answered_s": 2.25,
        **known,
    }
    headers = Outcome(surface=surface, **fields).headers(now_s)
    names = [name for name, _ in headers]
    assert len(set(names)) == len(names)
    assert all(name == name.lower() for name in names)
    return {name.decode(): value.decode() for name, value in headers}


def test_v1_says_times_and_tokens() -> None:
    assert said("v1", recall=RECALL) == {
        "x-request-id": "req_1",
        "x-mr-processing-ms": "1000.00",
        "x-provider-response-ms": "1000.00",
        "x-total-ms": "2000.00",
        "x-memory-tokens-retrieved": "18",
        "x-memory-tokens-injected": "70",
    }


def test_v3_says_the_six_of_the_seed_and_what_was_retrieved() -> None:
    known: dict[str, Any] = {
        "recall": RECALL,
        "conversation": "conv_123",
        "context_modified": True,
        "prompt_tokens": 1234,
        "chunks_created": 3,
    }
    assert said("v3", **known) == {
        "x-request-id": "req_1",
        "x-supermemory-conversation-id": "conv_123",
        "x-supermemory-context-modified": "true",
        "x-supermemory-tokens-processed": "1234",
        "x-supermemory-chunks-created": "3",
        "x-supermemory-chunks-deleted": "0",
        "x-supermemory-docs-deleted": "0",
        "x-supermemory-chunks-retrieved": "2",
    }


def test_without_memory_the_counts_are_zero() -> None:
    v1, v3 = said("v1"), said("v3")
    assert (v1["x-memory-tokens-retrieved"], v1["x-memory-tokens-injected"]) == ("0", "0")
    assert v3["x-supermemory-chunks-retrieved"] == "0"
    assert v3["x-supermemory-context-modified"] == "false"
    assert v3["x-supermemory-conversation-id"] == ""


ERRORS: dict[Surface, str] = {"v1": "x-memory-error", "v3": "x-supermemory-error"}


@pytest.mark.parametrize(("surface", "name"), ERRORS.items())
def test_an_error_is_said_only_if_there_is_one(surface: Surface, name: str) -> None:
    assert name not in said(surface)
    assert said(surface, error="recall: StoreFull: no space")[name] == "recall: StoreFull: no space"


def test_the_session_comes_back_on_v1() -> None:
    assert "x-session-id" not in said("v1")
    assert said("v1", session="s 1")["x-session-id"] == "s 1"
    assert said("v1", session="Größe")["x-session-id"] == "Größe"


def test_before_the_provider_was_asked_all_time_is_ours() -> None:
    """An answer of our own, as an error, was never at a provider."""
    times = said("v1", sent_s=0.0, answered_s=0.0)
    assert times["x-mr-processing-ms"] == times["x-total-ms"] == "2000.00"
    assert times["x-provider-response-ms"] == "0.00"


def test_times_are_never_negative() -> None:
    assert said("v1", now_s=2.0)["x-mr-processing-ms"] == "0.00"


HOSTILE = [
    "a\r\nx-evil: 1",
    "a\nb",
    "a\x00b",
    "\x1b[31m",
    "a\x7f",
    "x" * 100_000,
    "\ud800",
    "é\u2028",
]


@pytest.mark.parametrize("text", HOSTILE, ids=lambda t: ascii(t)[:20])
@pytest.mark.parametrize("field", ["session", "conversation", "error"])
def test_no_value_breaks_out_of_its_header(field: str, text: str) -> None:
    known: dict[str, Any] = {field: text}
    headers = said("v3" if field == "conversation" else "v1", **known)
    assert all(value.isprintable() and len(value) <= 500 for value in headers.values())
