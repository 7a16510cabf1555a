"""A running memrouter, through the API that users have: upload, stats, search, prepare."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import aiohttp

from memrouter.memory.context import inert
from memrouter.tokens import estimate

from .data import History, Question
from .options import BenchError
from .subject import Injected

LINES = 10_000
_MEMORY = re.compile(r"\[MEMORY - [^\]]*\] ")
EMBEDDED_S = 600.0


class Remote:
    """Vaults behind keys that an account key mints, one a history."""

    name = "memrouter over HTTP"

    def __init__(self, url: str, account_key: str) -> None:
        self._url = url.rstrip("/")
        self._account_key = account_key
        self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=300))

    async def remember(self, history: History) -> RemoteMemory:
        """See Subject.remember."""
        minted = await self.call("POST", "/v1/keys", self._account_key, {"name": history.name})
        key = str(minted["key"])
        for at in range(0, len(history.turns), LINES):
            lines = [
                json.dumps(
                    {
                        "content": turn.text,
                        "role": turn.role,
                        "timestamp": int(turn.created.timestamp() * 1_000),
                    }
                )
                for turn in history.turns[at : at + LINES]
            ]
            answer = await self.call("POST", "/v1/memory/upload", key, "\n".join(lines))
            if answer["stats"]["failed"]:
                raise BenchError(f"upload: {answer['stats']['failed']} lines failed")
        until = time.monotonic() + EMBEDDED_S
        while (await self.call("GET", "/v1/memory/stats", key)).get("pending"):
            if time.monotonic() > until:
                raise BenchError("the vault is not embedded after ten minutes")
            await asyncio.sleep(0.1)
        return RemoteMemory(self, key, history)

    async def call(
        self, method: str, path: str, key: str, body: Mapping[str, Any] | str | None = None
    ) -> Any:
        """The decoded answer; BenchError unless it is a 2xx."""
        data = body if isinstance(body, str) or body is None else json.dumps(body)
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        async with self._http.request(
            method, self._url + path, data=data, headers=headers
        ) as response:
            content = await response.read()
        if response.status // 100 != 2:
            raise BenchError(f"{method} {path}: {response.status} {content[:200]!r}")
        return json.loads(content)

    async def close(self) -> None:
        """Close the connections; the vaults stay."""
        await self._http.close()


class RemoteMemory:
    """One vault, by its key."""

    def __init__(self, remote: Remote, key: str, history: History) -> None:
        self._remote = remote
        self._key = key
        self._turns = history.turns
        self._shown = [inert(turn.text) for turn in history.turns]
        self._first: int | None = None

    async def search(self, question: str, limit: int, now: datetime | None = None) -> list[int]:
        """See Memory.search; the router asks its own clock, whatever `now` is."""
        del now
        asked = {"query": question, "limit": limit}
        found = await self._remote.call("POST", "/v1/memory/search", self._key, asked)
        return [self._place(hit) for hit in found["memories"]]

    async def inject(self, question: Question, *, memories: int, tokens: int) -> Injected:
        """See Recaller.inject; `memories` must be those of one of the router's densities."""
        density = {10: "low", 30: "default", 60: "high"}[memories]
        del tokens
        said = [{"role": "user", "content": text} for text in (*question.before, question.text)]
        asked = {"messages": said, "density": density}
        found = await self._remote.call("POST", "/v1/memory/prepare", self._key, asked)
        texts = _MEMORY.split(found.get("context") or "")[1:]
        places = [place for text in texts if (place := self._quoted(text)) is not None]
        return Injected(places=tuple(places), tokens=sum(estimate(text) + 12 for text in texts))

    def _quoted(self, text: str) -> int | None:
        """The turn that a memory of a context block quotes."""
        quoted = text.partition("</memory_context>")[0].strip()
        places = (n for n, shown in enumerate(self._shown) if shown == quoted)
        parts = (n for n, shown in enumerate(self._shown) if quoted and quoted in shown)
        return next(places, next(parts, None))

    def _place(self, hit: Mapping[str, Any]) -> int:
        """Which turn it is: ids of a new vault count up in the order of the upload."""
        number = int(str(hit["id"]).rpartition("_")[2])
        if self._first is None:
            self._first = number - next(
                n for n, turn in enumerate(self._turns) if hit["content"] in turn.text
            )
        place = number - self._first
        if not 0 <= place < len(self._turns) or hit["content"] not in self._turns[place].text:
            place = next(n for n, turn in enumerate(self._turns) if hit["content"] in turn.text)
        return place
