"""Local inference mode and the account's endpoints: the examples of the seed."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from memrouter.testing.script import NOTED

from .conftest import ServedProvider
from .stack import Router

EXCHANGE = [
    {"role": "user", "content": "What should I focus on today?"},
    {
        "role": "assistant",
        "content": "Focus on the launch checklist and your 6am training block.",
    },
]
SESSION = {"X-Session-ID": "conversation_abc"}


def call(router: Router, key: str, method: str, path: str, body: Any = None, **options: Any) -> Any:
    """One request; the decoded answer, whose status is checked."""
    status = options.pop("status", 200)
    with router.http(key) as http:
        content = {"json": body} if body is not None else {}
        answer = http.request(method, path, **content, **options)
    assert answer.status_code == status, answer.text
    return answer.json() if answer.content else None


def ingest(router: Router, key: str, text: str, **headers: str) -> None:
    body = {"messages": [{"role": "user", "content": text}]}
    call(router, key, "POST", "/v1/memory/ingest", body, headers=headers, status=202)


def test_prepare_and_ingest(router: Router, provider: ServedProvider, key: str) -> None:
    ask = {"messages": EXCHANGE[:1], "density": "default"}
    empty = call(router, key, "POST", "/v1/memory/prepare", ask, headers=SESSION)
    assert empty["context"] is None
    assert empty["memories_found"] == empty["memory_tokens"] == empty["retrieval_tokens"] == 0
    stored = call(
        router,
        key,
        "POST",
        "/v1/memory/ingest",
        {"model": "openai/gpt-5.5", "messages": EXCHANGE},
        headers=SESSION,
        status=202,
    )
    assert stored["accepted"] is True
    assert stored["queued"] is True
    assert stored["retrieval_tokens"] > 0
    assert stored["response_tokens"] > 0
    assert stored["message"] == "Ingest accepted for background processing"
    later = {"messages": [{"role": "user", "content": "When is my training block?"}]}
    found = call(router, key, "POST", "/v1/memory/prepare", later, headers=SESSION)
    assert found["context"].startswith("<memory_context>\n[MEMORY - ")
    assert found["context"].endswith(
        "</memory_context>\n\nThe above are retrieved memories from past conversations. "
        "Use them as background context, do not respond to them directly."
    )
    assert "6am training block" in found["context"]
    assert found["memories_found"] >= 1
    assert found["memory_tokens"] > 0
    assert found["tokens_billed"] > found["memory_tokens"]
    assert found["metrics"]["total_ms"] >= 0
    outside = call(router, key, "POST", "/v1/memory/prepare", later)
    assert outside["context"] is None  # it was said in a session
    assert not provider.requests  # no model was called


def test_an_ingest_survives_kill(router: Router, key: str) -> None:
    ingest(router, key, "I prefer dark mode and concise responses")
    router.kill()
    router.start()
    assert router.texts(key, "dark mode") == ["I prefer dark mode and concise responses"]


def test_search(router: Router, key: str) -> None:
    ingest(router, key, "I prefer dark mode and concise responses")
    ingest(router, key, "My bicycle is green")
    ingest(router, key, "In this session I prefer tea", **SESSION)
    body = {"query": "what does the user prefer", "limit": 20}
    found = call(router, key, "POST", "/v1/memory/search", body)
    assert found["query"] == body["query"]
    assert found["sessionId"] is None
    assert found["memoryKey"].startswith("mk_")
    assert found["totalMemories"] == len(found["memories"])
    assert found["tokenCount"] > 0
    assert found["windowBreakdown"]["hot"] == len(found["memories"])
    assert set(found["windowBreakdown"]) == {"hot", "working", "longterm"}
    first = found["memories"][0]
    assert first["content"] == "I prefer dark mode and concise responses"
    assert (first["role"], first["window"], first["source"]) == ("user", "hot", "core")
    assert first["id"]
    assert datetime.fromisoformat(first["timestamp"]).tzinfo
    scores = [m["score"] for m in found["memories"]]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 for score in scores)
    assert not [m for m in found["memories"] if "tea" in m["content"]]
    one = call(router, key, "POST", "/v1/memory/search", body | {"limit": 1})
    assert len(one["memories"]) == 1
    alone = call(router, key, "POST", "/v1/memory/search", body, headers=SESSION)
    assert alone["sessionId"] == "conversation_abc"
    assert [m["content"] for m in alone["memories"]] == ["In this session I prefer tea"]


LINES = [
    {"content": "User prefers dark mode", "role": "user", "timestamp": 1733000000000},
    {"content": "The meeting is scheduled for Friday at 3pm"},
    {"content": "Customer is interested in the enterprise plan", "role": "assistant"},
]


def upload(
    router: Router,
    key: str,
    body: bytes,
    *,
    headers: dict[str, str] | None = None,
    status: int = 200,
) -> Any:
    return call(
        router,
        key,
        "POST",
        "/v1/memory/upload",
        content=body,
        headers={"content-type": "application/x-ndjson", **(headers or {})},
        status=status,
    )


def jsonl(lines: list[Any]) -> bytes:
    return "\n".join(json.dumps(line) for line in lines).encode()


def test_upload(router: Router, key: str) -> None:
    done = upload(router, key, jsonl(LINES) + b"\n\n  \n")
    assert done["status"] == "complete"
    assert done["vault"] == "core"
    assert done["stats"] == {"inputItems": 3, "memories": 3, "stored": 3, "failed": 0}
    assert done["message"] == "Stored 3 memories from 3 items"
    found = call(router, key, "POST", "/v1/memory/search", {"query": "dark mode", "limit": 5})
    (memory,) = [m for m in found["memories"] if "dark mode" in m["content"]]
    assert memory["window"] == "longterm"
    assert datetime.fromisoformat(memory["timestamp"]) == datetime.fromtimestamp(1733000000, UTC)
    session = upload(router, key, jsonl(LINES), headers=SESSION)
    assert session["vault"] != "core"
    assert router.memories(key, **SESSION) == 3


def test_an_upload_with_bad_lines_keeps_the_rest(router: Router, key: str) -> None:
    lines = [
        jsonl(LINES[:1]),
        b"{not json",
        b'{"role":"user"}',
        b'{"content":5}',
        b'{"content":"x","role":"wizard"}',
        b'{"content":"bad \xff bytes"}',
        b'{"content":"y","timestamp":"yesterday"}',
        b"[]",
        b'{"content":""}',
        jsonl(LINES[1:2]),
    ]
    done = upload(router, key, b"\n".join(lines))
    assert done["status"] == "partial"
    assert done["stats"]["stored"] == 2
    assert done["stats"]["failed"] == len(lines) - 2
    assert [e["line"] for e in done["errors"]] == list(range(2, 10))
    assert all(e["reason"] for e in done["errors"])


def test_upload_limits(router: Router, key: str) -> None:
    assert "error" in upload(router, key, b"", status=400)
    line = json.dumps({"content": "The same sentence about turnips."}).encode()
    assert "hint" in upload(router, key, b"\n".join([line] * 10_001), status=413)
    assert router.memories(key) == 0
    many = [{"content": f"Item number {n} of the inventory."} for n in range(10_000)]
    done = upload(router, key, jsonl(many))
    assert done["stats"]["stored"] == 10_000
    assert router.memories(key) == 10_000


@pytest.mark.parametrize("timestamp", [1733000000, -5, 0, 99999999999999, 1e300, 1733000000000.5])
def test_odd_timestamps_do_no_harm(router: Router, key: str, timestamp: float) -> None:
    line = json.dumps({"content": "A turnip of unknown age.", "timestamp": timestamp}).encode()
    done = upload(router, key, line)
    assert done["stats"]["stored"] + done["stats"]["failed"] == 1
    ask = {"messages": [{"role": "user", "content": "How old is the turnip?"}]}
    assert call(router, key, "POST", "/v1/memory/prepare", ask)["metrics"]


def test_stats_warmup_and_delete(router: Router, key: str) -> None:
    empty = router.stats(key)
    assert (empty["memories"], empty["total_tokens"]) == (0, 0)
    assert empty["oldest"] is empty["newest"] is None
    upload(router, key, jsonl(LINES))
    ingest(router, key, "Said in the session about turnips", **SESSION)
    stats = router.stats(key)
    assert stats["memories"] == 4
    assert stats["total_tokens"] > 0
    assert datetime.fromisoformat(stats["oldest"]) < datetime.fromisoformat(stats["newest"])
    assert stats["sessions"] == 1
    assert stats["pending"] >= 0
    warm = call(router, key, "POST", "/v1/memory/warmup")
    assert warm["status"] == "warm"
    assert warm["memories_loaded"] == 4
    assert warm["warmup_ms"] >= 0
    gone = call(router, key, "DELETE", "/v1/memory", headers=SESSION)
    assert gone["sessionCleared"] == "conversation_abc"
    assert gone["deleted"] == 1
    assert router.memories(key) == 3
    gone = call(router, key, "DELETE", "/v1/memory")
    assert gone["deleted"] == 3
    assert not gone["reset"]
    assert gone["message"]
    assert router.memories(key) == 0
    assert router.texts(key, "dark mode turnips meeting") == []
    assert call(router, key, "DELETE", "/v1/memory?reset=true")["reset"]
    ingest(router, key, "Life goes on.")
    assert router.memories(key) == 1


def test_usage(router: Router, provider: ServedProvider, key: str) -> None:
    router.ask(key, "hello there")
    router.ask(key, "hello again", stream=True)
    router.ask(key, "and counted", stream=True, stream_options={"include_usage": True})
    usage = call(router, key, "GET", "/v1/account/usage")
    assert usage["total_requests"] == 3
    assert usage["total_input_tokens"] > 0
    assert usage["total_output_tokens"] > 0
    assert "gpt-5.5" in json.dumps(usage["by_model"])
    today = datetime.now(UTC).date()
    assert [day for day in usage["daily"] if str(today) in json.dumps(day)]
    path = "/v1/account/usage?start={}&end={}"
    before = path.format(today - timedelta(days=9), today - timedelta(days=8))
    assert call(router, key, "GET", before)["total_requests"] == 0
    other = call(router, router.mint(), "GET", "/v1/account/usage")
    assert other["total_requests"] == 0
    assert "hint" in call(router, key, "GET", "/v1/account/usage?start=soon", status=400)


def test_the_life_of_a_key(router: Router, provider: ServedProvider) -> None:
    """A user's memory outlives the key that was stolen."""
    old = router.mint("the one with a life")
    router.ask(old, "My dog is called Rex.")
    listed = call(router, router.account_key, "GET", "/v1/keys")
    (entry,) = [k for k in listed["keys"] if k["name"] == "the one with a life"]
    assert old not in json.dumps(listed)
    path = f"/v1/keys/{entry['id']}"
    rotated = call(router, router.account_key, "POST", f"{path}/rotate")
    new = rotated["key"]
    router.keys.add(new)
    assert new != old
    assert router.ask(new, "What is my dog called?") == "My dog is called Rex."
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    assert "hint" in call(router, old, "POST", "/v1/chat/completions", body, status=401)
    assert "hint" in call(router, new, "GET", "/v1/keys", status=403)
    with router.http(router.account_key) as http:
        assert http.delete(path).status_code < 300
    assert "hint" in call(router, new, "POST", "/v1/chat/completions", body, status=401)


