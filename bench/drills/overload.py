"""`python -m bench.drills.overload`: more requests than can be served, most of them of one key.

First the capacity is measured: what clients get that wait for each answer. Then requests arrive at
0.5, 1, 2 and 4 times that, whether others are answered or not. Ten quiet keys together send a
quarter of the capacity throughout; all the rest is of one noisy key. Once without bounds, as a
router without admission control would; once with the default bound on recalls, and with as many
requests under way as are served in a second and a half. Latencies are from the moment at which a
request was due.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from rich.console import Console

from memrouter.testing.faults import faulty

from . import telling
from .serving import ACCOUNT_KEY, DrillError, Router

_QUIET = 10
_LOADS = (0.5, 1.0, 2.0, 4.0)
_CLIENTS = 48
_PATIENCE_S = 15.0
_TICK_S = 0.1  # the provider answers after two
_BOUND_S = 1.5  # the bound on requests under way is what is served in this time
_UNBOUND = "1000000"
_COLORS = ("blue", "red", "green")
_FACTS = [f"My box number {n} is {_COLORS[n % 3]}." for n in range(30)]


@dataclass(slots=True)
class Seen:
    """What became of the requests of some keys."""

    took_s: list[float] = field(default_factory=list)
    """Of those that were served."""
    ends: Counter[str] = field(default_factory=Counter)

    def at(self, percent: int) -> str:
        """A percentile of the latencies, in ms."""
        if len(self.took_s) < 2:
            return "–"
        cut = statistics.quantiles(self.took_s, n=100, method="inclusive")[percent - 1]
        return f"{cut * 1000:.0f}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One load, and what came of it."""

    bounds: str
    load: float
    rate: float
    quiet: Seen
    noisy: Seen
    rss_mb: float


class Drill:
    """One router with its keys."""

    def __init__(self, router: Router, http: aiohttp.ClientSession) -> None:
        self._router = router
        self._http = http
        self.keys: list[str] = []
        self._serial = 0

    async def start(self) -> None:
        """Start it, with keys that have something to recall."""
        self._router.spawn()
        await self._router.serves(self._http)
        for n in range(_QUIET + 1):
            account = {"authorization": f"Bearer {ACCOUNT_KEY}"}
            url = f"{self._router.url}/v1/keys"
            async with self._http.post(url, json={"name": f"k{n}"}, headers=account) as got:
                key = (await got.json())["key"]
            self.keys.append(key)
            said = {"messages": [{"role": "user", "content": fact} for fact in _FACTS]}
            url = f"{self._router.url}/v1/memory/ingest"
            async with self._http.post(url, json=said, headers=_bearer(key)) as got:
                await got.read()

    async def capacity(self, seconds: float) -> float:
        """Requests a second, if each client waits for its answer."""
        seen = Seen()
        until = time.monotonic() + seconds

        async def client(n: int) -> None:
            while time.monotonic() < until:
                await self._ask(self.keys[n % len(self.keys)], seen, time.monotonic())

        await asyncio.gather(*(client(n) for n in range(_CLIENTS)))
        return seen.ends["served"] / seconds

    async def step(self, bounds: str, load: float, capacity: float, seconds: float) -> Step:
        """Send at a rate, whatever comes back."""
        quiet, noisy = Seen(), Seen()
        each = capacity / 4 / _QUIET
        rates = [(load - 0.25) * capacity, *([each] * _QUIET)]
        rss: list[int] = []
        sampling = asyncio.create_task(self._sample(rss))
        async with asyncio.TaskGroup() as group:
            for n, rate in enumerate(rates):
                seen = noisy if n == 0 else quiet
                group.create_task(self._arrivals(self.keys[n], seen, rate, seconds, n))
        sampling.cancel()
        await asyncio.sleep(1.0)
        return Step(
            bounds=bounds,
            load=load,
            rate=load * capacity,
            quiet=quiet,
            noisy=noisy,
            rss_mb=max(rss) / 1024,
        )

    async def _arrivals(self, key: str, seen: Seen, rate: float, seconds: float, n: int) -> None:
        began = time.monotonic() + n / max(1.0, rate) / (_QUIET + 1)
        async with asyncio.TaskGroup() as group:
            for number in range(int(rate * seconds)):
                due = began + number / rate
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                group.create_task(self._ask(key, seen, due))

    async def _ask(self, key: str, seen: Seen, due: float) -> None:
        url = f"{self._router.url}/v1/chat/completions"
        headers = {**_bearer(key), "content-type": "application/json"}
        self._serial += 1  # another question each time, or the last one's block would do
        asked = f"Which of my boxes is {_COLORS[self._serial % 3]}, number {self._serial}?"
        body = {"model": "gpt-5.5", "messages": [{"role": "user", "content": asked}]}
        try:
            async with self._http.post(url, data=json.dumps(body).encode(), headers=headers) as got:
                await got.read()
        except (aiohttp.ClientError, TimeoutError):
            seen.ends["failed"] += 1
            return
        if got.status == 200:
            seen.took_s.append(time.monotonic() - due)
            seen.ends["served"] += 1
            error = got.headers.get("x-memory-error", "")
            seen.ends["shed" if "Overloaded" in error else "late" if error else "recalled"] += 1
        else:
            seen.ends[str(got.status)] += 1

    async def _sample(self, rss: list[int]) -> None:
        while True:
            status = Path(f"/proc/{self._router.pid}/status").read_text()
            rss.append(int(status.partition("VmRSS:")[2].split()[0]))
            await asyncio.sleep(0.1)


