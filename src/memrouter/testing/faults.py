"""A provider that goes wrong, byte by byte: raw sockets, so that it can break HTTP itself.

A request names what it wants in the header `x-fault`; without one it is answered well. `FAULTS`
says of each fault what goes over the wire and what a client of the router must then see.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
import zlib
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Literal

HEADER = "x-fault"
TEXT = "A whale that nobody may remember."
"""What every reply says: it must not be found in memory where the reply was broken."""

Step = bytes | Literal["tick", "cut", "reset", "hang"]
"""Bytes to send; a pause; the end of the connection, in peace or not; silence until the end."""
Steps = tuple[Step, ...]
Seen = Literal["whole", "broken", "no answer", "too late", "refused", "endless"]
"""What a client gets: all of `body`; a beginning of it, cut off; a 502; a 504; a 502 or a
beginning, as packets happen to arrive; more and more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A chat completion, as the provider would give it."""

    body: bytes
    streamed: bool

    @property
    def kind(self) -> bytes:
        """Its content type."""
        return b"text/event-stream" if self.streamed else b"application/json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wire:
    """What goes over the wire, and what comes out behind the router."""

    steps: Iterable[Step]
    body: bytes = b""
    seen: Seen = "whole"
    status: int = 200
    stored: bool | None = None
    """Whether the reply is remembered; None where either is right."""


Fault = Callable[[Reply], Wire]


def reply(*, streamed: bool, text: str = TEXT) -> Reply:
    """A good answer."""
    common = {"id": "chatcmpl-1", "created": 1, "model": "gpt-5.5"}
    if not streamed:
        message = {"role": "assistant", "content": text}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        made = {**common, "object": "chat.completion", "choices": [choice]}
        return Reply(body=json.dumps(made).encode(), streamed=False)
    deltas = [{"role": "assistant"}, *({"content": word + " "} for word in text.split()), {}]
    events = [
        {
            **common,
            "object": "chat.completion.chunk",
            "choices": [{"index": 0, "delta": d, "finish_reason": None if d else "stop"}],
        }
        for d in deltas
    ]
    lines = [b"data: " + json.dumps(event).encode() for event in events]
    return Reply(body=b"\n\n".join([*lines, b"data: [DONE]"]) + b"\n\n", streamed=True)


# --- pieces of HTTP ---


def head(r: Reply, *lines: bytes, start: bytes = b"HTTP/1.1 200 OK") -> bytes:
    """The head of an answer."""
    return b"\r\n".join([start, b"content-type: " + r.kind, *lines]) + b"\r\n\r\n"


def _length(size: int) -> bytes:
    return b"content-length: %d" % size


_CHUNKED = b"transfer-encoding: chunked"


def _chunk(data: bytes, extension: bytes = b"") -> bytes:
    return b"%x%b\r\n%b\r\n" % (len(data), extension, data)


def _half(data: bytes) -> bytes:
    return data[: len(data) // 2]


def good(r: Reply) -> Wire:
    """Nothing wrong at all."""
    return Wire(steps=(head(r, _length(len(r.body))), r.body), body=r.body, stored=True)


# --- odd, but right: the client gets it as it is ---


def _slow_head(r: Reply) -> Wire:
    whole = head(r, _length(len(r.body)))
    third = len(whole) // 3
    steps: Steps = (whole[:third], "tick", whole[third:], "tick", r.body)
    return Wire(steps=steps, body=r.body, stored=True)


def _byte_by_byte(r: Reply) -> Wire:
    def steps() -> Iterator[Step]:
        yield head(r, _length(len(r.body)))
        for at in range(len(r.body)):
            if at < 5:
                yield "tick"
            yield r.body[at : at + 1]

    return Wire(steps=steps(), body=r.body, stored=True)


def _until_closed(r: Reply) -> Wire:
    steps: Steps = (head(r, start=b"HTTP/1.0 200 OK"), r.body, "cut")
    return Wire(steps=steps, body=r.body, stored=True)


def _http10(r: Reply) -> Wire:
    steps: Steps = (head(r, _length(len(r.body)), start=b"HTTP/1.0 200 OK"), r.body, "cut")
    return Wire(steps=steps, body=r.body, stored=True)


def _interim(r: Reply) -> Wire:
    early = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n"
    steps: Steps = (early, "tick", head(r, _length(len(r.body))), r.body)
    return Wire(steps=steps, body=r.body, stored=True)


def _trailers(r: Reply) -> Wire:
    end = b"0\r\nx-checksum: abc\r\nx-more: 1\r\n\r\n"
    steps: Steps = (head(r, _CHUNKED, b"trailer: x-checksum"), _chunk(r.body), end)
    return Wire(steps=steps, body=r.body, stored=True)


def _tiny_chunks(r: Reply) -> Wire:
    chunks = [_chunk(r.body[at : at + 1], b";a=1") for at in range(len(r.body))]
    steps: Steps = (head(r, _CHUNKED), *chunks, b"0\r\n\r\n")
    return Wire(steps=steps, body=r.body, stored=True)


def _coded(coding: bytes, body: bytes, *, stored: bool) -> Fault:
    def fault(r: Reply) -> Wire:
        data = body or _packed(coding, r.body)
        lines = (_length(len(data)), b"content-encoding: " + coding)
        return Wire(steps=(head(r, *lines), data), body=data, stored=stored)

    return fault


def _packed(coding: bytes, body: bytes) -> bytes:
    packer = zlib.compressobj(wbits=31 if coding == b"gzip" else 15)
    return packer.compress(body) + packer.flush()


def _half_a_gzip(r: Reply) -> Wire:
    data = _half(_packed(b"gzip", r.body))
    lines = (_length(len(data)), b"content-encoding: gzip")
    return Wire(steps=(head(r, *lines), data), body=data, stored=False)


def _bare(start: bytes, *lines: bytes, body: bytes = b"") -> Fault:
    def fault(r: Reply) -> Wire:
        whole = head(r, *lines, start=b"HTTP/1.1 " + start)
        return Wire(steps=(whole, body), body=body, status=int(start[:3]), stored=False)

    return fault


def _large_header(r: Reply) -> Wire:
    steps: Steps = (head(r, b"x-large: " + b"x" * 60_000, _length(len(r.body))), r.body)
    return Wire(steps=steps, body=r.body, stored=True)


def _no_last_line(r: Reply) -> Wire:
    body = r.body.rstrip(b"\n")
    return Wire(steps=(head(r, _length(len(body))), body), body=body)


def _too_long(r: Reply) -> Wire:
    """More than was announced: the rest must reach nobody, now or with the next answer."""
    steps: Steps = (head(r, _length(len(r.body))), r.body + b"surplus")
    return Wire(steps=steps, body=r.body, seen="refused")


def _unasked(r: Reply) -> Wire:
    """A second answer to one request: the next request must not get it."""
    foreign = b"somebody else's"
    second = head(r, _length(len(foreign))) + foreign
    steps: Steps = (head(r, _length(len(r.body))), r.body, "tick", second, "hang")
    return Wire(steps=steps, body=r.body, stored=True)


# --- broken: the client gets what came, and sees that it broke off ---


def _short(end: Step) -> Fault:
    def fault(r: Reply) -> Wire:
        steps: Steps = (head(r, _length(len(r.body))), _half(r.body), "tick", end)
        return Wire(steps=steps, body=_half(r.body), seen="broken", stored=False)

    return fault


def _bad_chunks(ends: bytes, end: Step = "cut") -> Fault:
    def fault(r: Reply) -> Wire:
        steps: Steps = (head(r, _CHUNKED), _chunk(_half(r.body)), "tick", ends, end)
        return Wire(steps=steps, body=r.body, seen="broken", stored=False)

    return fault


def _cut_within_a_chunk(r: Reply) -> Wire:
    steps: Steps = (head(r, _CHUNKED), _chunk(r.body)[: len(r.body) // 2], "tick", "cut")
    return Wire(steps=steps, body=r.body, seen="broken", stored=False)


def _short_chunk(r: Reply) -> Wire:
    """The chunk is longer than its size says."""
    steps: Steps = (head(r, _CHUNKED), b"5\r\n", r.body, b"\r\n0\r\n\r\n", "cut")
    return Wire(steps=steps, body=r.body, seen="refused", stored=False)


def _endless(r: Reply) -> Wire:
    def steps() -> Iterator[Step]:
        yield head(r, _CHUNKED)
        for n in count():
            yield _chunk(b"data: {}\n\n" * 100)
            if n % 10 == 0:
                yield "tick"

    return Wire(steps=steps(), seen="endless", stored=False)


# --- no answer at all: an error of the router ---


def _raw(*steps: Step) -> Fault:
    return lambda _: Wire(steps=(*steps, "cut"), seen="no answer", status=502, stored=False)


def _silent(*steps: Step) -> Fault:
    return lambda _: Wire(steps=(*steps, "hang"), seen="too late", status=504, stored=False)


def _dribbled_head(r: Reply) -> Wire:
    """Always one more byte of a header, in time for any timeout between two of them."""

    def steps() -> Iterator[Step]:
        yield b"HTTP/1.1 200 OK\r\nx-long: "
        while True:
            yield "tick"
            yield b"x"

    return Wire(steps=steps(), seen="too late", status=504, stored=False)


def _headed(*lines: bytes, start: bytes = b"HTTP/1.1 200 OK") -> Fault:
    def fault(r: Reply) -> Wire:
        steps: Steps = (head(r, *lines, start=start), r.body, "cut")
        return Wire(steps=steps, seen="no answer", status=502, stored=False)

    return fault


_BROTLI = b"\x0b\x02\x80hello\x03"

FAULTS: dict[str, Fault] = {
    "slow headers": _slow_head,
    "byte by byte": _byte_by_byte,
    "http/1.0 until closed": _until_closed,
    "http/1.0 with a length": _http10,
    "interim answers": _interim,
    "trailers": _trailers,
    "tiny chunks": _tiny_chunks,
    "gzip": _coded(b"gzip", b"", stored=True),
    "deflate": _coded(b"deflate", b"", stored=True),
    "brotli": _coded(b"br", _BROTLI, stored=False),
    "half a gzip": _half_a_gzip,
    "a gzip that is none": _coded(b"gzip", b"plain text after all", stored=False),
    "redirect": _bare(b"307 There", b"location: /there", _length(2), body=b"go"),
    "204": _bare(b"204 No Content"),
    "304": _bare(b"304 Not Modified", b"etag: x"),
    "a header of 60 KB": _large_header,
    "no last line end": _no_last_line,
    "longer than its length": _too_long,
    "an answer nobody asked for": _unasked,
    "cut in the body": _short("cut"),
    "reset in the body": _short("reset"),
    "silence in the body": _short("hang"),
    "cut within a chunk": _cut_within_a_chunk,
    "no last chunk": _bad_chunks(b""),
    "reset between chunks": _bad_chunks(b"", "reset"),
    "a chunk size that is none": _bad_chunks(b"zz\r\nabc\r\n"),
    "a chunk size below zero": _bad_chunks(b"-5\r\nabc\r\n"),
    "a chunk longer than its size": _short_chunk,
    "endless": _endless,
    "closed at once": _raw(),
    "reset at once": _raw("reset"),
    "cut in the headers": _raw(b"HTTP/1.1 200 OK\r\ncontent-type: appl"),
    "not http": _raw(b"SSH-2.0-OpenSSH_9.6\r\n\r\n"),
    "binary": _raw(bytes(range(256)) * 8),
    "a status that is none": _raw(b"HTTP/1.1 abc OK\r\n\r\n"),
    "switched protocols": _raw(b"HTTP/1.1 101 Switching\r\nupgrade: x\r\n\r\n"),
    "headers of 2 MB": _headed(*(b"x-%d: " % n + b"x" * 2_000 for n in range(1_000))),
    "a header of 100 KB": _headed(b"x-large: " + b"x" * 100_000),
    "two lengths": _headed(b"content-length: 5", b"content-length: 6"),
    "a length below zero": _headed(b"content-length: -5"),
    "a length and chunks": _headed(b"content-length: 5", _CHUNKED),
    "silence": _silent(),
    "silence in the headers": _silent(b"HTTP/1.1 200 OK\r\ncontent-"),
    "headers that never end": _dribbled_head,
}


# --- the server ---


@dataclass(slots=True)
class FaultyProvider:
    """Serves faults on a socket of 127.0.0.1, in the running event loop."""

    tick_s: float = 1.0
    port: int = 0
    usual: str = ""
    """The fault of requests that ask for none."""
    requests: list[str] = field(default_factory=list)
    """The fault that each request asked for, "" for none; the last thousand."""
    connections: int = 0
    """Open now."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection until it ends."""
        self.connections += 1
        try:
            while await self._answer(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.LimitOverrunError):
            pass
        finally:
            self.connections -= 1
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        lines = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")
        named = {n.strip().lower(): v.strip() for n, _, v in (x.partition(b":") for x in lines)}
        body = await reader.readexactly(int(named.get(b"content-length", b"0")))
        name = named.get(HEADER.encode(), self.usual.encode()).decode()
        self.requests = [*self.requests[-999:], name]
        answered = reply(streamed=b'"stream": true' in body or b'"stream":true' in body)
        for step in FAULTS.get(name, good)(answered).steps:
            if writer.is_closing():
                return False
            match step:
                case bytes():
                    writer.write(step)
                    await writer.drain()
                case "tick":
                    await asyncio.sleep(self.tick_s)
                case "hang":
                    await reader.read()
                    return False
                case "reset":
                    _reset(writer)
                    return False
                case "cut":
                    return False
        return True


def _reset(writer: asyncio.StreamWriter) -> None:
    """End a connection by RST."""
    found: socket.socket = writer.get_extra_info("socket")
    found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@asynccontextmanager
async def faulty(tick_s: float = 1.0) -> AsyncIterator[FaultyProvider]:
    """A faulty provider, as long as the block lasts."""
    provider = FaultyProvider(tick_s)
    served: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        served.add(task)
        try:
            with contextlib.suppress(asyncio.CancelledError):  # the loop would log it
                await provider.serve(reader, writer)
        finally:
            served.discard(task)

    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=1 << 20)
    provider.port = server.sockets[0].getsockname()[1]
    try:
        yield provider
    finally:
        server.close()
        for task in tuple(served):
            task.cancel()
        await asyncio.gather(*served, return_exceptions=True)
