"""Our connections beside uvicorn's: the same bytes come in, the same go out."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest
from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from memrouter.edge.asgi import WATCH, Watch
from memrouter.edge.connection import Connection

App = Callable[[Any, Any, Any], Awaitable[None]]
KEEP_ALIVE_S = 75


class Wire(asyncio.Transport):
    """What a client would see of a connection."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = b""
        self.writes: list[list[bytes]] = []
        self.closed = False
        self.reading = True

    def write(self, data: Any) -> None:
        self.writelines([data])

    def writelines(self, list_of_data: Any) -> None:
        parts = list(map(bytes, list_of_data))
        if self.closed and any(parts):
            raise RuntimeError("the handler is closed")
        self.sent += b"".join(parts)
        if any(parts):
            self.writes.append(parts)

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def is_reading(self) -> bool:
        return self.reading

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("127.0.0.1", 1) if name in ("sockname", "peername") else default


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def connected(kind: type[HttpToolsProtocol], app: App) -> tuple[Any, Wire]:
    config = Config(
        cast("Any", app), ws="none", lifespan="off", log_config=None, access_log=False,
        timeout_keep_alive=KEEP_ALIVE_S,
    )  # fmt: skip
    config.load()
    protocol = kind(config, ServerState(), {}, asyncio.get_running_loop())
    wire = Wire()
    protocol.connection_made(wire)
    return protocol, wire


