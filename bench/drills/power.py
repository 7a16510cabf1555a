"""`python -m bench.drills.power`: the power fails; what was acknowledged must be on the disk.

A router works on files whose every write and sync is noted (native/disk.c). From these notes the
disk is made anew as it may be after a power cut at a random instant: what was not synced is there,
or not, or in part. The store must open, and hold all that had been acknowledged by then.

`--unsynced -wal` leaves out the syncs of write-ahead logs, as `synchronous=NORMAL` would: the
drill must then fail.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from rich.console import Console

from memrouter import start
from memrouter.config import Config
from memrouter.domain import Scope
from memrouter.edge.auth import digest
from memrouter.errors import MemrouterError
from memrouter.secrets import Sealer
from memrouter.store.sqlite.directory import SqliteDirectory
from memrouter.store.sqlite.vaults import SqliteVaultStore

from . import checks, journal, serving, shim, telling
from .journal import Disk, Record
from .serving import DrillError, Router
from .writers import KINDS, Ledger, Writer

_PROVIDER = "provider key"


@dataclass(slots=True)
class Found:
    """What the drill has seen."""

    records: Counter[str] = field(default_factory=Counter)
    cuts: int = 0
    acknowledged: int = 0
    syncs: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)


class Noting(Ledger):
    """A ledger that notes in the journal when something was acknowledged."""

    __slots__ = ("_journal",)

    def __init__(self, user: str, journal_fd: int) -> None:
        super().__init__(user)
        self._journal = journal_fd
        self.acknowledged = _Noted(self._note)

    def _note(self, texts: set[str]) -> None:
        record = Record("A", self.user, 0, json.dumps(sorted(texts)).encode())
        os.write(self._journal, record.packed())


class _Noted(set[str]):
    def __init__(self, note: object) -> None:
        super().__init__()
        self._note = note

    def __ior__(self, texts: object) -> _Noted:  # type: ignore[override]
        assert isinstance(texts, set)
        assert callable(self._note)
        self._note(texts)
        self.update(texts)
        return self


async def work(folder: Path, exchanges: int, unsynced: str) -> Path:
    """Let clients write for a while; return the journal."""
    noted = folder / "journal"
    library = shim.compiled(folder)
    with serving.provider() as port:
        router = Router(
            folder / "router",
            port,
            env_LD_PRELOAD=str(library),
            env_DRILL_FOLDER=str((folder / "router").resolve()),
            SECRET_KEY="",  # one is made, and must be as safe as what it seals
            env_DRILL_JOURNAL=str(noted),
            env_DRILL_UNSYNCED=unsynced,
        )
        try:
            async with serving.http_client() as http:
                router.spawn()
                await router.serves(http)
                mark = os.open(noted, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
                await _sealed(router, http)
                os.write(mark, Record("A", _PROVIDER, 0, b'["sk-power-drill"]').packed())
                # New vaults come up all the time: their names must be safe, too.
                for group in range(0, exchanges, 10):
                    ledgers = [Noting(f"user {group}-{n}", mark) for n in range(2)]
                    writers = [
                        Writer(router, http, ledger, kind, f"{kind} of {ledger.user}")
                        for ledger in ledgers
                        for kind in KINDS
                    ]
                    await asyncio.gather(*(_write(w, min(10, exchanges)) for w in writers))
                    key = await _minted(router, http)
                    os.write(mark, Record("A", "key", 0, json.dumps([key]).encode()).packed())
                os.close(mark)
        finally:
            router.kill()
    return noted


async def _write(writer: Writer, times: int) -> None:
    for _ in range(times):
        if not await writer.once():
            raise DrillError(f"{writer.name}: {dict(writer.refused)}")


async def _sealed(router: Router, http: aiohttp.ClientSession) -> None:
    url = f"{router.url}/v1/account/provider-keys/groq"
    async with http.put(url, json={"key": "sk-power-drill"}) as got:
        if got.status not in (200, 201):
            raise DrillError(f"a provider key is answered {got.status}")


async def _minted(router: Router, http: aiohttp.ClientSession) -> str:
    async with http.post(f"{router.url}/v1/keys", json={"name": "drill"}) as got:
        return str((await got.json())["key"])


async def cuts(noted: Path, root: Path, at_most: int, dice: random.Random) -> Found:
    """Cut the power at random instants, each time after some acknowledgement."""
    found = Found()
    records = list(journal.read(noted.read_bytes()))
    told = [n for n, record in enumerate(records) if record.op == "A"]
    wanted = set(dice.sample(range(told[0], len(records)), min(at_most, len(records) - told[0])))
    wanted |= set(dice.sample(told, min(at_most // 2, len(told))))  # right after an answer
    disk, acknowledged = Disk(), dict[str, set[str]]()
    for n, record in enumerate(records):
        found.records[record.op] += 1
        if record.op == "E":
            found.syncs[_kind(record.path)] += 1
        if record.op == "A":
            acknowledged.setdefault(record.path, set()).update(json.loads(record.data))
        else:
            disk.follow(record)
        if n in wanted:
            found.cuts += 1
            state = disk.cut(dice)
            faults = await _opened(state, root, acknowledged)
            found.faults += [f"record {n}: {fault}" for fault in faults]
    found.acknowledged = sum(len(texts) for texts in acknowledged.values())
    return found


def _kind(path: str) -> str:
    name = Path(path).name
    if name.endswith(".db-wal"):
        return "write-ahead logs"
    return "databases" if name.endswith(".db") else "folders and others"


async def _opened(
    state: dict[str, bytes | None], data: Path, acknowledged: dict[str, set[str]]
) -> list[str]:
    """Put a disk's contents into a folder, open the store there, and look for what must be."""
    with tempfile.TemporaryDirectory(prefix="drill-cut-") as name:
        folder = Path(name)
        for path, contents in state.items():
            at = folder / Path(path).relative_to(data)
            if contents is None:
                at.mkdir(parents=True, exist_ok=True)
            elif not at.name.endswith("-shm"):  # memory, not disk
                at.parent.mkdir(parents=True, exist_ok=True)
                at.write_bytes(contents)
        try:
            faults = await _compared(folder, acknowledged)
        except MemrouterError as e:
            faults = [f"the store does not open: {e}"]
        return faults + checks.integrity(checks.databases(folder))


