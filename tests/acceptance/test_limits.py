"""Too much: what the real SDKs raise, and that they come back when they are told to."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anthropic
import httpx2
import openai
import pytest

from memrouter.testing.script import Answer

from .conftest import ServedProvider
from .stack import Router, until

ASK: list[Any] = [{"role": "user", "content": "My cow is called Berta."}]


def limited(router: Router, **limits: int) -> str:
    """A key that may use only so much."""
    with router.http(router.account_key) as http:
        key: str = http.post("/v1/keys", json={"name": "limited", **limits}).json()["key"]
    router.keys.add(key)
    return key


def claude(router: Router, key: str, **options: Any) -> anthropic.Anthropic:
    http = httpx2.Client(trust_env=False)
    return anthropic.Anthropic(base_url=router.url, api_key=key, http_client=http, **options)


def said(error: openai.APIStatusError) -> str:
    """What is wrong, in the router's words; there is a hint, too."""
    body = error.response.json()
    assert body["hint"]
    return str(body["error"])


def use_up(router: Router, key: str) -> None:
    """Send requests until one is too many."""
    with router.http(key) as http:
        until(lambda: http.get("/v1/memory/stats").status_code == 429)


def test_a_quota_that_is_used_up(router: Router, provider: ServedProvider) -> None:
    key = limited(router, quota_tokens=1)
    router.ask(key, "My cow is called Berta.")
    asked = len(provider.requests)
    with pytest.raises(openai.APIStatusError) as caught:
        router.ask(key, "What is my cow called?")
    assert caught.value.status_code == 402
    assert "quota of this key is used up" in said(caught.value)
    with pytest.raises(openai.APIStatusError), router.openai(key, max_retries=2) as client:
        client.chat.completions.create(model="gpt-5.5", messages=ASK)
    with claude(router, key, max_retries=0) as client, pytest.raises(anthropic.APIStatusError) as e:
        client.messages.create(model="claude-opus-4.8", max_tokens=9, messages=ASK)
    assert e.value.status_code == 402
    assert "quota" in str(e.value)
    assert len(provider.requests) == asked  # nothing was spent
    with router.http(key) as http:
        assert http.get("/v1/memory/stats").status_code == 200


def test_a_rate_is_waited_for(router: Router) -> None:
    key = limited(router, rate_per_minute=20)  # one each three seconds, 20 at once
    use_up(router, key)
    with pytest.raises(openai.RateLimitError) as caught:
        router.ask(key, "My cow is called Berta.")
    assert "20 requests a minute" in said(caught.value)
    assert 1 <= int(caught.value.response.headers["retry-after"]) <= 3
    use_up(router, key)
    with claude(router, key, max_retries=0) as client, pytest.raises(anthropic.RateLimitError):
        client.messages.create(model="claude-opus-4.8", max_tokens=9, messages=ASK)
    use_up(router, key)
    with router.openai(key, max_retries=3) as client:  # the SDK waits as long as it is told
        answer = client.chat.completions.create(model="gpt-5.5", messages=ASK)
    assert answer.choices[0].message.content


def test_a_full_router_is_waited_for(
    new_router: Callable[..., Router], provider: ServedProvider
) -> None:
    router = new_router(MAX_REQUESTS="1")
    key, other = router.mint(), router.mint()
    provider.queue(Answer(text="One two three", hold_after=1))
    talking = threading.Thread(target=router.ask, args=(key, "Hello?"), kwargs={"stream": True})
    talking.start()
    until(lambda: len(provider.requests) == 1)

    with pytest.raises(openai.InternalServerError) as caught:
        router.ask(other, "My cow is called Berta.")
    assert caught.value.status_code == 503
    assert "at capacity" in said(caught.value)
    assert caught.value.response.headers["retry-after"] == "1"
    with claude(router, other, max_retries=0) as client:
        with pytest.raises(anthropic.InternalServerError) as e:
            client.messages.create(model="claude-opus-4.8", max_tokens=9, messages=ASK)
        assert e.value.status_code == 503

    began = time.monotonic()
    freed = threading.Timer(0.5, provider.release)
    freed.start()
    with router.openai(other, max_retries=2) as client:
        answer = client.chat.completions.create(model="gpt-5.5", messages=ASK)
    assert answer.choices[0].message.content == "Noted."
    assert time.monotonic() - began >= 0.9  # it came back when it was told to
    talking.join(timeout=20)
    freed.join()
    with router.http() as http:
        assert 'memrouter_shed_total{what="full"}' in http.get("/metrics").text


def test_a_client_that_reads_nothing_holds_no_memory(
    new_router: Callable[..., Router], provider: ServedProvider
) -> None:
    router = new_router()
    key = router.mint()
    router.ask(key, "My cow is called Berta.")
    before = rss_bytes(router)
    event = b"data: " + b"x" * 100_000 + b"\n\n"
    provider.queue(Answer(blocks=(event,) * 2_000))
    body = json.dumps({"model": "gpt-5.5", "messages": ASK, "stream": True}).encode()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: router\r\nauthorization: Bearer {key}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    ).encode()
    with socket.create_connection(("127.0.0.1", router.port)) as client:
        client.sendall(head + body)
        assert client.recv(100).startswith(b"HTTP/1.1 200")
        sent = -1
        while sent != (sent := provider.requests[-1].events):
            time.sleep(0.5)
        assert sent < 500  # what the sockets between them hold; never the 200 MB there are
        assert rss_bytes(router) - before < 20_000_000
    until(lambda: provider.requests[-1].disconnected)


def rss_bytes(router: Router) -> int:
    """Resident memory of the server."""
    assert router.process is not None
    status = Path(f"/proc/{router.process.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) * 1024
