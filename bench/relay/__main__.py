"""`python -m bench.relay`: sets up what is missing, measures, prints tables, writes JSON."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable
from typing import Any

from rich.markup import escape

from . import cold, latency, many, memory, setup, streams, throughput, upload, workers
from .contenders import Bench, capacity, open_bench, start_all
from .options import BUILD, BenchError, Options, parse
from .report import Report, console
from .router import MissingError

_SIDE_BY_SIDE: dict[str, Callable[[Bench], Any]] = {
    "latency": latency.run,
    "throughput": throughput.run,
    "streams": streams.run,
}
_ALONE: dict[str, Callable[[Bench], Any]] = {
    "memory": memory.run,
    "workers": workers.run,
    "cold": cold.run,
    "upload": upload.run,
    "many": many.run,
}
_NEED_ROUTER = ("memory", "workers", "upload", "many")


def _wanted(options: Options, sections: dict[str, Callable[[Bench], Any]]) -> list[str]:
    return [
        name
        for name in sections
        if name in options.sections and (options.router or name not in _NEED_ROUTER)
    ]


def _measure(options: Options) -> list[str]:
    """Run all sections; returns the complaints."""
    begin = time.monotonic()
    with contextlib.ExitStack() as stack:
        bench = open_bench(options, stack)
        report = Report(options, setup.versions(options.contenders))
        report.add("capacity", capacity(bench), bench.complaints)
        side_by_side = _wanted(options, _SIDE_BY_SIDE)
        if side_by_side:
            with console.status("starting the contenders"):
                start_all(bench)
        for name in side_by_side:
            report.add(name, _SIDE_BY_SIDE[name](bench), bench.complaints)
    with contextlib.ExitStack() as stack:
        complaints = bench.complaints
        for name in _wanted(options, _ALONE):
            bench = open_bench(options, stack)
            bench.complaints = complaints
            try:
                report.add(name, _ALONE[name](bench), complaints)
            except MissingError as e:
                complaints.append(f"section {name} left out: {e}")
    minutes = (time.monotonic() - begin) / 60
    console.print(f"{minutes:.1f} minutes; all figures in {options.json}")
    return complaints


def main() -> int:
    """0 if every answer of every contender was as it must be, 1 if not, 2 if it broke off."""
    try:
        options = parse(sys.argv[1:])
        BUILD.mkdir(exist_ok=True)
        complaints = _measure(options)
    except BenchError as e:
        console.print(f"[bold red]stopped:[/bold red] {escape(str(e))}")
        return 2
    except KeyboardInterrupt:
        return 130
    for complaint in complaints:
        console.print(f"[bold red]wrong:[/bold red] {escape(complaint)}")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
