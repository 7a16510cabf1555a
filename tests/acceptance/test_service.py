"""What operators see: health, metrics, logs."""

from __future__ import annotations

import json

from memrouter import __version__

from .conftest import ServedProvider
from .stack import Router, until


def test_health_needs_no_key_and_says_how_it_is(router: Router) -> None:
    with router.http() as http:
        answer = http.get("/health")
    assert answer.status_code == 200
    assert answer.json()["version"] == __version__
    for part in ("store", "embedder", "backlog"):
        assert part in answer.json()


def test_metrics_count_requests(router: Router, key: str) -> None:
    router.ask(key, "hello there")
    with router.http() as http:
        answer = http.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    assert "memrouter_" in answer.text
    assert key not in answer.text


def test_logs_are_structured_and_hold_a_request_id(
    router: Router, provider: ServedProvider, key: str
) -> None:
    body = {"model": "gpt-5.5", "messages": [{"role": "user", "content": "the aardwolf"}]}
    with router.http(key) as http:
        answer = http.post("/v1/chat/completions", json=body)
    (request_id,) = answer.headers.get_list("x-request-id")  # the provider sends one of its own
    until(lambda: request_id in router.log, what="a line of the request")
    lines = [json.loads(line) for line in router.log.splitlines() if line.startswith("{")]
    assert any(request_id in str(line) for line in lines)
    assert "aardwolf" not in router.log
