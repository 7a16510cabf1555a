"""Calls an ASGI application in this process, as a server would: for tests without sockets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

Message = MutableMapping[str, Any]
App = Callable[
    [Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]],
    Awaitable[None],
]


@dataclass(slots=True, kw_only=True)
class Answer:
    """A whole answer."""

    status: int
    headers: dict[str, str]
    body: bytes
    broken: bool = False
    """Whether the application ended without ending its answer: a server cuts the connection."""

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(slots=True)
class Call:
    """A request under way."""

    scope: Message
    body: bytes
    block_bytes: int
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    error: BaseException | None = None
    """What the application raised."""
    _sent: int = 0
    _blocks: asyncio.Queue[bytes | None] = field(default_factory=asyncio.Queue)
    _started: asyncio.Event = field(default_factory=asyncio.Event)
    _over: asyncio.Event = field(default_factory=asyncio.Event)
    _ended: bool = False

    async def run(self, app: App) -> None:
        """Let the application answer."""
        try:
            await app(self.scope, self._receive, self._send)
        finally:
            self._over.set()
            self._started.set()
            self._blocks.put_nowait(None)

    async def head(self) -> int:
        """Wait for the answer's status."""
        await self._started.wait()
        return self.status

    async def blocks(self) -> AsyncIterator[bytes]:
        """The body as it comes."""
        while (block := await self._blocks.get()) is not None:
            if block:
                yield block

    def leave(self) -> None:
        """Close the connection, as a client does that does not wait for the end."""
        self._over.set()

    @property
    def broken(self) -> bool:
        return not self._ended

    async def _receive(self) -> Message:
        if self._over.is_set():
            return {"type": "http.disconnect"}
        if self._sent == 0 or self._sent < len(self.body):
            block = self.body[self._sent : self._sent + self.block_bytes]
            self._sent += max(1, len(block))
            more = self._sent < len(self.body)
            return {"type": "http.request", "body": block, "more_body": more}
        await self._over.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            for name, value in message["headers"]:
                self.headers[name.decode("latin-1")] = value.decode("utf-8", "replace")
            self._started.set()
            return
        if not self._over.is_set():
            self._blocks.put_nowait(message.get("body", b""))
        if not message.get("more_body", False):
            self._ended = True
            self._over.set()


class Client:
    """Calls an application, each request with some headers of its own."""

    def __init__(self, app: App, headers: Mapping[str, str] | None = None) -> None:
        self.app = app
        self.headers = dict(headers or {})

    @asynccontextmanager
    async def call(
        self,
        method: str,
        path: str,
        body: bytes | object = b"",
        headers: Mapping[str, str] | None = None,
        *,
        block_bytes: int = 1 << 16,
    ) -> AsyncIterator[Call]:
        """Send a request; the answer can be read as it comes."""
        if not isinstance(body, bytes):
            body = json.dumps(body).encode()
        path, _, query = path.partition("?")
        named = {**self.headers, **(headers or {})}
        if "transfer-encoding" not in named:
            named.setdefault("content-length", str(len(body)))
        scope: Message = {
            "type": "http",
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [(n.lower().encode(), v.encode("utf-8")) for n, v in named.items()],
            "client": ("127.0.0.1", 12345),
            "server": ("127.0.0.1", 8484),
        }
        call = Call(scope, body, block_bytes)
        running = asyncio.create_task(call.run(self.app))
        try:
            yield call
        finally:
            call.leave()
            await asyncio.wait({running})
            call.error = running.exception()

    async def send(
        self,
        method: str,
        path: str,
        body: bytes | object = b"",
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send a request and read the whole answer; raises what the application raised."""
        async with self.call(method, path, body, headers) as call:
            data = b"".join([block async for block in call.blocks()])
        if call.error is not None:
            raise call.error
        return Answer(status=call.status, headers=call.headers, body=data, broken=call.broken)

    async def get(self, path: str, **headers: str) -> Answer:
        return await self.send("GET", path, headers=_dashed(headers))

    async def post(self, path: str, body: bytes | object, **headers: str) -> Answer:
        return await self.send("POST", path, body, _dashed(headers))


def _dashed(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


@asynccontextmanager
async def running(app: App) -> AsyncIterator[None]:
    """Start an application and stop it in the end, as a server does (ASGI's lifespan)."""
    asked: asyncio.Queue[Message] = asyncio.Queue()
    told: asyncio.Queue[Message] = asyncio.Queue()
    life = asyncio.create_task(_live(app, asked, told))
    await _phase("startup", asked, told)
    try:
        yield
    finally:
        await _phase("shutdown", asked, told)
        await life


async def _live(app: App, asked: asyncio.Queue[Message], told: asyncio.Queue[Message]) -> None:
    scope: Message = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
    await app(scope, asked.get, told.put)


async def _phase(name: str, asked: asyncio.Queue[Message], told: asyncio.Queue[Message]) -> None:
    await asked.put({"type": f"lifespan.{name}"})
    answer = await told.get()
    if answer["type"] != f"lifespan.{name}.complete":
        raise RuntimeError(answer.get("message", answer["type"]))
