"""An answer as its bytes come, however they are cut."""

from __future__ import annotations

import asyncio
import gc
import weakref

import aiohttp
import pytest
from aiohttp.http import HttpProcessingError

from memrouter.upstream.incoming import Incoming, Protocol

Fields = list[tuple[bytes, bytes]]


class Line(asyncio.Transport):
    """The other end's side of a connection."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[str] = []
        self.closed = False

    def pause_reading(self) -> None:
        self.told.append("hold")

    def resume_reading(self) -> None:
        self.told.append("go on")

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed


def connected() -> tuple[Protocol, Line]:
    protocol, line = Protocol(asyncio.get_running_loop()), Line()
    protocol.connection_made(line)
    return protocol, line


async def told(data: bytes, step: int, method: str = "POST") -> tuple[Protocol, Incoming]:
    """The protocol and its answer after these bytes came, `step` at a time."""
    protocol, _ = connected()
    incoming = protocol.expect(method, 600)
    for at in range(0, len(data), step):
        protocol.data_received(data[at : at + step])
    return protocol, incoming


LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A:  b c \r\nX-Empty:\r\n\r\nhello"
CHUNKED = (
    b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\n\r\n"
)
LENGTH_FIELDS = [(b"Content-Length", b"5"), (b"X-A", b"b c"), (b"X-Empty", b"")]
CHUNKED_FIELDS = [(b"Transfer-Encoding", b"chunked")]

WHOLE: dict[str, tuple[bytes, int, Fields, bytes, bool]] = {
    "with a length": (LENGTH, 200, LENGTH_FIELDS, b"hello", False),
    "chunked": (CHUNKED, 201, CHUNKED_FIELDS, b"hello", False),
    "trailers are no headers": (
        CHUNKED.replace(b"0\r\n\r\n", b"0\r\nx-t: 1\r\n\r\n"),
        201,
        CHUNKED_FIELDS,
        b"hello",
        False,
    ),
    "interim ones first": (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nlink: x\r\n\r\n" + LENGTH,
        200,
        LENGTH_FIELDS,
        b"hello",
        False,
    ),
    "no content": (b"HTTP/1.1 204 None\r\n\r\n", 204, [], b"", False),
    "not modified": (
        b"HTTP/1.1 304 Same\r\ncontent-length: 9\r\n\r\n",
        304,
        [(b"content-length", b"9")],
        b"",
        False,
    ),
    "the last on its connection": (
        b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nhi",
        200,
        [(b"connection", b"close"), (b"content-length", b"2")],
        b"hi",
        True,
    ),
    "of an old server": (
        b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nhi",
        200,
        [(b"content-length", b"2")],
        b"hi",
        True,
    ),
    "lines that end in a line feed alone": (
        b"HTTP/1.1 200 OK\ncontent-length: 2\n\nhi",
        200,
        [(b"content-length", b"2")],
        b"hi",
        False,
    ),
    "with more behind it": (LENGTH + b"HTTP/1.1 200 OK\r\n", 200, LENGTH_FIELDS, b"hello", True),
    "with what is no HTTP behind it": (LENGTH + b"hello", 200, LENGTH_FIELDS, b"hello", True),
}


@pytest.mark.parametrize("step", [1, 2, 7, 4_096])
@pytest.mark.parametrize(
    ("data", "status", "fields", "body", "closes"), WHOLE.values(), ids=list(WHOLE)
)
async def test_whole_answers(
    data: bytes, status: int, fields: Fields, body: bytes, closes: bool, step: int
) -> None:
    protocol, incoming = await told(data, step)
    await incoming.head()
    assert (incoming.status, incoming.fields) == (status, fields)
    assert incoming.ended
    found = b""
    while block := await incoming.read():
        found += block
    assert found == body
    assert incoming.read_up
    assert protocol.should_close is closes


@pytest.mark.parametrize("step", [1, 4_096])
async def test_an_answer_to_a_head_ends_with_its_head(step: int) -> None:
    protocol, incoming = await told(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", step, "HEAD")
    assert incoming.read_up
    assert not protocol.should_close
    protocol.data_received(b"hello")
    assert protocol.should_close


async def test_the_next_answer_of_a_connection() -> None:
    protocol, _ = await told(LENGTH, 4_096)
    for _ in range(2):
        incoming = protocol.expect("POST", 600)
        protocol.data_received(CHUNKED)
        assert await incoming.read() == b"hello"
        assert not protocol.should_close


UNTIL_CUT = {
    "no framing": (b"HTTP/1.1 200 OK\r\n\r\nall", b"all"),
    "an unknown coding": (b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\nall", b"all"),
    "nothing": (b"HTTP/1.1 200 OK\r\n\r\n", b""),
}


@pytest.mark.parametrize(("data", "body"), UNTIL_CUT.values(), ids=UNTIL_CUT)
async def test_answers_that_last_as_long_as_their_connection(data: bytes, body: bytes) -> None:
    protocol, incoming = await told(data, 4_096)
    assert not incoming.ended
    assert protocol.should_close
    protocol.connection_lost(None)
    assert await incoming.read() == body
    assert incoming.read_up


CUT: dict[str, tuple[bytes, BaseException | None, type[BaseException]]] = {
    "before it began": (b"", None, aiohttp.ServerDisconnectedError),
    "reset before it began": (b"", ConnectionResetError(104, "reset"), aiohttp.ClientOSError),
    "in its head": (LENGTH[:20], None, aiohttp.ServerDisconnectedError),
    "after an interim one": (
        b"HTTP/1.1 100 Continue\r\n\r\n",
        None,
        aiohttp.ServerDisconnectedError,
    ),
    "in its body": (LENGTH[:-1], None, aiohttp.ClientPayloadError),
    "between chunks": (CHUNKED[:-5], None, aiohttp.ClientPayloadError),
}


@pytest.mark.parametrize(("data", "reason", "raised"), CUT.values(), ids=CUT)
async def test_answers_that_break_off(
    data: bytes, reason: BaseException | None, raised: type[BaseException]
) -> None:
    protocol, incoming = await told(data, 4_096)
    waiting = asyncio.ensure_future(_all(incoming))
    await asyncio.sleep(0)
    protocol.connection_lost(reason)
    with pytest.raises(raised):
        await waiting


async def _all(incoming: Incoming) -> None:
    await incoming.head()
    while await incoming.read():
        pass


HEAD = b"HTTP/1.1 200 OK\r\n"
REFUSED: dict[str, tuple[bytes, type[BaseException]]] = {
    "no HTTP": (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", HttpProcessingError),
    "another protocol": (
        b"HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\nx",
        aiohttp.ClientConnectionError,
    ),
    "two framings": (
        HEAD + b"content-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
        HttpProcessingError,
    ),
    "a zero in a header": (HEAD + b"a: b\0c\r\n\r\n", HttpProcessingError),
    "too long a header": (HEAD + b"a: " + b"b" * 70_000 + b"\r\n\r\n", HttpProcessingError),
    "a header without an end": (HEAD + b"a: " + b"b" * 2_000_000, HttpProcessingError),
    "too many headers": (HEAD + b"a: b\r\n" * 513 + b"\r\n", HttpProcessingError),
    "interim ones without end": (b"HTTP/1.1 103 Early\r\n\r\n" * 60_000, HttpProcessingError),
    "no chunk": (CHUNKED[:-5] + b"zz\r\n", aiohttp.ClientPayloadError),
}


@pytest.mark.parametrize("step", [1_000, 1 << 22])
@pytest.mark.parametrize(("data", "raised"), REFUSED.values(), ids=REFUSED)
async def test_what_is_refused(data: bytes, raised: type[BaseException], step: int) -> None:
    protocol, incoming = await told(data, step)
    with pytest.raises(raised):
        await _all(incoming)
    assert protocol.should_close
    with pytest.raises(raised):
        await incoming.read()


async def test_a_slow_reader_holds_the_provider_back() -> None:
    protocol, line = connected()
    incoming = protocol.expect("POST", 600)
    protocol.data_received(b"HTTP/1.1 200 OK\r\ncontent-length: 300000\r\n\r\n" + b"x" * 100_000)
    assert line.told == []
    protocol.data_received(b"x" * 100_000)
    assert line.told == ["hold"]
    assert len(await incoming.read()) == 200_000
    assert line.told == ["hold", "go on"]
    protocol.data_received(b"x" * 100_000)
    assert len(await incoming.read()) == 100_000
    assert incoming.read_up


async def test_its_end_is_told_as_it_comes() -> None:
    protocol, _ = connected()
    incoming = protocol.expect("POST", 600)
    ends: list[bool] = []
    incoming.on_end = lambda: ends.append(incoming.ended)
    protocol.data_received(LENGTH[:-1])
    assert ends == []
    protocol.data_received(LENGTH[-1:])
    protocol.connection_lost(None)
    assert ends == [True]


async def test_what_nobody_asked_for_makes_a_connection_unfit() -> None:
    protocol, _ = await told(LENGTH, 4_096)
    protocol.data_received(b"HTTP/1.1 408 Too Late\r\n\r\n")
    assert protocol.should_close


async def test_an_answer_that_was_read_is_no_work_for_the_garbage_collector() -> None:
    protocol, incoming = await told(LENGTH, 4_096)
    await incoming.read()
    gone = weakref.ref(incoming)
    gc.disable()
    try:
        del incoming
        assert gone() is None
    finally:
        gc.enable()
    assert not protocol.should_close
