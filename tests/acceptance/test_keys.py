"""Who is calling: memory keys, account keys, and the provider's own key beside them."""

from __future__ import annotations

from typing import Any

import pytest

from memrouter.testing.exchange import Recorded

from .conftest import ServedProvider
from .stack import Router

ASK: dict[str, Any] = {"model": "gpt-5.5", "messages": [{"role": "user", "content": "hello"}]}


def test_a_minted_key_looks_as_the_seed_says(router: Router) -> None:
    with router.http(router.account_key) as http:
        named = http.post("/v1/keys", json={"name": "user:42"})
        unnamed = http.post("/v1/keys", json={})
        bare = http.post("/v1/keys")
    assert named.status_code == unnamed.status_code == bare.status_code == 201
    minted = named.json()
    router.keys.add(minted["key"])
    assert minted["key"].startswith("mk_")
    assert len(minted["key"]) >= 35
    assert minted["name"] == "user:42"
    assert minted["created_at"].endswith("Z")
    assert unnamed.json()["name"] == bare.json()["name"] == "New Key"


def test_a_minted_key_mints_none(router: Router, key: str) -> None:
    with router.http(key) as http:
        answer = http.post("/v1/keys", json={"name": "thief"})
    assert answer.status_code == 403
    assert answer.json()["error"]
    assert answer.json()["hint"]


@pytest.mark.parametrize(
    "credential",
    ["", "mk_", "mk_" + "x" * 32, "sk-something", "mk_\u00e9", "Bearer", "mk_" + "y" * 5000],
    ids=["none", "short", "unknown", "not ours", "not ascii", "no token", "long"],
)
def test_no_known_key_is_401(router: Router, provider: ServedProvider, credential: str) -> None:
    headers = [(b"authorization", f"Bearer {credential}".encode())] if credential else []
    with router.http() as http:
        answer = http.post("/v1/chat/completions", json=ASK, headers=headers)
    assert answer.status_code == 401
    assert answer.json()["error"]
    assert answer.json()["hint"]
    assert not provider.requests


def test_where_the_memory_key_may_stand(router: Router, provider: ServedProvider) -> None:
    key = router.mint()
    places: list[tuple[dict[str, str], str]] = [
        ({"X-Memory-Key": key}, ""),
        ({"Authorization": f"Bearer {key}"}, ""),
        ({"Authorization": f"bearer {key}"}, ""),
        ({"x-api-key": key}, ""),
        ({"x-goog-api-key": key}, ""),
        ({}, f"?key={key}"),
        ({"Authorization": f"Bearer {key.replace('mk_', 'mk-', 1)}"}, ""),
    ]
    for headers, query in places:
        with router.http(**headers) as http:
            answer = http.post("/v1/chat/completions" + query, json=ASK)
        assert answer.status_code == 200, (headers.keys(), query and "?key=", answer.text)
        sent = provider.requests[-1]
        assert sent.header("authorization") == "Bearer sk-server-openai"
        assert sent.query == ""
        for name in ("x-api-key", "x-goog-api-key"):
            assert sent.header(name) is None


def test_the_providers_key_both_ways(router: Router, provider: ServedProvider, key: str) -> None:
    byok: list[dict[str, str]] = [
        {"X-Memory-Key": key, "Authorization": "Bearer sk-of-the-client"},
        {"Authorization": f"Bearer {key}", "X-Provider-Key": "sk-of-the-client"},
        {"x-api-key": key, "Authorization": "Bearer sk-of-the-client"},
        {
            "X-Memory-Key": key,
            "X-Provider-Key": "sk-of-the-client",
            "Authorization": "Bearer sk-less-specific",
        },
    ]
    for headers in byok:
        with router.http(**headers) as http:
            assert http.post("/v1/chat/completions", json=ASK).status_code == 200
        assert provider.requests[-1].header("authorization") == "Bearer sk-of-the-client"
        assert b"sk-less-specific" not in repr(provider.requests[-1].headers).encode()
    with router.http(key) as http:
        http.post("/v1/chat/completions", json=ASK)
    assert provider.requests[-1].header("authorization") == "Bearer sk-server-openai"


def test_the_clients_other_headers_reach_the_provider(
    router: Router, provider: ServedProvider, key: str
) -> None:
    theirs = {
        "openai-organization": "org-1",
        "openai-beta": "assistants=v2",
        "user-agent": "my-app/1.0",
        "idempotency-key": "abc",
    }
    ours = {
        "X-Memory-Mode": "on",
        "X-Memory-Store": "true",
        "X-Memory-Store-Response": "true",
        "X-Session-ID": "session-marker-77",
        "X-Context-Limit": "5",
    }
    with router.http(key, **theirs, **ours) as http:
        http.post(
            "/v1/chat/completions?mode=on&store=true",
            json=ASK | {"memory": True, "session_id": "session-marker-78", "memory_mode": "on"},
        )
    sent = provider.requests[-1]
    for name, value in theirs.items():
        assert sent.header(name) == value
    assert sent.header("connection") in (None, "keep-alive")
    assert sent.header("host") == provider.url.removeprefix("http://")
    assert b"session-marker" not in sent.body + repr(sent.headers).encode()
    assert sent.json == ASK


def test_the_search_for_leaks_finds_them(router: Router, key: str) -> None:
    """It runs after every test here: this is what it would say."""
    request = Recorded(
        serial=1,
        method="POST",
        path="/v1/chat/completions",
        query="mode=read",
        headers=(("authorization", f"Bearer {key}"), ("x-session-id", "s")),
        body=b'{"model":"m","memory_mode":"read","metadata":{"memory":1}}',
        received=0,
    )
    assert set(router.leaks(request)) == {
        f"memory key {key[:6]}…",
        "header x-session-id",
        "query mode=",
        "field memory_mode",
    }


def test_no_key_is_written_to_disk_or_log(router: Router, provider: ServedProvider) -> None:
    key = router.mint()
    router.ask(key, "My very private walrus.")
    for path in (router.data / "store").rglob("*"):
        if path.is_file():
            assert key.encode() not in path.read_bytes(), path.name
    assert key not in router.log
    assert router.account_key not in router.log
    assert "walrus" not in router.log
    assert "sk-server" not in router.log
