"""Several processes over one data folder: what one stores or deletes, the other knows at once;
workers of a server that stops take nothing more."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from memrouter.testing.script import Answer

from .conftest import ServedProvider
from .stack import CLEAN_ENDS, Router, until

PLACES = ("Lisbon", "Oslo", "Kyoto", "Quito", "Cairo", "Hanoi", "Perth", "Turin")


@pytest.fixture
def pair(new_router: Callable[..., Router]) -> tuple[Router, Router]:
    """Two processes over one data folder."""
    first = new_router()
    other = new_router(DATA_DIR=str(first.data / "store"), ACCOUNT_KEY=first.account_key)
    assert first.process is not None
    assert other.process is not None
    assert first.process.pid != other.process.pid
    return first, other


def asked(router: Router, key: str, method: str, path: str, body: Any = None) -> Any:
    with router.http(key) as http:
        answer = http.request(method, path, json=body)
    assert answer.status_code // 100 == 2, answer.text
    return answer.json()


def said(text: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}]}


def found(router: Router, key: str, question: str) -> list[dict[str, Any]]:
    """What a search finds, best first."""
    hits: list[dict[str, Any]] = asked(
        router, key, "POST", "/v1/memory/search", {"query": question, "limit": 5}
    )["memories"]
    return hits


def test_each_process_sees_at_once_what_the_other_stores_and_deletes(
    pair: tuple[Router, Router],
) -> None:
    key = pair[0].mint()
    filler = "\n".join(json.dumps({"content": f"Note {n}: tomatoes want sun."}) for n in range(300))
    with pair[0].http(key) as http:
        http.post("/v1/memory/upload", content=filler).raise_for_status()
    for router in pair:  # from here on both hold the vault's signals
        assert found(router, key, "What do tomatoes want?")
    for n, place in enumerate(PLACES * 2):
        writer, reader = pair[n % 2], pair[1 - n % 2]
        fact, question = f"My cabin number {n} is in {place}.", f"Where is my cabin number {n}?"
        asked(writer, key, "POST", "/v1/memory/ingest", said(fact))
        best = found(reader, key, question)[0]
        assert best["content"] == fact
        context = asked(reader, key, "POST", "/v1/memory/prepare", said(question))["context"]
        assert fact in context
        asked(writer, key, "DELETE", f"/v1/memory/{best['id']}")
        assert fact not in [hit["content"] for hit in found(reader, key, question)]
        context = asked(reader, key, "POST", "/v1/memory/prepare", said(question))["context"]
        assert fact not in (context or "")


def test_a_process_forgets_with_the_other(pair: tuple[Router, Router]) -> None:
    writer, reader = pair
    key = writer.mint()
    asked(writer, key, "POST", "/v1/memory/ingest", said("My cabin is in Lisbon."))
    assert len(found(reader, key, "Where is my cabin?")) == 1
    asked(writer, key, "DELETE", "/v1/memory")
    assert found(reader, key, "Where is my cabin?") == []
    asked(writer, key, "POST", "/v1/memory/ingest", said("My cabin is in Oslo."))
    assert [hit["content"] for hit in found(reader, key, "Where is my cabin?")] == [
        "My cabin is in Oslo."
    ]
    asked(reader, key, "DELETE", "/v1/memory?reset=true")
    assert found(writer, key, "Where is my cabin?") == []


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_server_that_stops_refuses_new_connections(
    new_router: Callable[..., Router], provider: ServedProvider, workers: str
) -> None:
    """While requests under way finish, who asks for its health is refused, and not let wait."""
    router = new_router("--workers", workers)
    assert router.process is not None
    key = router.mint()
    provider.queue(Answer(text="one two three", hold_after=1))
    body = {"model": "gpt-5.5", "messages": said("hello")["messages"], "stream": True}
    with router.http(key) as http, http.stream("POST", "/v1/chat/completions", json=body) as answer:
        blocks = answer.iter_raw()
        next(blocks)
        router.process.terminate()
        until(lambda: refuses(router), what="connections to be refused")
        assert router.process.poll() is None
        provider.release()
        assert b"three" in b"".join(blocks)
    assert router.process.wait(20) in CLEAN_ENDS


def refuses(router: Router) -> bool:
    """Whether it takes no connection; one that it takes must be answered."""
    try:
        with router.http() as http:
            http.get("/health", timeout=2)
    except httpx2.ConnectError:
        return True
    except (httpx2.ReadError, httpx2.RemoteProtocolError):  # taken just as it stopped
        return False
    return False
