from __future__ import annotations

import pytest

from memrouter.errors import BadRequest
from memrouter.upstream.message import declared_length, end_to_end, split_url, write_head

URLS = {
    "https://h/v1/x?a=b": ("https://h", "/v1/x?a=b"),
    "http://[::1]:9/": ("http://[::1]:9", "/"),
    "https://h": ("https://h", "/"),
}


@pytest.mark.parametrize(("url", "parts"), URLS.items(), ids=URLS)
def test_split_url(url: str, parts: tuple[str, str]) -> None:
    assert split_url(url) == parts


def test_heads_keep_order_and_repeats() -> None:
    head = write_head(
        "POST",
        "/v1/x",
        {"Host": "h:1"},
        [("authorization", "Bearer k")],
        [("b", "1"), ("authorization", "no"), ("a", "2"), ("b", "3"), ("te", "trailers")],
        b"{}",
    )
    assert head == (
        b"POST /v1/x HTTP/1.1\r\nhost: h:1\r\nb: 1\r\na: 2\r\nb: 3\r\n"
        b"authorization: Bearer k\r\ncontent-length: 2\r\n\r\n"
    )


LENGTHS: dict[str, tuple[str, bytes, bool]] = {
    "post, body": ("POST", b"{}", True),
    "post, empty": ("POST", b"", True),
    "put, empty": ("PUT", b"", True),
    "get": ("GET", b"", False),
    "delete": ("DELETE", b"", False),
    "delete, body": ("DELETE", b"{}", True),
}


@pytest.mark.parametrize(("method", "body", "has"), LENGTHS.values(), ids=LENGTHS)
def test_lengths(method: str, body: bytes, has: bool) -> None:
    head = write_head(method, "/", {"Host": "h"}, (), [("content-length", "9")], body)
    assert (b"content-length: %d\r\n" % len(body) in head) == has
    assert b"content-length: 9" not in head


@pytest.mark.parametrize("method", ["", "post", "GET /x", "G\r\nET", "G\xe4T"])
def test_methods_that_are_none(method: str) -> None:
    with pytest.raises(BadRequest):
        write_head(method, "/", {"Host": "h"}, (), (), b"")


@pytest.mark.parametrize("value", ["-1", "+1", "1.0", "", "0x1", "１", "1, 1"])
def test_a_length_that_is_none(value: str) -> None:
    with pytest.raises(BadRequest):
        declared_length([("content-length", value)])


ANSWERS: dict[str, tuple[list[tuple[bytes, bytes]], list[tuple[bytes, bytes]]]] = {
    "names in lower case": ([(b"X-A", b"B")], [(b"x-a", b"B")]),
    "hop by hop": (
        [(b"Keep-Alive", b"1"), (b"Transfer-Encoding", b"chunked"), (b"A", b"1")],
        [(b"a", b"1")],
    ),
    "named by Connection": (
        [(b"A", b"1"), (b"X-Hop", b"2"), (b"Connection", b"close, X-HOP")],
        [(b"a", b"1")],
    ),
    "repeats": ([(b"set-cookie", b"a"), (b"set-cookie", b"b")],) * 2,
}


@pytest.mark.parametrize(("raw", "kept"), ANSWERS.values(), ids=ANSWERS)
def test_end_to_end(raw: list[tuple[bytes, bytes]], kept: list[tuple[bytes, bytes]]) -> None:
    assert end_to_end(raw) == kept
