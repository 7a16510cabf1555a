"""`python -m bench.drills.crash`: kill -9 at random instants; nothing acknowledged may be lost.

Clients write numbered turns in four ways into several vaults. The server, or one of its workers,
is killed at a random instant: while it works, while it starts, while vaults are made. After each
kill every acknowledged turn must be there, none twice, and every file must pass its check.
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
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from rich.console import Console

from . import checks, serving, telling
from .serving import DrillError, Router
from .writers import KINDS, Ledger, Writer, stored

_VAULTS = 2  # written at a time
_ROUNDS = 8  # kills after which new vaults are made
_WORK_S = 0.8  # longest time between start and kill
_AT_START = 0.15  # share of kills before the server serves


@dataclass(slots=True)
class Tally:
    """What a drill has seen."""

    kills: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    took_s: list[float] = field(default_factory=list)
    acknowledged: int = 0
    vaults: int = 0
    files: int = 0
    retried: int = 0
    keys: int = 0
    relayed: int = 0


class Drill:
    """One run."""

    def __init__(
        self, router: Router, http: aiohttp.ClientSession, dice: random.Random, workers: int
    ) -> None:
        self.tally = Tally()
        self._router = router
        self._http = http
        self._dice = dice
        self._workers = workers
        self._up = False
        self._ledgers: list[Ledger] = []
        self._minted: set[str] = set()
        self._serial = 0

    async def run(self, kills: int, console: Console) -> None:
        """Kill so many times; stop at the first fault."""
        await self._start()
        with console.status("") as status:
            while self._killed < kills and not self.tally.faults:
                async with self._writing():
                    for _ in range(min(_ROUNDS, kills - self._killed)):
                        begun = time.monotonic()
                        await self._round()
                        self.tally.took_s.append(time.monotonic() - begun)
                        status.update(f"{self._killed} of {kills} kills")
                        if self.tally.faults:
                            break
        await self._last()

    @property
    def _killed(self) -> int:
        return self.tally.kills.total()

    @contextlib.asynccontextmanager
    async def _writing(self) -> AsyncIterator[None]:
        """New vaults, and writers at work on them."""
        self._serial += 1
        ledgers = [Ledger(f"user {self._serial}-{n}") for n in range(_VAULTS)]
        self._ledgers += ledgers
        writers = [
            Writer(self._router, self._http, ledger, kind, f"{kind} of {ledger.user}")
            for ledger in ledgers
            for kind in KINDS
        ]
        stopped = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            for writer in writers:
                group.create_task(writer.run(stopped, lambda: self._up))
            group.create_task(self._mint(stopped))
            try:
                yield
            finally:
                stopped.set()
        self.tally.retried += sum(w.retried for w in writers)
        self.tally.relayed += sum(w.relayed for w in writers)

    async def _mint(self, stopped: asyncio.Event) -> None:
        """Mint keys; each that was answered must open its vault from then on."""
        serial = 0
        while not stopped.is_set():
            serial += 1
            with contextlib.suppress(aiohttp.ClientError):
                url = f"{self._router.url}/v1/keys"
                name = f"key {self._serial}-{serial}"
                async with self._http.post(url, json={"name": name}) as got:
                    if got.status == 201:
                        self._minted.add((await got.json())["key"])
            await asyncio.sleep(0.1)

    async def _round(self) -> None:
        await asyncio.sleep(self._dice.uniform(0, _WORK_S))
        if self._workers > 1 and self._dice.random() < 0.5 and self._router.kill_worker(self._dice):
            self.tally.kills["one worker"] += 1
        else:
            await self._kill_all("all processes")
            if self._dice.random() < _AT_START:
                self._router.spawn()
                await asyncio.sleep(self._dice.uniform(0, 1.5))
                await self._kill_all("all, while starting")
            await self._start()
        await self._check(self._ledgers[-_VAULTS:], sample=3)

    async def _kill_all(self, what: str) -> None:
        self._up = False
        await asyncio.to_thread(self._router.kill)
        self.tally.kills[what] += 1

    async def _start(self) -> None:
        self._router.spawn()
        await self._router.serves(self._http)
        self._up = True

    async def _check(self, ledgers: Sequence[Ledger], *, sample: int | None = None) -> None:
        """Compare vaults with what was acknowledged by now."""
        for ledger in ledgers:
            acknowledged = set(ledger.acknowledged)
            held = await self._stored(ledger)
            sent = ledger.sent  # grows: read after
            self.tally.faults += Ledger(ledger.user, sent, acknowledged).faults(held)
        minted = sorted(self._minted)
        for key in (
            minted if sample is None else self._dice.sample(minted, min(sample, len(minted)))
        ):
            headers = {"authorization": f"Bearer {key}"}
            url = f"{self._router.url}/v1/memory/stats"
            status = await self._status(url, headers)
            if status != 200:
                self.tally.faults.append(f"a minted key is answered {status}")
        paths = await asyncio.to_thread(checks.databases, self._router.data)
        if sample is not None:
            newest = sorted(paths, key=lambda path: -path.stat().st_mtime)[: _VAULTS + 4]
            paths = newest
        self.tally.faults += await asyncio.to_thread(checks.integrity, paths)
        self.tally.files = max(self.tally.files, len(paths))

    async def _stored(self, ledger: Ledger) -> Counter[str]:
        """Its texts; the worker that is asked may be the one that has just been killed."""
        for _ in range(20):
            with contextlib.suppress(aiohttp.ClientError):
                return await stored(self._router, self._http, ledger.user)
            await asyncio.sleep(0.2)
        raise DrillError(f"no worker answers:\n{self._router.tail()}")

    async def _status(self, url: str, headers: dict[str, str]) -> int:
        for _ in range(20):
            with contextlib.suppress(aiohttp.ClientError):
                async with self._http.get(url, headers=headers) as got:
                    return got.status
            await asyncio.sleep(0.2)
        raise DrillError(f"no worker answers:\n{self._router.tail()}")

    async def _last(self) -> None:
        """A clean stop and start; then everything that was ever written."""
        if not self.tally.faults:
            status = await asyncio.to_thread(self._router.stop)
            if status not in (0, -15):
                self.tally.faults.append(f"a clean stop ended with status {status}")
            await self._start()
            await self._check(self._ledgers)
            await self._drained()
        self.tally.acknowledged = sum(len(ledger.acknowledged) for ledger in self._ledgers)
        self.tally.vaults = len(self._ledgers)
        self.tally.keys = len(self._minted)

    async def _drained(self) -> None:
        """Every chunk gets its vector, however often the worker was killed at it."""
        deadline = time.monotonic() + 120
        for ledger in self._ledgers:
            while True:
                headers = {"x-sm-user-id": ledger.user}
                url = f"{self._router.url}/v1/memory/stats"
                async with self._http.get(url, headers=headers) as got:
                    waiting = (await got.json())["pending"]
                if not waiting:
                    break
                if time.monotonic() > deadline:
                    self.tally.faults.append(f"{ledger.user}: {waiting} chunks have no vector")
                    return
                await asyncio.sleep(0.1)


async def drill(folder: Path, kills: int, workers: int, seed: int, console: Console) -> Tally:
    """One drill in a folder of its own."""
    with serving.provider() as port:
        router = Router(folder, port, workers=workers)
        try:
            async with serving.http_client() as http:
                one = Drill(router, http, random.Random(seed), workers)
                await one.run(kills, console)
                return one.tally
        finally:
            router.kill()


def _report(tally: Tally, workers: int, seed: int, console: Console) -> None:
    rows: list[tuple[str, object]] = [
        *((f"kills of {what}", count) for what, count in sorted(tally.kills.items())),
        ("turns acknowledged", tally.acknowledged),
        ("answers relayed whole", tally.relayed),
        ("requests that broke off and were sent again", tally.retried),
        ("keys minted", tally.keys),
        ("vaults", tally.vaults),
        ("files checked at the end", tally.files),
        ("seconds a kill, median", f"{statistics.median(tally.took_s or [0]):.2f}"),
        ("faults", len(tally.faults)),
    ]
    telling.show_counts(f"kill -9, {workers} worker(s), seed {seed}", rows, console)
    telling.show_faults(tally.faults, console)


def main() -> int:
    """0 if nothing was lost, 1 if something was, 2 if the drill broke off."""
    parser = argparse.ArgumentParser(prog="python -m bench.drills.crash", description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 31))
    parser.add_argument("--keep", action="store_true", help="keep the data folder")
    options = parser.parse_args()
    console = Console()
    try:
        with telling.folder("crash", console, keep=options.keep) as folder:
            tally = asyncio.run(
                drill(folder, options.kills, options.workers, options.seed, console)
            )
    except DrillError as e:
        console.print(f"[red]stopped (seed {options.seed}):[/red] {e}", markup=True)
        return 2
    _report(tally, options.workers, options.seed, console)
    return 1 if tally.faults else 0


if __name__ == "__main__":
    sys.exit(main())
