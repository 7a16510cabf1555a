"""`python -m bench.drills.disk`: the disk is full, or fails; requests go on, and nobody is lied to.

In each section clients write while the disk is well, then while it is not, then when it is well
again. Requests to models must be relayed all the time. What ingest and upload acknowledged must be
there at the end, also after a kill; exchanges that could not be stored must have been counted.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from rich.console import Console

from . import checks, serving, shim, telling
from .serving import DrillError, Router
from .shim import Disk
from .writers import KINDS, Ledger, Writer, stored

_EACH = 25  # requests of each writer in each phase
_VAULTS = 2
_SIZE_KB = 32_768  # of the small disk
_COUNTED = re.compile(
    rb'^memrouter_failed_open_total\{error="[^"]*",stage="store"\} (\S+)', re.MULTILINE
)


@dataclass(slots=True)
class Phase:
    """What was seen while the disk was in one state."""

    name: str
    asked: int = 0
    relayed: int = 0
    accepted: int = 0
    """Ingests and uploads that were acknowledged."""
    refused: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class Section:
    """One kind of trouble."""

    name: str
    phases: list[Phase] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    not_stored: int = 0
    """Exchanges of models that were relayed and are not in memory, as counted by the router."""


async def play(name: str, router: Router, phases: list[tuple[str, Callable[[], None]]]) -> Section:
    """Write through all phases, then look at what is there."""
    section = Section(name)
    async with serving.http_client() as http:
        router.spawn()
        await router.serves(http)
        ledgers = [Ledger(f"user {n}") for n in range(_VAULTS)]
        writers = [
            Writer(router, http, ledger, kind, f"{kind} of {ledger.user}")
            for ledger in ledgers
            for kind in KINDS
        ]
        for title, enter in phases:
            await asyncio.to_thread(enter)
            section.phases.append(await _phase(title, writers))
            section.faults += _judged(section.phases[-1], title)
        section.not_stored = await _counted(router, http)
        await asyncio.to_thread(router.kill)
        router.spawn()
        await router.serves(http)
        section.faults += await _kept(router, http, ledgers, section.not_stored)
        section.faults += await asyncio.to_thread(checks.integrity, checks.databases(router.data))
        await asyncio.to_thread(router.stop)
    return section


async def _phase(title: str, writers: list[Writer]) -> Phase:
    for writer in writers:
        writer.refused.clear()
        writer.relayed = 0

    async def write(writer: Writer) -> int:
        return sum([await writer.once() for _ in range(_EACH)])

    accepted = await asyncio.gather(*(write(writer) for writer in writers))
    phase = Phase(title)
    for writer, count in zip(writers, accepted, strict=True):
        if writer.kind in ("chat", "stream"):
            phase.asked += _EACH
            phase.relayed += writer.relayed
        else:
            phase.accepted += count
        for what, times in writer.refused.items():
            phase.refused[what] = phase.refused.get(what, 0) + times
    return phase


def _judged(phase: Phase, title: str) -> list[str]:
    faults = []
    if phase.relayed != phase.asked:
        faults.append(f"{title}: {phase.asked - phase.relayed} requests were not relayed")
    if "well" in title and phase.accepted != len(KINDS) // 2 * _VAULTS * _EACH:
        faults.append(f"{title}: {phase.accepted} writes were accepted: {phase.refused}")
    return faults


async def _counted(router: Router, http: aiohttp.ClientSession) -> int:
    async with http.get(f"{router.url}/metrics") as got:
        return int(sum(float(count) for count in _COUNTED.findall(await got.read())))


async def _kept(
    router: Router, http: aiohttp.ClientSession, ledgers: list[Ledger], not_stored: int
) -> list[str]:
    """Acknowledged turns that are not there, less exchanges that were counted as not stored."""
    faults: list[str] = []
    missing = 0
    for ledger in ledgers:
        for fault in ledger.faults(await stored(router, http, ledger.user)):
            if fault.startswith("lost: ") and re.search(r" (chat|stream) of ", fault):
                missing += 1
            else:
                faults.append(fault)
    if missing > 2 * not_stored:  # an exchange is two turns
        faults.append(f"{missing} turns are missing, but only {not_stored} exchanges were counted")
    return faults


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A disk of a few megabytes. Raises DrillError where nothing can be mounted."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={_SIZE_KB}k", "none", str(folder)]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        raise DrillError(f"a small disk needs root: {done.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


async def full(folder: Path, port: int) -> Section:
    """Another file takes all the room there is."""
    with small_disk(folder / "small") as disk:
        router = Router(folder / "full", port, DATA_DIR=str(disk / "data"))
        router.data = disk / "data"
        ballast = disk / "ballast"

        def fill() -> None:
            with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
                while file.write(bytes(4096)):
                    pass

        def free() -> None:
            ballast.unlink()

        try:
            return await play(
                "the disk is full",
                router,
                [("well", lambda: None), ("full", fill), ("well again", free)],
            )
        finally:
            router.kill()


async def failing(folder: Path, port: int) -> Section:
    """Writes fail, then one in three, then syncs."""
    library = shim.compiled(folder)
    control = folder / "control"
    disk = Disk(control)
    router = Router(
        folder / "failing",
        port,
        env_LD_PRELOAD=str(library),
        env_DRILL_FOLDER=str((folder / "failing" / "data").resolve()),
        env_DRILL_CONTROL=str(control),
    )
    try:
        return await play(
            "the disk fails",
            router,
            [
                ("well", lambda: None),
                ("no write succeeds", lambda: disk.be(shim.NO_WRITES)),
                ("well again", lambda: disk.be(shim.WELL)),
                ("one write in three fails", lambda: disk.be(shim.SOME_WRITES)),
                ("well for the third time", lambda: disk.be(shim.WELL)),
                ("no sync succeeds", lambda: disk.be(shim.NO_SYNCS)),
                ("well at last", lambda: disk.be(shim.WELL)),
            ],
        )
    finally:
        router.kill()


def _report(section: Section, console: Console) -> None:
    columns = ("phase", "asked", "relayed", "writes acknowledged", "refused")
    table = telling.table(section.name, columns, ("phase", "refused"))
    for phase in section.phases:
        refused = ", ".join(f"{what} × {count}" for what, count in sorted(phase.refused.items()))
        table.add_row(
            phase.name, str(phase.asked), str(phase.relayed), str(phase.accepted), refused
        )
    console.print(table)
    console.print(f"exchanges relayed and counted as not stored: {section.not_stored}")
    telling.show_faults(section.faults, console)


def main() -> int:
    """0 if all went well, 1 if not, 2 if a section could not be played."""
    parser = argparse.ArgumentParser(prog="python -m bench.drills.disk", description=__doc__)
    parser.add_argument("--only", choices=("full", "failing"))
    parser.add_argument("--keep", action="store_true", help="keep the data folder")
    options = parser.parse_args()
    console = Console()
    status = 0
    with (
        telling.folder("disk", console, keep=options.keep) as folder,
        serving.provider() as port,
    ):
        for name, play_it in (("full", full), ("failing", failing)):
            if options.only not in (None, name):
                continue
            try:
                section = asyncio.run(play_it(folder, port))
            except DrillError as e:
                console.print(f"[yellow]{name} left out:[/yellow] {e}")
                status = max(status, 2)
                continue
            _report(section, console)
            status = max(status, 1 if section.faults else 0)
    return status


if __name__ == "__main__":
    sys.exit(main())
