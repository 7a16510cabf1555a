from __future__ import annotations

import pytest

from memrouter.edge.headers import (
    OUR_PARAMETERS,
    V3_PARAMETERS,
    decode,
    forwarded,
    identifier,
    parameters,
    readable,
    text,
    without,
)
from memrouter.errors import BadRequest

FORWARDED = [
    *("anthropic-beta", "anthropic-version", "openai-organization", "openai-project"),
    *("user-agent", "accept", "content-type", "x-stainless-lang", "x-request-id", "session-id"),
    *("x-client-request-id", "x-codex-turn-metadata", "http-referer", "x-title", "idempotency-key"),
    *("x-goog-api-client", "x-goog-user-project", "api-key", "cf-aig-authorization", "x-storage"),
]
KEPT_BACK = [
    *("x-memory-key", "x-memory-mode", "x-memory-store", "x-memory-store-response"),
    *("x-memory-density", "x-memory-limit", "x-session-id", "x-provider-key", "x-context-limit"),
    *("x-store-input", "x-store-response", "x-embedding-model", "x-sm-user-id"),
    *("x-sm-conversation-id", "x-supermemory-api-key", "x-supermemory--api-key"),
    *("x-openwebui-user-id", "x-openwebui-user-email", "x-openwebui-chat-id"),
    *("authorization", "x-api-key", "x-goog-api-key", "host", "content-length", "expect"),
    *("connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"),
    *("proxy-authorization", "proxy-connection", "cookie", "forwarded", "x-forwarded-for"),
    *("x-forwarded-proto", "x-real-ip", "via", "cf-access-jwt-assertion", "cf-connecting-ip"),
]


@pytest.mark.parametrize("name", FORWARDED)
def test_forwarded(name: str) -> None:
    assert forwarded([(name, "1")]) == [(name, "1")]


@pytest.mark.parametrize("name", KEPT_BACK)
def test_kept_back(name: str) -> None:
    assert forwarded([(name, "1")]) == []


def test_order_and_repeats_stay() -> None:
    headers = [("b", "1"), ("x-session-id", "s"), ("a", "2"), ("b", "3"), ("a", "")]
    assert forwarded(headers) == [("b", "1"), ("a", "2"), ("b", "3"), ("a", "")]


def test_configured_names_are_ours() -> None:
    headers = [("x-user", "u"), ("x-chat", "c"), ("a", "1")]
    assert forwarded(headers, own=("x-user", "x-chat")) == [("a", "1")]


def test_what_connection_names_stays_here() -> None:
    headers = [("connection", "keep-alive, X-Hop"), ("x-hop", "1"), ("a", "1")]
    assert forwarded(headers) == [("a", "1")]


def test_a_streamed_body_keeps_its_length() -> None:
    assert forwarded([("content-length", "5")], streamed=True) == [("content-length", "5")]
    smuggled = [("content-length", "5"), ("connection", "content-length")]
    assert forwarded(smuggled, streamed=True) == [("content-length", "5")]


READABLE = {
    "gzip": "gzip",
    "gzip, deflate": "gzip, deflate",
    "gzip, deflate, br, zstd": "gzip, deflate",
    "br": "identity",
    "zstd, br;q=0.9": "identity",
    "": "identity",
    "*": "gzip, deflate",
    "br, *;q=0.1": "gzip, deflate",
    "gzip;q=0.5, br;q=1.0, identity;q=0": "gzip;q=0.5, identity;q=0",
    "GZIP": "GZIP",
    "x-gzip": "x-gzip",
}


@pytest.mark.parametrize(("asked", "sent"), READABLE.items(), ids=READABLE)
def test_readable(asked: str, sent: str) -> None:
    assert readable(asked) == sent
    assert forwarded([("accept-encoding", asked)]) == [("accept-encoding", sent)]


PARAMETERS: dict[str, dict[str, str]] = {
    "": {},
    "a=1&b=2": {"a": "1", "b": "2"},
    "a=1&a=2": {"a": "1"},
    "a": {"a": ""},
    "a=b=c": {"a": "b=c"},
    "a=%C3%A9+x&%62=1": {"a": "é x", "b": "1"},
    "a=%FF": {"a": "�"},
    "&&=&a=1": {"a": "1"},
}


@pytest.mark.parametrize(("query", "values"), PARAMETERS.items(), ids=PARAMETERS)
def test_parameters(query: str, values: dict[str, str]) -> None:
    assert parameters(query) == values


WITHOUT = {
    "": "",
    "a=1": "a=1",
    "memory=off": "",
    "alt=sse&mode=read&key=x&store=false": "alt=sse&key=x",
    "b=%41&memory%5Fmode=off&b=+&&c": "b=%41&b=+&&c",
    "memories=1&store_x=1": "memories=1&store_x=1",
}


@pytest.mark.parametrize(("query", "left"), WITHOUT.items(), ids=WITHOUT)
def test_without(query: str, left: str) -> None:
    assert without(query, OUR_PARAMETERS) == left


def test_v3_parameters() -> None:
    assert without("userId=u&apiKey=mk_a&alt=sse", V3_PARAMETERS) == "alt=sse"
    assert without("userId=u&alt=sse", OUR_PARAMETERS) == "userId=u&alt=sse"


IDENTIFIERS = {
    "plain": ("conv_123", "conv_123"),
    "spaces around": (" a ", "a"),
    "any script": ("日本-é", "日本-é"),
    "empty": ("  ", ""),
    "longest": ("a" * 256, "a" * 256),
}


@pytest.mark.parametrize(("given", "got"), IDENTIFIERS.values(), ids=IDENTIFIERS)
def test_identifier(given: str, got: str) -> None:
    assert identifier(given, "session_id") == got


@pytest.mark.parametrize("value", ["a" * 257, "a\nb", "a\0", "\x1b[0m", "a\u2028b", "\ud800"])
def test_absurd_identifiers(value: str) -> None:
    with pytest.raises(BadRequest, match="session_id") as caught:
        identifier(value, "session_id")
    assert caught.value.hint


def test_header_text() -> None:
    sent = decode([(b"x-a", "日本".encode()), (b"x-b", b"caf\xe9"), (b"x-c", b"plain")])
    assert [text(value) for _, value in sent] == ["日本", "café", "plain"]
