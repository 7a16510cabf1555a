"""`python -m bench.drills.soak`: steady load with faults mixed in; nothing may leak.

Clients of several users chat, stream, leave in the middle, upload, search and delete, while the
provider goes wrong in every way that `memrouter.testing.faults` knows. Once a minute all of them
pause, and the server's memory, files, sockets, threads and requests under way are counted.

The verdict compares the last three pauses with the first two minutes' last. Handles: within the
number of clients, since that many connections may idle in the pool, or not. Threads: the same.
Memory: within 10 %, what an allocator keeps of freed pieces, and the slope is printed, too. What is
said is of few words: the caches of words, which are bounded, are full before the comparison begins.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import statistics
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from rich.console import Console

from memrouter.testing.faults import FAULTS, HEADER, FaultyProvider, faulty

from . import serving, telling
from .serving import DrillError, Router

_SESSIONS = 3
_CLEARED = 40  # requests of a user after which its memory is deleted, so that vaults stay small
_BOXES = 50  # numbers that are spoken of: words are cached, so new ones would take memory
_PATIENCE_S = 20.0
_MB = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What the server holds at a moment without load."""

    minute: float
    rss_bytes: int
    files: int
    sockets: int
    threads: int
    running: int
    requests: int


@dataclass(slots=True)
class Load:
    """Clients, each with a user of its own, that keep a rate together."""

    router: Router
    http: aiohttp.ClientSession
    users: int
    period_s: float
    dice: random.Random
    seen: Counter[str] = field(default_factory=Counter)
    going: asyncio.Event = field(default_factory=asyncio.Event)
    busy: int = 0

    async def run(self, number: int) -> None:
        """One client, until cancelled."""
        await asyncio.sleep(self.period_s * number / self.users)
        sent = 0
        while True:
            await self.going.wait()
            began = time.monotonic()
            sent += 1
            self.busy += 1
            try:
                await self._act(f"user-{number}", sent)
            except (aiohttp.ClientError, TimeoutError) as e:
                self.seen[f"client: {type(e).__name__}"] += 1
            finally:
                self.busy -= 1
            await asyncio.sleep(max(0.0, began + self.period_s - time.monotonic()))

    async def quiet(self) -> None:
        """Hold all clients, and wait until none is at work."""
        self.going.clear()
        deadline = time.monotonic() + 2 * _PATIENCE_S
        while self.busy:
            if time.monotonic() > deadline:
                raise DrillError(f"{self.busy} requests hang")
            await asyncio.sleep(0.05)
        await asyncio.sleep(1.0)

    async def _act(self, user: str, sent: int) -> None:
        session = f"s{self.dice.randrange(_SESSIONS)}"
        if sent % _CLEARED == 0:
            await self._ask("delete", "DELETE", "/v1/memory?reset=true", user)
            return
        match self.dice.choices(
            ["chat", "fault", "leave", "upload", "search", "ingest", "stranger"],
            [30, 35, 10, 5, 10, 8, 2],
        )[0]:
            case "chat":
                await self._chat(user, session, sent, "")
            case "fault":
                await self._chat(user, session, sent, self.dice.choice([*FAULTS]))
            case "leave":
                await self._leave(user, session, sent)
            case "upload":
                lines = [
                    f'{{"content":"Box {sent % _BOXES} is {n}.","role":"user"}}' for n in range(5)
                ]
                await self._ask("upload", "POST", "/v1/memory/upload", user, "\n".join(lines))
            case "search":
                asked = {"query": "Which box is blue?", "limit": 5}
                await self._ask("search", "POST", "/v1/memory/search", user, asked)
            case "ingest":
                said = [{"role": "user", "content": f"My box {sent % _BOXES} is blue."}]
                asked = {"messages": said, "session_id": session}
                await self._ask("ingest", "POST", "/v1/memory/ingest", user, asked)
            case _:
                headers = {"authorization": "Bearer mk_" + "x" * 40}
                await self._ask("stranger", "POST", "/v1/chat/completions", user, {}, headers)

    def _body(self, session: str, sent: int, *, stream: bool) -> dict[str, Any]:
        color = self.dice.choice(["blue", "red"])
        said = f"My box number {sent % _BOXES} is {color}. Which one is blue?"
        messages = [{"role": "user", "content": said}]
        return {"model": "gpt-5.5", "messages": messages, "stream": stream, "session_id": session}

    async def _chat(self, user: str, session: str, sent: int, fault: str) -> None:
        body = self._body(session, sent, stream=self.dice.random() < 0.5)
        if fault == "endless":
            await self._leave(user, session, sent, fault)
            return
        headers = {HEADER: fault} if fault else {}
        what = "fault" if fault else "chat"
        await self._ask(what, "POST", "/v1/chat/completions", user, body, headers)

    async def _leave(self, user: str, session: str, sent: int, fault: str = "byte by byte") -> None:
        """Read a little of a stream, then close the connection."""
        body = self._body(session, sent, stream=True)
        headers = {HEADER: fault, "x-sm-user-id": user}
        url = f"{self.router.url}/v1/chat/completions"
        async with self.http.post(url, json=body, headers=headers) as got:
            await got.content.read(self.dice.randrange(1, 60))
            got.close()
        self.seen[f"leave: {got.status}"] += 1

    async def _ask(
        self,
        what: str,
        method: str,
        path: str,
        user: str,
        body: Any = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        sent = {"data": body} if isinstance(body, str) else {"json": body}
        named = {"x-sm-user-id": user, **(headers or {})}
        async with self.http.request(
            method, self.router.url + path, headers=named, allow_redirects=False, **sent
        ) as got:
            status = got.status
            try:
                await got.read()
            finally:
                self.seen[f"{what}: {status}"] += 1


async def sample(router: Router, http: aiohttp.ClientSession, began: float) -> Sample:
    """Count what the server holds."""
    async with http.get(f"{router.url}/metrics") as got:
        lines = (await got.text()).splitlines()
    gauges = {n: float(v) for n, _, v in (line.rpartition(" ") for line in lines) if n[:1] != "#"}
    process = Path(f"/proc/{router.pid}")
    links = []
    for entry in (process / "fd").iterdir():
        with contextlib.suppress(OSError):
            links.append(str(entry.readlink()))
    status = dict(
        line.split(":", 1) for line in (process / "status").read_text().splitlines() if ":" in line
    )
    return Sample(
        minute=(time.monotonic() - began) / 60,
        rss_bytes=int(status["VmRSS"].split()[0]) * 1024,
        files=len(links),
        sockets=sum(link.startswith("socket:") for link in links),
        threads=int(status["Threads"]),
        running=int(gauges["memrouter_running_requests"]) - 1,  # less the one that asks
        requests=int(sum(v for n, v in gauges.items() if n.startswith("memrouter_requests_total"))),
    )


def leaks(samples: list[Sample], clients: int) -> list[str]:
    """What grew between the second minute and the end."""
    base = min(samples, key=lambda s: abs(s.minute - 2.0))
    last = samples[-3:]
    found = []
    for name in ("files", "sockets", "threads"):
        before, after = getattr(base, name), min(getattr(s, name) for s in last)
        if after > before + clients:
            found.append(f"{name}: {before} after 2 minutes, {after} at the end")
    memory = statistics.median(s.rss_bytes for s in last)
    if memory > base.rss_bytes * 1.1:
        found.append(f"RSS: {base.rss_bytes / _MB:.1f} MB, then {memory / _MB:.1f} MB")
    if any(s.running > 0 for s in samples):
        found.append("requests were under way while no client asked")
    return found


async def drill(
    folder: Path, minutes: float, users: int, rate: float, dice: random.Random, console: Console
) -> tuple[list[Sample], Counter[str], FaultyProvider]:
    """One soak."""
    async with faulty(tick_s=0.2) as provider:
        router = Router(
            folder,
            provider.port,
            READ_TIMEOUT_S="2",
            RECALL_TIMEOUT_S="0.25",
            COMMIT_TIMEOUT_S="5",
            LOG_LEVEL="error",
        )
        try:
            async with serving.http_client(_PATIENCE_S) as http:
                router.spawn()
                await router.serves(http)
                load = Load(router, http, users, users / rate, dice)
                samples = await _loaded(load, minutes, console)
                return samples, load.seen, provider
        finally:
            router.kill()


async def _loaded(load: Load, minutes: float, console: Console) -> list[Sample]:
    clients = [asyncio.create_task(load.run(n)) for n in range(load.users)]
    began = time.monotonic()
    samples: list[Sample] = []
    try:
        while not samples or samples[-1].minute < minutes:
            load.going.set()
            await asyncio.sleep(min(60.0, max(1.0, minutes * 60 / 5)))
            await load.quiet()
            samples.append(await sample(load.router, load.http, began))
            console.print(_line(samples[-1]))
    finally:
        for client in clients:
            client.cancel()
        await asyncio.gather(*clients, return_exceptions=True)
    return samples


def _line(s: Sample) -> str:
    return (
        f"minute {s.minute:5.1f}  RSS {s.rss_bytes / _MB:6.1f} MB  files {s.files:3}"
        f"  sockets {s.sockets:3}  threads {s.threads:2}  under way {s.running}"
        f"  requests {s.requests}"
    )


def _report(samples: list[Sample], seen: Counter[str], console: Console) -> None:
    columns = ("minute", "requests", "RSS MB", "files", "sockets", "threads", "under way")
    table = telling.table("soak: what the server holds in each pause", columns)
    for s in samples:
        table.add_row(
            f"{s.minute:.1f}",
            str(s.requests),
            f"{s.rss_bytes / _MB:.1f}",
            *map(str, (s.files, s.sockets, s.threads, s.running)),
        )
    console.print(table)
    console.print("answers: " + ", ".join(f"{what} × {n}" for what, n in sorted(seen.items())))
    later = [s for s in samples if s.minute > 2]
    if len(later) > 2 and later[-1].requests > later[0].requests:
        slope = statistics.linear_regression(
            [float(s.requests) for s in later], [float(s.rss_bytes) for s in later]
        ).slope
        console.print(f"memory a request after the first 2 minutes: {slope:.0f} bytes")


def main() -> int:
    """0 if nothing leaked, 1 if something did, 2 if the drill broke off."""
    parser = argparse.ArgumentParser(prog="python -m bench.drills.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--users", type=int, default=8)
    parser.add_argument("--rate", type=float, default=8, help="requests a second, together")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    console = Console()
    dice = random.Random(options.seed)
    try:
        with telling.folder("soak", console) as folder:
            samples, seen, _ = asyncio.run(
                drill(folder, options.minutes, options.users, options.rate, dice, console)
            )
    except DrillError as e:
        console.print(f"[red]stopped:[/red] {e}")
        return 2
    _report(samples, seen, console)
    found = leaks(samples, options.users)
    telling.show_faults(found, console)
    console.print("leaks" if found else "nothing leaked")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