def _bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


async def drill(folder: Path, seconds: float, console: Console) -> tuple[float, list[Step]]:
    """Both halves; the first measures the capacity for both."""
    steps: list[Step] = []
    capacity = 0.0
    async with faulty(_TICK_S) as provider:
        provider.usual = "slow headers"
        for bounds in ("none", "some"):
            most = _UNBOUND if bounds == "none" else str(max(20, int(capacity * _BOUND_S)))
            router = Router(
                folder / bounds,
                provider.port,
                MAX_REQUESTS=most,
                RECALL_TIMEOUT_S="0.25",
                COMMIT_TIMEOUT_S="5",
                LOG_LEVEL="error",
                MAX_RECALLS=_UNBOUND if bounds == "none" else "64",
                MAX_COMMITS=_UNBOUND if bounds == "none" else "1000",
            )
            try:
                async with aiohttp.ClientSession(
                    timeout=aiohttp.ClientTimeout(total=_PATIENCE_S),
                    connector=aiohttp.TCPConnector(limit=0),
                    trust_env=False,
                ) as http:
                    one = Drill(router, http)
                    await one.start()
                    capacity = capacity or await one.capacity(seconds)
                    console.print(f"bounds {bounds}: {capacity:.0f} requests a second, {most=}")
                    steps += [await one.step(bounds, x, capacity, seconds) for x in _LOADS]
            finally:
                router.kill()
    return capacity, steps


def _report(capacity: float, steps: list[Step], console: Console) -> None:
    names = ("bounds", "load", "sent/s", "served", "of it shed", "late", "503", "failed")
    more = ("quiet served", "p50 ms", "p99 ms", "noisy served", "p50 ms", "p99 ms", "RSS MB")
    title = f"overload; capacity {capacity:.0f} requests a second"
    table = telling.table(title, (*names, *more))
    for s in steps:
        both = s.quiet.ends + s.noisy.ends
        table.add_row(
            s.bounds,
            f"{s.load:g} ×",
            f"{s.rate:.0f}",
            *(str(both[name]) for name in ("served", "shed", "late", "503", "failed")),
            *(
                cell
                for seen in (s.quiet, s.noisy)
                for cell in (f"{_share(seen):.1%}", seen.at(50), seen.at(99))
            ),
            f"{s.rss_mb:.0f}",
        )
    console.print(table)


def _share(seen: Seen) -> float:
    """Served, of those sent."""
    sent = seen.ends["served"] + seen.ends["503"] + seen.ends["failed"]
    return seen.ends["served"] / max(1, sent)


def main() -> int:
    """0 if the quiet keys were served at every load, 1 if not, 2 if the drill broke off."""
    parser = argparse.ArgumentParser(prog="python -m bench.drills.overload", description=__doc__)
    parser.add_argument("--seconds", type=float, default=8, help="of each load")
    options = parser.parse_args()
    console = Console(width=150)
    try:
        with telling.folder("overload", console) as folder:
            capacity, steps = asyncio.run(drill(folder, options.seconds, console))
    except DrillError as e:
        console.print(f"[red]stopped:[/red] {e}")
        return 2
    _report(capacity, steps, console)
    return int(any(s.bounds == "some" and _share(s.quiet) < 0.95 for s in steps))


if __name__ == "__main__":
    sys.exit(main())
