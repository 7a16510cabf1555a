"""What comes from a provider on one connection, parsed as it comes.

aiohttp's connector makes, encrypts and pools connections, and asks proxies for tunnels. Its own
parser and streams make many calls for each answer and event: answers are read here, by the parser
that reads requests.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.http import HttpProcessingError
from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from memrouter.upstream.message import RawHeader

_MAX_FIELD_BYTES = 65_536
_MAX_FIELDS = 512
_MAX_HEAD_BYTES = 256 << 10
_HELD_BYTES = 128 << 10
"""Bytes that wait for their reader before the provider is held back."""


class Protocol(ResponseHandler):
    """A connection to a provider."""

    used: bool = False
    """Whether a request was answered on it before: its peer may be closing it just now."""
    head_due_s: float | None = None
    """When an answer's head must be complete, however often a byte of it comes."""
    _incoming: Incoming | None = None
    """The answer that is due or under way."""
    _heard_s: float | None = None
    """When its peer was last heard of, or its turn to speak came; None where it may be silent."""

    def expect(self, method: str, read_timeout_s: float) -> Incoming:
        """The answer to a request that is about to be written.

        read_timeout_s  longest silence, once it is the provider's turn: see `start_timeout`
        """
        self._read_timeout = read_timeout_s
        self._incoming = incoming = Incoming(self, self._loop, bodiless=method == "HEAD")
        return incoming

    def forget(self) -> None:
        """The answer has ended; whatever else comes is nobody's."""
        self._incoming = None
        self._heard_s = None

    def hold(self) -> None:
        """Let the provider wait; its silence is our doing then."""
        self._heard_s = None
        self._pause_transport_reading()

    def go_on(self) -> None:
        """Let it go on."""
        self._reschedule_timeout()
        self._resume_transport_reading()

    def data_received(self, data: bytes) -> None:
        """Hand it to who waits for it; what nobody asked for makes the connection unfit for use."""
        if self._incoming is None:
            super().data_received(data)
            return
        self._reschedule_timeout()
        self._incoming.feed(data)

    def connection_lost(self, exc: BaseException | None) -> None:
        """See asyncio.Protocol."""
        super().connection_lost(exc)
        if self._read_timeout_handle is not None:
            self._read_timeout_handle.cancel()
            self._read_timeout_handle = None
        incoming, self._incoming = self._incoming, None
        if incoming is not None:
            incoming.cut(exc)

    # One timer waits for silence, and goes on where there was none when it is due: aiohttp's own
    # way, a timer for each piece that comes, costs as much as passing the piece on.

    def _reschedule_timeout(self) -> None:
        self._heard_s = self._loop.time()
        if self._read_timeout_handle is None and self._read_timeout:
            self._wait(self._read_timeout)

    def _drop_timeout(self) -> None:
        self._heard_s = None

    def _wait(self, seconds: float) -> None:
        self._read_timeout_handle = self._loop.call_later(seconds, self._on_silence)

    def _on_silence(self) -> None:
        self._read_timeout_handle = None
        dues = [self.head_due_s] if self.head_due_s is not None else []
        if self._heard_s is not None and self._read_timeout:
            dues.append(self._heard_s + self._read_timeout)
        left_s = min(dues) - self._loop.time() if dues else 0.0
        if left_s > 0:
            self._wait(left_s)
        elif dues:
            self._on_read_timeout()

    def _on_read_timeout(self) -> None:
        if self._incoming is None:
            super()._on_read_timeout()
        else:
            self._incoming.fail(aiohttp.SocketTimeoutError("silence"))


