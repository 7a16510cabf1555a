"""One request to the scripted provider and the sending of its answer, over ASGI."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import zlib
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

from memrouter.testing.script import Answer, Prompt

Scope = MutableMapping[str, Any]
Receive = Callable[[], Any]
Send = Callable[[MutableMapping[str, Any]], Any]


@dataclass(slots=True, kw_only=True)
class Recorded:
    """A request as it arrived, and how its answer went."""

    serial: int
    method: str
    path: str
    query: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    received: float
    """Seconds since the epoch."""
    prompt: Prompt | None = None
    status: int = 0
    events: int = 0
    """How many events of a stream were sent."""
    finished: bool = False
    """Whether the whole answer was sent."""
    disconnected: bool = False
    """Whether the client went away before that."""

    def header(self, name: str) -> str | None:
        """The first header of this name."""
        return next((v for n, v in self.headers if n == name.lower()), None)

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def summary(self) -> dict[str, Any]:
        """For `GET /_requests`; the body in base64, and as text where it is text."""
        prompt = self.prompt
        return {
            "serial": self.serial,
            "method": self.method,
            "path": self.path,
            "query": self.query,
            "headers": self.headers,
            "body": base64.b64encode(self.body).decode(),
            "text": self.body.decode("utf-8", "replace"),
            "prompt": None if prompt is None else prompt.text,
            "question": None if prompt is None else prompt.question,
            "memory": None if prompt is None else prompt.memory,
            "received": self.received,
            "status": self.status,
            "events": self.events,
            "finished": self.finished,
            "disconnected": self.disconnected,
        }


class Sender:
    """Sends one answer, as long as the client listens."""

    def __init__(self, send: Send, record: Recorded, gone: asyncio.Event) -> None:
        self._send = send
        self._record = record
        self._gone = gone
        self._left: int | None = None
        self._gzip: Any = None

    async def until(self, event: asyncio.Event) -> None:
        """Wait for `event`, or for the client to leave."""
        waits = [asyncio.create_task(e.wait()) for e in (event, self._gone)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def pause(self, seconds: float) -> None:
        """Wait, unless the client leaves before."""
        if seconds > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._gone.wait()

    async def start(
        self, status: int, content_type: str, answer: Answer, length: int | None = None
    ) -> None:
        self._record.status = status
        self._left = answer.cut_after_bytes
        headers = {"content-type": content_type, "x-request-id": f"req_{self._record.serial}"}
        if answer.gzip:
            self._gzip = zlib.compressobj(wbits=31)
            headers["content-encoding"] = "gzip"
        elif length is not None:
            headers["content-length"] = str(length)
        headers |= {n.lower(): v for n, v in answer.headers.items()}
        raw = [(n.encode("latin-1"), v.encode("latin-1")) for n, v in headers.items()]
        await self._send({"type": "http.response.start", "status": status, "headers": raw})

    async def block(self, block: bytes) -> bool:
        """Send a part of the body; False if the answer ends here, for whatever reason."""
        if self._gzip is not None:
            block = self._gzip.compress(block) + self._gzip.flush(zlib.Z_SYNC_FLUSH)
        cut = self._left is not None and len(block) > self._left
        if self._left is not None:
            block = block[: self._left]
            self._left -= len(block)
        if self._gone.is_set():
            return False
        await self._send({"type": "http.response.body", "body": block, "more_body": True})
        self._record.events += not cut
        return not cut

    async def end(self) -> None:
        rest = self._gzip.flush() if self._gzip is not None else b""
        self._record.finished = not self._gone.is_set()
        await self._send({"type": "http.response.body", "body": rest, "more_body": False})

    async def whole(
        self, status: int, body: bytes, content_type: str, answer: Answer | None = None
    ) -> None:
        answer = answer or Answer()
        await self.start(status, content_type, answer, len(body))
        if await self.block(body):
            await self.end()


async def read_body(receive: Receive) -> bytes | None:
    blocks = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        blocks.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(blocks)


async def watch_client(receive: Receive, record: Recorded, gone: asyncio.Event) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    record.disconnected = not record.finished
    gone.set()
