"""Server-sent events: named rows, and that the cut changes nothing."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memrouter.wire.sse import Event, SSEParser

CASES: dict[str, tuple[bytes, list[Event]]] = {
    "the common shape": (b'data: {"a":1}\n\n', [(b"", b'{"a":1}')]),
    "named": (b"event: e\ndata: a\n\n", [(b"e", b"a")]),
    "name after data": (b"data: a\nevent: e\n\n", [(b"e", b"a")]),
    "cr, then crlf": (b"data: a\r\r\n", [(b"", b"a")]),
    "crlf": (b"data: a\r\n\r\ndata: b\r\n\r\n", [(b"", b"a"), (b"", b"b")]),
    "cr": (b"data: a\r\rdata: b\r\r", [(b"", b"a"), (b"", b"b")]),
    "all line ends": (b"data: a\ndata: b\rdata: c\r\n\n", [(b"", b"a\nb\nc")]),
    "two data lines, one event": (b"data: a\ndata: b\n\n", [(b"", b"a\nb")]),
    "comment": (b": ping\n\n", []),
    "comment within": (b": x\ndata: a\n: y\n\n", [(b"", b"a")]),
    "U+2028 ends no line": ("data: a\u2028b\n\n".encode(), [(b"", "a\u2028b".encode())]),
    "U+0085 ends no line": ("data: a\x85b\n\n".encode(), [(b"", "a\x85b".encode())]),
    "unfinished": (b"data: a\n", []),
    "unfinished after one": (b"data: a\n\ndata: b\n", [(b"", b"a")]),
    "blank lines more": (b"\n\n\ndata: a\n\n\n\n\ndata: b\n\n\n", [(b"", b"a"), (b"", b"b")]),
    "a byte order mark": (b"\xef\xbb\xbfdata: a\n\n", [(b"", b"a")]),
    "a mark later is no mark": (b"data: a\n\n\xef\xbb\xbfdata: b\n\n", [(b"", b"a")]),
    "half a mark": (b"\xef\xbbdata: a\n\n", []),
    "no space": (b"data:a\n\n", [(b"", b"a")]),
    "two spaces": (b"data:  a\n\n", [(b"", b" a")]),
    "empty data": (b"data:\n\n", [(b"", b"")]),
    "data without colon": (b"data\n\n", [(b"", b"")]),
    "two empty data lines": (b"data\ndata\n\n", [(b"", b"\n")]),
    "a name alone": (b"event: e\n\ndata: a\n\n", [(b"", b"a")]),
    "id and retry": (b"id: 1\nretry: 5\ndata: a\n\n", [(b"", b"a")]),
    "unknown field": (b"dat: x\ndata: a\n\n", [(b"", b"a")]),
    "colon in data": (b"data: a: b\n\n", [(b"", b"a: b")]),
    "cut character": (b"data: \xe2\x82\n\n", [(b"", b"\xe2\x82")]),
    "nothing": (b"", []),
}


def events(stream: bytes, step: int, limit_bytes: int = 1 << 20) -> list[Event]:
    parser = SSEParser(limit_bytes)
    blocks = [stream[i : i + step] for i in range(0, len(stream), step)]
    return [event for block in blocks for event in parser.feed(block)]


@pytest.mark.parametrize("step", [1, 2, 3, 5, 4096])
@pytest.mark.parametrize(("stream", "expected"), CASES.values(), ids=CASES)
def test_where_the_stream_is_cut_changes_nothing(
    stream: bytes, expected: list[Event], step: int
) -> None:
    assert events(stream, step) == expected


@given(
    st.lists(
        st.sampled_from(
            [
                b"\r",
                b"\n",
                b"\r\n",
                b"data: a",
                b"data:",
                b"event: e",
                b": c",
                b"\xef\xbb\xbf",
                b"x",
            ]
        )
    ),
    st.lists(st.integers(0, 200)),
    st.integers(1, 20),
)
def test_any_stream_any_cuts(pieces: list[bytes], cuts: list[int], limit_bytes: int) -> None:
    stream = b"".join(pieces)
    whole = events(stream, len(stream) + 1, limit_bytes)
    assert events(stream, 1, limit_bytes) == whole
    parser = SSEParser(limit_bytes)
    at = [0, *sorted(c for c in cuts if c < len(stream)), len(stream)]
    blocks = [stream[a:b] for a, b in itertools.pairwise(at)]
    assert [event for block in blocks for event in parser.feed(block)] == whole


@pytest.mark.parametrize("step", [1, 7, 64, 4096])
@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n", b"\r\r"])
def test_an_event_over_the_limit_is_skipped_and_the_next_one_read(step: int, end: bytes) -> None:
    just = b"data: " + b"a" * 94
    stream = b"data: x" + end + just + b"a" + end + just + end + b"event: e\ndata: y" + end
    expected = [(b"", b"x"), (b"", just[6:]), (b"e", b"y")]
    assert events(stream, step, limit_bytes=100) == expected


def test_what_is_skipped_is_not_held() -> None:
    parser = SSEParser(limit_bytes=100)
    parser.feed(b"data: a")
    for _ in range(1000):
        parser.feed(b"a" * 50)
    assert sum(map(len, parser._pieces)) <= 151
    assert parser.feed(b"a\n\ndata: b\n\n") == [(b"", b"b")]
