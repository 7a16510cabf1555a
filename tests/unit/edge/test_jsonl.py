"""Uploads are read the same wherever they are cut; every bad line is named."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from memrouter.edge.jsonl import MAX_BLANK_LINES, MAX_LINE_BYTES, MAX_NAMED_ERRORS, Item, JsonLines
from memrouter.errors import TooLarge

NOW = datetime(2026, 6, 5, 21, tzinfo=UTC)
BODY = (
    b"\xef\xbb\xbf"
    b'{"content":"one","role":"assistant","timestamp":1733000000000,"model":"m"}\r\n'
    b"\n"
    b"{no\n"
    b'  {"content":"two \\u00e9 \xc3\xa9","session_id":"s","conversation_id":8,"position":2}  \n'
    b'{"content":"\xc3"}\n'
    b'{"content":"three"}'
)
ITEMS = [
    Item(
        role="assistant",
        text="one",
        created=datetime(2024, 11, 30, 20, 53, 20, tzinfo=UTC),
        session="own",
        model="m",
    ),
    Item(role="user", text="two é é", created=None, session="s", conversation="8", position=2),
    Item(role="user", text="three", created=None, session="own"),
]


def read(body: bytes, step: int = 1 << 16, **options: int) -> JsonLines:
    lines = JsonLines("own", NOW, **options)
    for at in range(0, len(body), step):
        lines.feed(body[at : at + step])
    lines.finish()
    return lines


@pytest.mark.parametrize("step", [1, 2, 3, 7, 64, 4096])
def test_where_an_upload_is_cut_changes_nothing(step: int) -> None:
    lines = read(BODY, step)
    assert lines.items == ITEMS
    assert [error.line for error in lines.errors] == [3, 5]
    assert (lines.count, lines.failed) == (5, 2)


TIMES: dict[str, tuple[float, str]] = {
    "milliseconds": (1_733_000_000_000, ""),
    "a fraction": (1_733_000_000_000.9, ""),
    "as a float": (1.733e12, ""),
    "the first that is none in seconds": (100_000_000_000, ""),
    "seconds": (1_733_000_000, "seconds"),
    "the last in seconds": (99_999_999_999, "seconds"),
    "zero": (0, "seconds"),
    "negative": (-1, "negative"),
    "a negative fraction": (-0.5, "negative"),
    "an hour ahead": (1_780_696_800_000 + 3_600_000, ""),
    "a week ahead": (1_780_696_800_000 + 7 * 86_400_000, "future"),
    "nanoseconds": (1_733_000_000_000_000_000, "future"),
    "larger than any date": (1e300, "future"),
}


@pytest.mark.parametrize(("time", "reason"), TIMES.values(), ids=TIMES)
def test_times(time: float, reason: str) -> None:
    lines = read(b'{"content":"x","timestamp":%s}' % repr(time).encode())
    assert bool(lines.items) != bool(reason)
    assert all(reason in error.reason for error in lines.errors)
    for item in lines.items:
        assert item.created is not None
        assert round(item.created.timestamp() * 1000) == int(time)


def test_more_lines_than_allowed() -> None:
    assert read(b'{"content":"x"}\n\n' * 3, max_lines=3).count == 3
    with pytest.raises(TooLarge, match="more than 3 lines"):
        read(b'{"content":"x"}\n\n' * 4, max_lines=3)
    with pytest.raises(TooLarge, match="more than 3 lines"):
        read(b"[]\n" * 4, max_lines=3)  # bad ones count, too
    with pytest.raises(TooLarge):
        read(b"\n" * (MAX_BLANK_LINES + 1))


@pytest.mark.parametrize("step", [1 << 20, 1 << 30])
def test_a_line_of_any_length_takes_no_more_room_than_is_allowed(step: int) -> None:
    long = b'{"content":"%s"}' % (b"x" * 2 * MAX_LINE_BYTES)
    lines = read(long + b'\n{"content":"x"}', step)
    assert [item.text for item in lines.items] == ["x"]
    assert [error.line for error in lines.errors] == [1]
    blank = read(b" " * (MAX_LINE_BYTES + 1))
    assert blank.failed == 1


def test_not_every_bad_line_is_named() -> None:
    lines = read(b"[]\n" * (MAX_NAMED_ERRORS + 7))
    assert len(lines.errors) == MAX_NAMED_ERRORS
    assert lines.failed == MAX_NAMED_ERRORS + 7


def test_nothing_is_an_empty_upload() -> None:
    assert read(b"").count == read(b"\n \n").count == 0
