from __future__ import annotations

import pytest

from memrouter.edge.exchange import OURS, PROVIDERS, usual, v1_endpoint
from memrouter.wire.table import FORMATS

USUAL = {
    "/v1/messages": "/v1/messages",
    "/v1/v1/messages": "/v1/messages",
    "/v1/v1/v1/messages": "/v1/messages",
    "/v1/v1beta/models/m:generateContent": "/v1beta/models/m:generateContent",
    "//v1/v1/messages": "/v1/messages",
    "/chat/completions": "/v1/chat/completions",
    "/messages": "/v1/messages",
    "/messages/count_tokens": "/v1/messages/count_tokens",
    "/models": "/v1/models",
    "/embeddings": "/v1/embeddings",
    "/v1": "/v1",
    "/v1/v1": "/v1/v1",
    "/v1beta/models/m:generateContent": "/v1beta/models/m:generateContent",
    "/health": "/health",
    "/messagesx": "/messagesx",
    "/v1/files/v1/v1/x": "/v1/files/v1/v1/x",
    "": "",
    "/": "/",
}


@pytest.mark.parametrize(("path", "seen"), USUAL.items())
def test_base_urls_with_and_without_a_version(path: str, seen: str) -> None:
    assert usual(path) == seen
    assert usual(usual(path)) == usual(path)


ENDPOINTS = {
    "POST /v1/chat/completions": "openai_chat",
    "POST /v1/chat/completions/": "openai_chat",
    "POST /v1/responses": "openai_responses",
    "POST /v1/messages": "anthropic_messages",
    "POST /v1/models/m:generateContent": "gemini_generate",
    "POST /v1beta/models/m:streamGenerateContent": "gemini_generate",
    "POST /v1alpha/tunedModels/m:generateContent": "gemini_generate",
    "POST /v1/models/m%3Ax:generateContent": "gemini_generate",
    "GET /v1/chat/completions": None,
    "HEAD /v1/messages": None,
    "POST /v1/messages/count_tokens": None,
    "POST /v1/messages/batches": None,
    "POST /v1/responses/compact": None,
    "POST /v1/responses/resp_1/cancel": None,
    "POST /v1/completions": None,
    "POST /v1/models/m:countTokens": None,
    "POST /v1/models/m:embedContent": None,
    "POST /v1/models/a/b:generateContent": None,
    "POST /v1/chat/completionsx": None,
    "POST /v1beta/messages": None,
}


@pytest.mark.parametrize(("asked", "name"), ENDPOINTS.items())
def test_which_requests_memory_understands(asked: str, name: str | None) -> None:
    method, path = asked.split()
    endpoint = v1_endpoint(method, path, FORMATS)
    assert (endpoint.wire.name if endpoint.wire else None) == name
    assert endpoint.label == (name or "pass_through")
    assert endpoint.url is None


# path → whether it is ours
WHOSE = {
    "/v1/memory": True,
    "/v1/memory/search": True,
    "/v1/keys": True,
    "/v1/keys/key_1": True,
    "/v1/account/usage": True,
    "/v1/models": True,
    "/v1/models/": True,
    "/v1/models/gpt-5.5": True,
    "/health": True,
    "/": True,
    "/v1": True,
    "/v1/": True,
    "/openapi.json": True,
    "/v1/models/m:generateContent": False,
    "/v1/memoryx": False,
    "/v1/keysmith": False,
    "/v1/messages": False,
    "/v1beta/models": False,
    "/v1beta/models/m": False,
    "/upload/v1beta/files": False,
    "/v1/anything": False,
}


@pytest.mark.parametrize(("path", "ours"), WHOSE.items())
def test_whose_a_path_is(path: str, ours: bool) -> None:
    assert bool(OURS.match(path) or not PROVIDERS.match(path)) is ours
