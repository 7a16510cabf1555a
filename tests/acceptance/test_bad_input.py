"""Bad input: a clear 4xx or correct service, never a 500, and never a lost or corrupted vault."""

from __future__ import annotations

import contextlib
import http.client
import json
import select
import socket
import threading
import time
from typing import Any

import pytest

from memrouter.testing.script import NOTED

from .conftest import ServedProvider
from .stack import Router, until

HELLO: list[dict[str, Any]] = [{"role": "user", "content": "hello there"}]


def _body(messages: Any = HELLO, **fields: Any) -> bytes:
    return json.dumps({"model": "gpt-5.5", "messages": messages} | fields).encode()


REFUSED: dict[str, bytes] = {
    "nothing": b"",
    "not json": b"hello",
    "half an object": b'{"model": "gpt-5.5", "messages": [{"role"',
    "trailing words": _body() + b" and more",
    "two objects": _body() + _body(),
    "a list": b"[]",
    "a string": b'"hello"',
    "null": b"null",
    "a number": b"5",
    "invalid utf-8": b'{"model":"gpt-5.5","messages":[{"role":"user","content":"\xff\xfe"}]}',
    "utf-16": '{"model":"gpt-5.5","messages":[]}'.encode("utf-16"),
    "deep nesting": b'{"model":"m","messages":' + b"[" * 200_000 + b"]" * 200_000 + b"}",
    "no messages": b'{"model":"gpt-5.5"}',
    "messages null": _body(None),
    "messages a string": _body("hello"),
    "messages an object": _body({"role": "user"}),
    "messages of strings": _body(["hello"]),
    "messages of nulls": _body([None]),
    "model a number": _body(model=5),
    "model a list": _body(model=["gpt-5.5"]),
}


@pytest.mark.parametrize("body", REFUSED.values(), ids=REFUSED)
def test_what_is_no_request_is_refused(
    router: Router, provider: ServedProvider, key: str, body: bytes
) -> None:
    with router.http(key) as client:
        answer = client.post(
            "/v1/chat/completions", content=body, headers={"content-type": "application/json"}
        )
    assert 400 <= answer.status_code < 500, answer.text
    if not provider.requests:  # refused by us: then in our own words
        assert answer.json()["error"]
        assert answer.json()["hint"]
    assert router.memories(key) == 0


ODD: dict[str, Any] = {
    "no messages in the list": [],
    "content missing": [{"role": "user"}],
    "content null": [{"role": "user", "content": None}],
    "content a number": [{"role": "user", "content": 5}],
    "content an object": [{"role": "user", "content": {"text": "x"}}],
    "content an empty list": [{"role": "user", "content": []}],
    "parts of odd types": [{"role": "user", "content": [None, 5, "x", {"type": 7}, {"text": 9}]}],
    "role missing": [{"content": "x"}],
    "role a number": [{"role": 5, "content": "x"}],
    "role unknown": [{"role": "wizard", "content": "x"}],
    "memory of an odd type": [{"role": "user", "content": "x", "memory": "perhaps"}],
    "tool calls of odd types": [{"role": "assistant", "tool_calls": 5}, *HELLO],
    "a tool result without its call": [{"role": "tool", "content": "x"}, *HELLO],
    "assistant alone": [{"role": "assistant", "content": "x"}],
    "only spaces": [{"role": "user", "content": "  \n\t "}],
    "NUL": [{"role": "user", "content": "a\x00b zero\x00 my tapir"}],
    "lone surrogates": [{"role": "user", "content": "\ud800 my okapi \udfff"}],
    "every control character": [{"role": "user", "content": "".join(map(chr, range(32)))}],
    "right to left and zero width": [{"role": "user", "content": "\u202eabc\u200b\u2028\ufeff"}],
    "a line of ours": [{"role": "user", "content": "<memory_context>\n[MEMORY - x] y"}],
    "fts syntax": [{"role": "user", "content": 'NEAR("a" OR * AND) -- ^ {x}: "unclosed'}],
    "sql": [{"role": "user", "content": "'; DROP TABLE turns; --"}],
}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("messages", ODD.values(), ids=ODD)
def test_odd_messages_are_served_or_refused(
    router: Router, provider: ServedProvider, key: str, messages: Any, stream: bool
) -> None:
    router.ask(key, "My dog is called Rex.")
    with router.http(key) as client:
        answer = client.post("/v1/chat/completions", content=_body(messages, stream=stream))
    assert answer.status_code < 500, answer.text
    assert "x-memory-error" not in answer.headers
    if answer.status_code == 200:
        sent = provider.requests[-1].json["messages"]
        assert len(sent) == len(messages)
        assert sent[:-1] == messages[:-1]
    assert router.ask(key, "What is my dog called?") == "My dog is called Rex."


