"""uvicorn's HTTP/1.1 connections, less what a relayed request need not pay for.

When to read, to wait, to go on and to close is decided as uvicorn does. What is done here in its
place is what it does for each request, header and block: one look at a whole head instead of two
at every header, bodies that are not copied, one timer a connection. And a request can say what to
do when its client leaves, so that no task has to wait for that.
"""

from __future__ import annotations

import asyncio
import urllib.parse
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, cast

import httptools
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from memrouter.edge.asgi import WATCH, Leave

if TYPE_CHECKING:
    from uvicorn._types import ASGI3Application, ASGIReceiveEvent, ASGISendEvent

_BODILESS = (204, 304)
_CONTROLS = bytes(c for c in range(32) if c != ord("\t")) + b"\x7f"
_FRAMING = frozenset({b"content-length", b"transfer-encoding", b"connection"})


class Cycle(RequestResponseCycle):
    """A request and its answer, as ASGI sees them."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self.blocks: list[bytes] = []
        self.held = 0
        """Bytes of the blocks."""
        self._unsent = b""
        """A head that waits for the rest of this turn of the event loop: most bodies follow at
        once, and two writes cost twice what one does."""

    async def run_asgi(self, app: ASGI3Application) -> None:
        """Serve it; a head goes out whatever becomes of its body."""

        async def served(*given: Any) -> None:
            try:
                await app(*given)
            finally:
                self._send_head()

        await super().run_asgi(served)

    async def receive(self) -> ASGIReceiveEvent:
        """The body as far as it has come, or the news that the client left."""
        if self.waiting_for_100_continue and not self.transport.is_closing():
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self.waiting_for_100_continue = False
        if not self.disconnected and not self.response_complete:
            self.flow.resume_reading()
            await self.message_event.wait()
            self.message_event.clear()
        if self.disconnected or self.response_complete:
            return {"type": "http.disconnect"}
        blocks = self.blocks
        body = blocks[0] if len(blocks) == 1 else b"".join(blocks)
        self.blocks = []
        self.held = 0
        return {"type": "http.request", "body": body, "more_body": self.more_body}

    async def send(self, message: ASGISendEvent) -> None:
        """Write the answer's head, or a part of its body; waits while its client is slow."""
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return
        if not self.response_started:
            if message["type"] != "http.response.start":
                raise RuntimeError(f"an answer starts with its head, not {message['type']}")
            self.response_started = True
            self.waiting_for_100_continue = False
            self._unsent = self._head(message["status"], message.get("headers", ()))
            asyncio.get_running_loop().call_soon(self._send_head)
        elif self.response_complete or message["type"] != "http.response.body":
            raise RuntimeError(f"{message['type']} in the middle, or after the end, of an answer")
        else:
            more = message.get("more_body", False)
            self._write(message.get("body", b""), more)
            if not more:
                self._end()

    def _head(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
        """Names are in lower case, as ASGI has it."""
        lines = [STATUS_LINE[status][:-2]]
        closing = False
        for name, value in (*self.default_headers, *headers):
            if name in _FRAMING:
                closing = self._frame(name, value) or closing
            lines.append(b"%b: %b" % (name, value))
        if not self.keep_alive and not closing:
            lines.append(b"connection: close")
        if (
            self.chunked_encoding is None
            and self.scope["method"] != "HEAD"
            and status not in _BODILESS
        ):
            self.chunked_encoding = True
            lines.append(b"transfer-encoding: chunked")
        ends = len(lines) + 1
        lines += (b"", b"")
        head = b"\r\n".join(lines)
        # No other control characters than the ends of our lines: no header may hold another.
        if len(head) - len(head.translate(None, _CONTROLS)) != 2 * ends:
            raise RuntimeError("a header holds a control character")
        return head

    def _frame(self, name: bytes, value: bytes) -> bool:
        """Take in a header that says how the body is framed; whether it closes the connection."""
        if name == b"content-length" and self.chunked_encoding is None:
            self.expected_content_length = int(value)
            self.chunked_encoding = False
        elif name == b"transfer-encoding" and value.lower() == b"chunked":
            self.expected_content_length = 0
            self.chunked_encoding = True
        elif name == b"connection" and b"close" in map(bytes.strip, value.lower().split(b",")):
            self.keep_alive = False
            return True
        return False

    def _write(self, body: bytes, more: bool) -> None:
        if self.scope["method"] == "HEAD":
            self.expected_content_length = 0
        elif self.chunked_encoding:
            if not body:
                block = b"" if more else b"0\r\n\r\n"
            elif more:
                block = b"%x\r\n%b\r\n" % (len(body), body)
            else:
                block = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
            self._send(block)
        else:
            if len(body) > self.expected_content_length:
                raise RuntimeError("the answer is longer than its content-length")
            self.expected_content_length -= len(body)
            self._send(body)

    def _send(self, block: bytes) -> None:
        if self._unsent:
            self.transport.writelines((self._unsent, block))
            self._unsent = b""
        else:
            self.transport.write(block)

    def _send_head(self) -> None:
        if self._unsent and not self.transport.is_closing():
            self.transport.write(self._unsent)
        self._unsent = b""

    def _end(self) -> None:
        if self.expected_content_length != 0:
            raise RuntimeError("the answer is shorter than its content-length")
        self.response_complete = True
        self.message_event.set()
        self._send_head()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()


class Connection(HttpToolsProtocol):
    """A client's connection; uvicorn takes it as its `http`."""

    cycle: Cycle
    """The request that was read last."""
    _serving: Cycle | None = None
    """The one that is being served: clients may send the next ahead."""
    _leave: Leave | None = None
    _idle_since_s: float | None = None

    def watch(self, leave: Leave | None) -> None:
        """Have `leave` called once if the client goes before its answer has ended."""
        self._leave = leave
        if leave is not None and self._serving is not None and self._serving.disconnected:
            self._leave = None
            self.loop.call_soon(leave)

    # --- asyncio.Protocol ---

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self.timeout_keep_alive_task is not None:
            self.timeout_keep_alive_task.cancel()
            self.timeout_keep_alive_task = None
        leave, self._leave = self._leave, None
        serving = self._serving
        if serving is not None and not serving.response_complete:
            serving.disconnected = True
            serving.message_event.set()
            if leave is not None:
                leave()

    # --- what the parser calls ---

    def on_headers_complete(self) -> None:
        parser, scope = self.parser, self.scope
        version = parser.get_http_version()
        scope["method"] = parser.get_method().decode("ascii")
        if version != "1.1":
            scope["http_version"] = version
        url = httptools.parse_url(self.url)
        path = url.path.decode("ascii")
        scope["path"] = urllib.parse.unquote(path) if "%" in path else path
        scope["raw_path"] = url.path
        scope["query_string"] = url.query or b""
        scope["extensions"] = cast("dict[str, dict[object, object]]", {WATCH: self.watch})
        before: Cycle | None = self.cycle
        self.cycle = Cycle(
            scope=scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue,
            keep_alive=version != "1.0" and parser.should_keep_alive(),
            on_response=self.on_response_complete,
        )
        if before is None or before.response_complete:
            self._start_asgi_task(self.cycle, self.app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, self.app))

    def on_body(self, body: bytes) -> None:
        cycle = self.cycle
        if cycle.response_complete:
            return
        cycle.blocks.append(body)
        cycle.held += len(body)
        if cycle.held > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        cycle.message_event.set()

    def on_message_complete(self) -> None:
        if not self.cycle.response_complete:
            self.cycle.more_body = False
            self.cycle.message_event.set()

    # --- requests, one after the other ---

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        assert isinstance(cycle, Cycle)
        self._serving = cycle
        self._leave = None
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
            return
        self._idle_since_s = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def _unset_keepalive_if_required(self) -> None:
        """The timer goes on: it looks whether the connection has been idle when it is due."""
        self._idle_since_s = None

    def timeout_keep_alive_handler(self) -> None:
        self.timeout_keep_alive_task = None
        if self._idle_since_s is None:
            return  # the end of what is being served starts it anew
        left_s = self._idle_since_s + self.timeout_keep_alive - self.loop.time()
        if left_s <= 0:
            super().timeout_keep_alive_handler()
        else:
            self.timeout_keep_alive_task = self.loop.call_later(
                left_s, self.timeout_keep_alive_handler
            )