class Incoming:
    """An answer: its head, then its body in blocks. One reader at a time."""

    def __init__(
        self, protocol: Protocol, loop: asyncio.AbstractEventLoop, *, bodiless: bool
    ) -> None:
        """bodiless  whether it ends with its head, whatever that says: to a HEAD"""
        self.status = 0
        self.fields: list[RawHeader] = []
        """Its headers as they came."""
        self.ended = False
        """Whether all of it has come; blocks may still wait to be read."""
        self.on_end: Callable[[], None] = _nothing
        """Called as it ends."""
        self._protocol = protocol
        self._loop = loop
        self._bodiless = bodiless
        self._headed = False
        self._head_bytes = 0
        self._blocks: list[bytes] = []
        self._held_bytes = 0
        self._holding = False
        self._failure: BaseException | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._parser: HttpResponseParser | None = HttpResponseParser(self)
        # As lenient as aiohttp, and no more.
        self._parser.set_dangerous_leniencies(
            lenient_headers=True,
            lenient_optional_cr_before_lf=True,
            lenient_spaces_after_chunk_size=True,
        )

    # --- for who reads it ---

    @property
    def read_up(self) -> bool:
        """Whether it has ended, and no block waits."""
        return self.ended and not self._blocks

    async def head(self) -> None:
        """Wait for its head, past interim ones (100, 103). Raises what aiohttp and OSError say."""
        while not self._headed:
            await self._more()

    async def read(self) -> bytes:
        """All that has come and was not read, waiting for a part of it; b"" at its end."""
        while not self._blocks and not self.ended:
            await self._more()
        if self._failure is not None:
            raise self._failure
        blocks = self._blocks
        self._blocks = []
        self._held_bytes = 0
        if self._holding:
            self._holding = False
            if not self.ended:
                self._protocol.go_on()
        return blocks[0] if len(blocks) == 1 else b"".join(blocks)

    async def _more(self) -> None:
        if self._failure is not None:
            raise self._failure
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    # --- for its connection ---

    def feed(self, data: bytes) -> None:
        """Take in what came."""
        if self._parser is None:
            return  # it has failed
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade:
            self.fail(aiohttp.ClientConnectionError("switched protocols unasked"))
        except HttpParserError as e:
            self._refuse(e)
        if not self._headed:
            self._head_bytes += len(data)
            if self._head_bytes > _MAX_HEAD_BYTES:
                self._refuse(HttpParserError("too long a head"))
        if self.ended or self._failure is not None:
            self._parser = None  # the two hold each other
        self._wake()

    def cut(self, reason: BaseException | None) -> None:
        """Its connection is gone: as it should be, or too early."""
        self._parser = None
        if self.ended:
            return
        if self._headed and self._lasts_until_cut():
            self._end()
        elif self._headed:
            self.fail(aiohttp.ClientPayloadError("not all of the answer came"))
        elif isinstance(reason, OSError):
            self.fail(aiohttp.ClientOSError(*reason.args))
        else:
            self.fail(aiohttp.ServerDisconnectedError())
        self._wake()

    def fail(self, reason: BaseException) -> None:
        """Have its reader raise this, unless all of it came."""
        self._protocol.force_close()
        if not self.ended and self._failure is None:
            self._failure = reason
        self._wake()

    def _refuse(self, reason: HttpParserError) -> None:
        """What came is no HTTP, or has gone on after its end."""
        self._protocol.close()
        if self._headed:
            self.fail(aiohttp.ClientPayloadError(str(reason)))
        else:
            self.fail(HttpProcessingError(message=str(reason)))

    def _lasts_until_cut(self) -> bool:
        named = {name.lower(): value for name, value in self.fields}
        coding = named.get(b"transfer-encoding", b"").lower()
        return b"content-length" not in named and b"chunked" not in coding

    def _end(self) -> None:
        self.ended = True
        self._protocol.forget()
        self.on_end()

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    # --- what the parser calls ---

    def on_message_begin(self) -> None:
        if self.ended:
            self._protocol.force_close()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._headed:
            return  # a trailer
        fields = self.fields
        fields.append((name, value.rstrip(b" \t")))
        if len(name) + len(value) > _MAX_FIELD_BYTES or len(fields) > _MAX_FIELDS:
            raise HttpParserError("too long a head")
        if b"\0" in value:
            raise HttpParserError("a header holds a zero")

    def on_headers_complete(self) -> None:
        parser = self._parser
        if parser is None or self.ended:
            return
        status = parser.get_status_code()
        if status < 200:
            self.fields = []
            return
        self.status = status
        self._headed = True
        if not parser.should_keep_alive():
            self._protocol.force_close()
        if self._bodiless:
            self._end()

    def on_body(self, block: bytes) -> None:
        if self.ended:
            self._protocol.force_close()
            return
        self._blocks.append(block)
        self._held_bytes += len(block)
        if self._held_bytes > _HELD_BYTES and not self._holding:
            self._holding = True
            self._protocol.hold()

    def on_message_complete(self) -> None:
        if self._headed and not self.ended:
            self._end()


def _nothing() -> None:
    """Nobody waits for the end yet."""