def answering(
    *blocks: bytes, status: int = 200, headers: tuple[tuple[bytes, bytes], ...] = ()
) -> App:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message["body"]
            more = message["more_body"]
        told = b"%b %b %d" % (scope["method"].encode(), scope["raw_path"], len(body))
        start = [(b"x-told", told), *headers]
        await send({"type": "http.response.start", "status": status, "headers": start})
        for block in blocks:
            await send({"type": "http.response.body", "body": block, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    return app


async def in_one(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": b"all of it"})


async def nothing(scope: Any, receive: Any, send: Any) -> None:
    pass


async def half(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200})


async def broken(scope: Any, receive: Any, send: Any) -> None:
    raise ValueError


async def broken_off(scope: Any, receive: Any, send: Any) -> None:
    await half(scope, receive, send)
    raise ValueError


def sized(said: int, *blocks: bytes) -> App:
    return answering(*blocks, headers=((b"content-length", b"%d" % said),))


GET = b"GET /a%20b?c=d HTTP/1.1\r\nhost: x\r\n\r\n"
POST = b"POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
CASES: dict[str, tuple[App, bytes]] = {
    "nothing but a head": (answering(), GET),
    "a body": (answering(b"one", b"two"), POST),
    "of a known length": (sized(6, b"one", b"two"), POST),
    "too long": (sized(2, b"one"), POST),
    "too short": (sized(9, b"one"), POST),
    "an empty block": (answering(b"one", b"", b"two"), GET),
    "in one": (in_one, GET),
    "a large body": (
        answering(b"ok"), b"POST / HTTP/1.1\r\nContent-Length: 200000\r\n\r\n" + b"x" * 200_000
    ),
    "chunks": (
        answering(b"ok"),
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n",
    ),
    "waits to go on": (
        answering(b"ok"),
        b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nhi",
    ),
    "HEAD": (answering(b"not said"), b"HEAD / HTTP/1.1\r\n\r\n"),
    "HEAD, sized": (sized(8, b"not said"), b"HEAD / HTTP/1.1\r\n\r\n"),
    "no content": (answering(status=204), GET),
    "not modified": (answering(status=304), GET),
    "an odd status": (answering(status=599), GET),
    "old HTTP": (answering(b"ok"), b"GET / HTTP/1.0\r\n\r\n"),
    "the client's last": (answering(b"ok"), b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n"),
    "our last": (answering(b"ok", headers=((b"connection", b"x, Close"),)), GET),
    "kept open": (answering(b"ok", headers=((b"connection", b"keep-alive"),)), GET),
    "chunked by the app": (answering(b"ok", headers=((b"transfer-encoding", b"chunked"),)), GET),
    "both framings": (
        answering(
            b"ok", headers=((b"transfer-encoding", b"chunked"), (b"content-length", b"2"))
        ), GET
    ),
    "a tab": (answering(headers=((b"a", b"b\tc"),)), GET),
    "bytes beyond ASCII": (answering(headers=((b"a", "é".encode()),)), GET),
    "a line end in a header": (answering(headers=((b"a", b"b\r\nc: d"),)), GET),
    "a bare LF in a header": (answering(headers=((b"a", b"b\nc"),)), GET),
    "NUL in a header": (answering(headers=((b"a", b"\x00"),)), GET),
    "DEL in a header": (answering(headers=((b"a", b"\x7f"),)), GET),
    "a line end in a name": (answering(headers=((b"a\r\nb", b"c"),)), GET),
    "several requests": (answering(b"ok"), GET + POST + GET),
    "several, the first is the last": (
        answering(b"ok"), b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n" + GET
    ),
    "no HTTP": (answering(), b"what?\r\n\r\n"),
    "no HTTP after a request": (answering(), GET + b"what?\r\n\r\n"),
    "a URL that is none": (answering(), b"GET http:// HTTP/1.1\r\n\r\n"),
    "a star": (answering(), b"OPTIONS * HTTP/1.1\r\n\r\n"),
    "an absolute URL": (answering(), b"GET http://h/x?y HTTP/1.1\r\n\r\n"),
    "an upgrade": (answering(), b"GET / HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"),
    "no answer": (nothing, GET),
    "half an answer": (half, GET),
    "an app that breaks": (broken, GET),
    "an app that breaks off": (broken_off, GET),
}  # fmt: skip


async def exchanged(
    kind: type[HttpToolsProtocol], app: App, data: bytes, step: int
) -> tuple[bytes, bool, int]:
    protocol, wire = connected(kind, app)
    for start in range(0, len(data), step):
        if not wire.closed:
            protocol.data_received(data[start : start + step])
        if step > 1:
            await settle()
    await settle()
    found = wire.sent, wire.closed, protocol.server_state.total_requests
    protocol.connection_lost(None)
    await settle()
    assert not protocol.tasks
    return found


@pytest.mark.parametrize("step", [1, 7, 50_000, 1 << 20])
@pytest.mark.parametrize(("app", "data"), CASES.values(), ids=CASES)
async def test_as_uvicorn_does(app: App, data: bytes, step: int) -> None:
    if step < 50 and len(data) > 1_000:
        step *= 1_000
    theirs = await exchanged(HttpToolsProtocol, app, data, step)
    assert await exchanged(Connection, app, data, step) == theirs


async def test_a_head_with_a_control_character_is_not_sent() -> None:
    protocol, wire = connected(Connection, answering(headers=((b"a", b"b\r\nset-cookie: c"),)))
    protocol.data_received(GET)
    await settle()
    assert b"cookie" not in wire.sent
    assert wire.is_closing()


# --- back-pressure ---


async def test_a_large_body_is_read_as_it_is_asked_for() -> None:
    going = asyncio.Event()
    sizes: list[int] = []

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        more = True
        while more:
            await going.wait()
            message = await receive()
            sizes.append(len(message["body"]))
            more = message["more_body"]
        await in_one(scope, receive, send)

    protocol, wire = connected(Connection, slow)
    protocol.data_received(b"POST / HTTP/1.1\r\nContent-Length: 150000\r\n\r\n" + b"x" * 50_000)
    await settle()
    assert wire.is_reading()
    protocol.data_received(b"x" * 50_000)
    assert not wire.is_reading()
    going.set()
    await settle()
    assert wire.is_reading()
    protocol.data_received(b"x" * 50_000)
    await settle()
    assert sum(sizes) == 150_000
    assert wire.sent.endswith(b"all of it\r\n0\r\n\r\n")


async def test_an_answer_waits_for_a_slow_client() -> None:
    protocol, wire = connected(Connection, answering(b"one", b"two"))
    protocol.data_received(GET)
    protocol.pause_writing()
    await settle()
    assert wire.sent == b""
    protocol.resume_writing()
    await settle()
    assert wire.sent.endswith(b"3\r\ntwo\r\n0\r\n\r\n")


async def test_what_is_sent_ahead_waits() -> None:
    going = asyncio.Event()

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        await going.wait()
        await in_one(scope, receive, send)

    protocol, wire = connected(Connection, slow)
    protocol.data_received(GET + GET)
    await settle()
    assert not wire.is_reading()
    assert len(protocol.tasks) == 1
    going.set()
    await settle()
    assert wire.is_reading()
    assert wire.sent.count(b"all of it") == 2


# --- the end of a connection ---


class Watched:
    """An app that waits, and notes that its client left."""

    def __init__(self) -> None:
        self.left = 0
        self.going = asyncio.Event()
        self.watch: Watch | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        watch = self.watch = scope["extensions"][WATCH]
        watch(self._leave)
        await self.going.wait()
        await in_one(scope, receive, send)

    def _leave(self) -> None:
        self.left += 1


async def test_whoever_asked_is_told_that_the_client_left() -> None:
    app = Watched()
    protocol, _ = connected(Connection, app)
    protocol.data_received(GET)
    await settle()
    protocol.connection_lost(ConnectionResetError())
    assert app.left == 1
    app.going.set()
    await settle()
    assert app.left == 1


async def test_after_the_end_of_an_answer_nobody_left() -> None:
    app = Watched()
    protocol, _ = connected(Connection, app)
    app.going.set()
    protocol.data_received(GET)
    await settle()
    protocol.connection_lost(None)
    assert app.left == 0


async def test_whoever_asks_too_late_is_told_as_well() -> None:
    app = Watched()
    protocol, _ = connected(Connection, app)
    protocol.data_received(GET)
    protocol.connection_lost(None)
    await settle()
    assert app.left == 1


async def test_nobody_is_told_who_asked_no_more() -> None:
    app = Watched()
    protocol, _ = connected(Connection, app)
    protocol.data_received(GET)
    await settle()
    assert app.watch is not None
    app.watch(None)
    protocol.connection_lost(None)
    assert app.left == 0


async def test_the_first_of_several_is_told_although_others_were_sent_ahead() -> None:
    app = Watched()
    protocol, _ = connected(Connection, app)
    protocol.data_received(GET + GET)
    await settle()
    protocol.connection_lost(None)
    assert app.left == 1


async def test_reading_ends_when_the_client_leaves() -> None:
    told: list[str] = []

    async def reads(scope: Any, receive: Any, send: Any) -> None:
        while not told or told[-1] != "http.disconnect":
            told.append((await receive())["type"])

    protocol, _ = connected(Connection, reads)
    protocol.data_received(b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhel")
    await settle()
    protocol.connection_lost(None)
    await settle()
    assert told == ["http.request", "http.disconnect"]


class Clock:
    """An event loop whose time goes on when it is told to."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.timers: list[asyncio.TimerHandle] = []
        self.create_task = asyncio.get_running_loop().create_task

    def time(self) -> float:
        return self.now_s

    def call_later(self, seconds: float, work: Callable[[], None]) -> asyncio.TimerHandle:
        due_s = self.now_s + seconds
        self.timers.append(asyncio.TimerHandle(due_s, work, (), asyncio.get_running_loop()))
        return self.timers[-1]

    def wait(self, seconds: float) -> None:
        self.now_s += seconds
        due = [timer for timer in self.timers if timer.when() <= self.now_s + 1e-9]
        self.timers = [timer for timer in self.timers if timer not in due]
        for timer in due:
            if not timer.cancelled():
                timer._run()


async def test_an_idle_connection_is_closed_in_time() -> None:
    protocol, wire = connected(Connection, in_one)
    clock = protocol.loop = Clock()
    for _ in range(3):  # each request starts the time anew
        protocol.data_received(GET)
        await settle()
        clock.wait(KEEP_ALIVE_S * 0.6)
        assert not wire.is_closing()
    clock.wait(KEEP_ALIVE_S * 0.3)
    assert not wire.is_closing()
    clock.wait(KEEP_ALIVE_S * 0.1)
    assert wire.is_closing()
    assert wire.sent.count(b"all of it") == 3
    assert clock.timers == []


async def test_a_busy_connection_is_not_closed() -> None:
    app = Watched()
    protocol, wire = connected(Connection, in_one)
    clock = protocol.loop = Clock()
    protocol.data_received(GET)
    await settle()
    protocol.app = app
    protocol.data_received(GET)
    clock.wait(KEEP_ALIVE_S * 3)
    assert not wire.is_closing()
    app.going.set()
    await settle()
    clock.wait(KEEP_ALIVE_S * 0.9)
    assert not wire.is_closing()
    clock.wait(KEEP_ALIVE_S * 0.1)
    assert wire.is_closing()


async def test_a_stop_lets_what_is_being_served_end() -> None:
    app = Watched()
    protocol, wire = connected(Connection, app)
    protocol.data_received(GET)
    await settle()
    protocol.shutdown()
    assert not wire.is_closing()
    app.going.set()
    await settle()
    assert b"connection: close" in wire.sent
    assert wire.is_closing()


async def test_a_stop_closes_what_is_idle() -> None:
    protocol, wire = connected(Connection, in_one)
    protocol.data_received(GET)
    await settle()
    protocol.shutdown()
    assert wire.is_closing()


async def test_no_timer_outlives_its_connection() -> None:
    protocol, _ = connected(Connection, in_one)
    protocol.data_received(GET)
    await settle()
    timer = protocol.timeout_keep_alive_task
    protocol.connection_lost(ConnectionResetError())
    assert timer.cancelled()


# --- writes ---


async def test_a_head_and_what_follows_at_once_are_one_write() -> None:
    protocol, wire = connected(Connection, sized(6, b"one", b"two"))
    protocol.data_received(GET)
    await settle()
    assert [len(parts) for parts in wire.writes] == [2, 1]
    assert wire.writes[0][1] == b"one"


async def test_a_head_does_not_wait_for_a_body_that_takes_its_time() -> None:
    going = asyncio.Event()

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        await half(scope, receive, send)
        await going.wait()
        await send({"type": "http.response.body", "body": b"at last"})

    protocol, wire = connected(Connection, slow)
    protocol.data_received(GET)
    await settle()
    assert wire.sent.endswith(b"\r\n\r\n")
    going.set()
    await settle()
    assert wire.sent.endswith(b"at last\r\n0\r\n\r\n")


async def test_nothing_is_written_to_whoever_left() -> None:
    async def leaves(scope: Any, receive: Any, send: Any) -> None:
        await half(scope, receive, send)
        wire.close()
        protocol.connection_lost(None)

    protocol, wire = connected(Connection, leaves)
    protocol.data_received(GET)
    await settle()
    assert wire.sent == b""
