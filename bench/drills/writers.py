"""Clients that write numbered turns, note what was acknowledged, and try again what was not."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import aiohttp

from .serving import HEARD, Router

Kind = Literal["chat", "stream", "ingest", "upload"]
KINDS: tuple[Kind, ...] = ("chat", "stream", "ingest", "upload")
_TALK = 5  # exchanges of a conversation
_LINES = 5  # of an upload
_FIRST_MS = 1_700_000_000_000


@dataclass(slots=True)
class Ledger:
    """What was written into one vault."""

    user: str
    sent: set[str] = field(default_factory=set)
    acknowledged: set[str] = field(default_factory=set)

    def faults(self, stored: Counter[str]) -> list[str]:
        """What is wrong with the texts that the vault holds."""
        lost = sorted(text for text in self.acknowledged if not stored[text])
        twice = sorted(text for text, count in stored.items() if count > 1)
        odd = sorted(text for text in stored if text not in self.sent)
        return [
            *(f"lost: {text}" for text in lost),
            *(f"stored twice: {text}" for text in twice),
            *(f"never sent: {text}" for text in odd),
        ]


class NotTaken(Exception):
    """A request was answered, but not as one that was stored."""


@dataclass(slots=True)
class Writer:
    """Writes to one vault in one way, one request after another."""

    router: Router
    http: aiohttp.ClientSession
    ledger: Ledger
    kind: Kind
    name: str
    number: int = 0
    relayed: int = 0
    """Answers of the provider that arrived whole."""
    retried: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    _talk: list[dict[str, str]] = field(default_factory=list)

    async def run(self, stopped: asyncio.Event, up: Callable[[], bool]) -> None:
        """Write until `stopped`; what was not acknowledged is sent again once `up`."""
        while not stopped.is_set():
            self.number += 1
            await self._until_taken(stopped, up)

    async def once(self) -> bool:
        """Write one turn more; whether it was acknowledged."""
        self.number += 1
        try:
            await self._write()
        except (aiohttp.ClientError, TimeoutError, NotTaken) as e:
            self._note(e)
            self._talk.clear()
            return False
        return True

    async def _until_taken(self, stopped: asyncio.Event, up: Callable[[], bool]) -> None:
        while not stopped.is_set():
            if not up():
                await asyncio.sleep(0.02)
                continue
            try:
                await self._write()
            except (aiohttp.ClientError, TimeoutError, NotTaken) as e:
                self._note(e)
                self.retried += 1
                await asyncio.sleep(0.05)
            else:
                return

    def _note(self, error: Exception) -> None:
        self.refused[str(error) if isinstance(error, NotTaken) else type(error).__name__] += 1

    async def _write(self) -> None:
        if self.kind == "upload":
            await self._upload()
            return
        session = f"{self.name} talk {self.number // _TALK}"
        if self.number % _TALK == 0:
            self._talk.clear()
        said = f"Turn {self.number:06d} of {self.name}: the number of this box is {self.number}."
        heard = HEARD + said
        exchange = [{"role": "user", "content": said}, {"role": "assistant", "content": heard}]
        self.ledger.sent |= {said, heard}
        if self.kind == "ingest":
            body: dict[str, Any] = {"messages": [*self._talk, *exchange], "session_id": session}
            await self._post("/v1/memory/ingest", json.dumps(body).encode(), 202)
        else:
            await self._chat([*self._talk, exchange[0]], heard, session)
        self.ledger.acknowledged |= {said, heard}
        self._talk += exchange

    async def _chat(self, messages: list[dict[str, str]], heard: str, session: str) -> None:
        stream = self.kind == "stream"
        body = {"model": "gpt-5.5", "messages": messages, "stream": stream, "session_id": session}
        got = await self._post("/v1/chat/completions", json.dumps(body).encode(), 200)
        whole = _streamed(got) if stream else json.loads(got)["choices"][0]["message"]["content"]
        if whole != heard:
            raise NotTaken("another answer than the provider's")
        self.relayed += 1

    async def _upload(self) -> None:
        first = self.number * _LINES
        lines = [
            {
                "content": f"Line {first + n:06d} of {self.name}: the color of it is {first + n}.",
                "role": "user",
                "timestamp": _FIRST_MS + first + n,
            }
            for n in range(_LINES)
        ]
        texts = {str(line["content"]) for line in lines}
        self.ledger.sent |= texts
        data = b"\n".join(json.dumps(line).encode() for line in lines)
        answer = json.loads(await self._post("/v1/memory/upload", data, 200))
        if answer["status"] != "complete":
            raise NotTaken("an upload that was not complete")
        self.ledger.acknowledged |= texts

    async def _post(self, path: str, data: bytes, status: int) -> bytes:
        headers = {"x-sm-user-id": self.ledger.user, "content-type": "application/json"}
        async with self.http.post(self.router.url + path, data=data, headers=headers) as got:
            body = await got.read()
            if got.status != status:
                raise NotTaken(f"status {got.status}")
            return body


def _streamed(body: bytes) -> str:
    events = [e.removeprefix(b"data: ") for e in body.split(b"\n\n") if e.startswith(b"data: ")]
    if not events or events[-1] != b"[DONE]":
        raise NotTaken("a stream without its end")
    chunks = [json.loads(event) for event in events[:-1]]
    return "".join(c["choices"][0]["delta"].get("content") or "" for c in chunks if c["choices"])


async def stored(router: Router, http: aiohttp.ClientSession, user: str) -> Counter[str]:
    """The texts that a user's vault holds, and how often."""
    headers = {"x-sm-user-id": user}
    async with http.get(f"{router.url}/v1/memory/export", headers=headers) as got:
        body = await got.read()
        if got.status != 200:
            raise NotTaken(f"export: status {got.status} {body[:200]!r}")
    return Counter(json.loads(line)["content"] for line in body.splitlines() if line.strip())