async def _compared(folder: Path, acknowledged: dict[str, set[str]]) -> list[str]:
    faults = []
    directory, store = SqliteDirectory(folder), SqliteVaultStore(folder)
    try:
        account = await directory.first_account()
        if account is None:
            return ["there is no account"]
        for user, texts in acknowledged.items():
            if user == _PROVIDER:
                sealer = Sealer(start.secret_key(Config(), folder))
                sealed = (await directory.provider_keys(account)).values()
                if {sealer.open(one) for one in sealed} != texts:
                    faults.append("the stored provider key is lost")
                continue
            if user == "key":
                lost = [key for key in texts if await directory.key(digest(key)) is None]
                faults += [f"{len(lost)} minted keys are lost"] * bool(lost)
                continue
            vault = await directory.user_vault(account, user)
            memories = await store.memories(Scope(vault=vault), limit=1_000_000, whole=True)
            held = Counter(memory.text for memory in memories)
            faults += [f"lost: {text}" for text in sorted(texts) if not held[text]]
            faults += [f"twice: {text}" for text, count in held.items() if count > 1]
    finally:
        await store.close()
        await directory.close()
    return faults


def _report(found: Found, unsynced: str, seed: int, console: Console) -> None:
    rows: list[tuple[str, object]] = [
        ("writes noted", found.records["W"]),
        *((f"syncs of {kind}", count) for kind, count in sorted(found.syncs.items())),
        ("turns and keys acknowledged", found.acknowledged),
        ("power cuts", found.cuts),
        ("faults", len(found.faults)),
    ]
    title = f"power cuts, seed {seed}" + (f", without syncs of {unsynced}" * bool(unsynced))
    telling.show_counts(title, rows, console)
    telling.show_faults(found.faults, console)


def main() -> int:
    """0 if nothing was lost, 1 if something was, 2 if the drill broke off."""
    parser = argparse.ArgumentParser(prog="python -m bench.drills.power", description=__doc__)
    parser.add_argument("--cuts", type=int, default=200)
    parser.add_argument("--exchanges", type=int, default=40, help="of each of eight clients")
    parser.add_argument("--unsynced", default="", help="suffix of files whose syncs are left out")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 31))
    options = parser.parse_args()
    console = Console()
    try:
        with telling.folder("power", console) as folder:
            noted = asyncio.run(work(folder, options.exchanges, options.unsynced))
            data = (folder / "router" / "data").resolve()
            found = asyncio.run(cuts(noted, data, options.cuts, random.Random(options.seed)))
    except DrillError as e:
        console.print(f"[red]stopped:[/red] {e}")
        return 2
    _report(found, options.unsynced, options.seed, console)
    return 1 if found.faults else 0


if __name__ == "__main__":
    sys.exit(main())