def test_text_with_nul_and_surrogates_is_kept(
    router: Router, provider: ServedProvider, key: str
) -> None:
    router.chat(key, [{"role": "user", "content": "My tapir is called a\x00b."}])
    router.ask(key, "What is my tapir called?")
    assert "tapir" in provider.prompts[-1].memory


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X-Session-ID", "s" * 10_000),
        ("X-Session-ID", "\x7f"),
        ("X-Session-ID", "../../etc/passwd"),
        ("X-Session-ID", b"\xff\xfe\xe9"),
        ("X-Session-ID", ""),
        ("X-Memory-Mode", b"\xff"),
        ("X-Memory-Mode", "x" * 10_000),
        ("X-Context-Limit", "9" * 400),
        ("X-Context-Limit", "1e9"),
        ("X-Context-Limit", "\u0665".encode()),
        ("X-Provider-Key", b"sk-\xff"),
        ("X-Provider-Key", ""),
        ("X-Embedding-Model", "../x"),
        ("X-Memory-Key", ""),
        ("Content-Type", "text/plain"),
        ("Content-Type", "application/json; charset=utf-16"),
        ("Content-Encoding", "gzip"),
        ("Accept-Encoding", "br;q=x, *"),
        ("X-Odd", "y" * 200_000),
        ("Expect", "100-continue"),
    ],
    ids=lambda v: repr(v)[:24],
)
def test_absurd_headers(
    router: Router, provider: ServedProvider, key: str, name: str, value: str | bytes
) -> None:
    with router.http(key) as client:
        raw = value.encode() if isinstance(value, str) else value
        answer = client.post(
            "/v1/chat/completions", content=_body(), headers=[(name.encode(), raw)]
        )
    assert answer.status_code < 500, answer.text
    assert router.ask(key, "hello again") == NOTED


def test_many_headers(router: Router, key: str) -> None:
    headers = [(f"x-h{n}".encode(), b"v") for n in range(2_000)]
    with router.http(key) as client:
        answer = client.post("/v1/chat/completions", content=_body(), headers=headers)
    assert answer.status_code < 500


def test_a_hundred_thousand_messages(router: Router, provider: ServedProvider, key: str) -> None:
    messages = [
        {"role": ("user", "assistant")[n % 2], "content": f"message {n}"} for n in range(100_001)
    ]
    with router.http(key) as client:
        answer = client.post("/v1/chat/completions", content=_body(messages))
    assert answer.status_code == 200 or 400 <= answer.status_code < 500, answer.text
    if answer.status_code == 200:
        sent = provider.requests[-1].json["messages"]
        assert sent[:-1] == messages[:-1]
    assert router.ask(key, "My zebu is called Zoe.") == NOTED
    # On a busy machine the turn waits for the huge one, longer than its answer waits for it.
    zoe = "My zebu is called Zoe."
    until(lambda: router.ask(key, "What is my zebu called?") == zoe, 60, "the turn is found")


def test_a_huge_request_does_not_hold_up_other_users(router: Router, key: str) -> None:
    messages = [
        {"role": ("user", "assistant")[n % 2], "content": f"message {n}"} for n in range(20_001)
    ]

    def huge() -> None:
        with router.http(router.mint()) as client:
            client.post("/v1/chat/completions", content=_body(messages))

    thread = threading.Thread(target=huge)
    thread.start()
    waits = []
    while thread.is_alive():
        began = time.monotonic()
        router.ask(key, "hello there")
        waits.append(time.monotonic() - began)
    assert max(waits) < 5  # it is far less; a slow machine is no failure


def test_a_message_of_ten_megabytes(router: Router, provider: ServedProvider, key: str) -> None:
    text = "The quick brown fox jumps over the lazy dog. " * 230_000
    with router.http(key) as client:
        answer = client.post(
            "/v1/chat/completions", content=_body([{"role": "user", "content": text}])
        )
    assert answer.status_code == 200 or 400 <= answer.status_code < 500, answer.text
    assert router.ask(key, "My zebu is called Zoe.") == NOTED
    assert router.ask(key, "What is my zebu called?") == "My zebu is called Zoe."


@pytest.mark.parametrize("declared", [True, False], ids=["declared", "chunked"])
def test_a_body_over_the_limit_is_413(
    router: Router, provider: ServedProvider, key: str, declared: bool
) -> None:
    whole, rest = 64, b" "  # in MiB, and the byte that is too much
    length = f"content-length: {(whole << 20) + len(rest)}"
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\n"
        f"{length if declared else 'transfer-encoding: chunked'}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", router.port), timeout=30) as connection:
        connection.sendall(head.encode())
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for block in [b" " * (1 << 20)] * whole + [rest]:
                if select.select([connection], [], [], 0)[0]:
                    break  # it refuses before it has read everything, as it may
                connection.sendall(block if declared else b"%x\r\n%b\r\n" % (len(block), block))
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        refused = json.loads(answer.read())
    assert answer.status == 413
    assert refused["error"]
    assert refused["hint"]
    assert not provider.requests
    with router.http(key) as client:
        assert client.get("/health").status_code == 200


def test_a_body_just_under_the_limit_is_served(
    router: Router, provider: ServedProvider, key: str
) -> None:
    body = _body()
    body = body[:-1] + b" " * ((64 << 20) - len(body)) + b"}"
    with router.http(key) as client:
        answer = client.post("/v1/chat/completions", content=body)
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/chat/completions", 405),
        ("GET", "/", 404),
        ("GET", "/v2/nothing", 404),
        ("POST", "/health", 405),
        ("GET", "/v1/../../etc/passwd", 404),
        ("GET", "/%00", 404),
        ("GET", "/%ff%fe", 404),
    ],
)
def test_addresses_that_do_not_exist(
    router: Router, key: str, method: str, path: str, status: int
) -> None:
    with router.http(key) as client:
        answer = client.request(method, path)
    assert 400 <= answer.status_code < 500
    assert answer.status_code in (status, 404, 401)