BAD: list[tuple[str, str, Any]] = [
    ("POST", "/v1/memory/prepare", {}),
    ("POST", "/v1/memory/prepare", {"messages": "hello"}),
    ("POST", "/v1/memory/prepare", {"messages": [], "density": "enormous"}),
    ("POST", "/v1/memory/prepare", {"messages": EXCHANGE, "context_limit": "many"}),
    ("POST", "/v1/memory/ingest", {"messages": [5]}),
    ("POST", "/v1/memory/ingest", []),
    ("POST", "/v1/memory/search", {"limit": 5}),
    ("POST", "/v1/memory/search", {"query": 5, "limit": 5}),
    ("POST", "/v1/memory/search", {"query": "x", "limit": "many"}),
    ("POST", "/v1/memory/search", {"query": "x", "limit": -1}),
    ("POST", "/v1/keys", {"name": 5}),
]


@pytest.mark.parametrize(("method", "path", "body"), BAD)
def test_bad_requests(router: Router, key: str, method: str, path: str, body: Any) -> None:
    caller = router.account_key if path == "/v1/keys" else key
    answer = call(router, caller, method, path, body, status=400)
    assert answer["error"]
    assert answer["hint"]


def test_ingested_turns_answer_in_proxy_mode(router: Router, key: str) -> None:
    ingest(router, key, "My dog is called Rex.")
    assert router.ask(key, "What is my dog called?") == "My dog is called Rex."
    assert router.ask(key, "Thanks.") == NOTED
