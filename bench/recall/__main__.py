"""`python -m bench.recall`: measures, prints tables, writes JSON."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

from rich.markup import escape

from . import ablations, latency, others, quality, sections
from .local import Local
from .measure import figures
from .options import BenchError, Options, parse
from .over_http import Remote
from .report import RANKED, Report, console, ranked, table
from .subject import Subject

Section = Callable[[sections.Run], Awaitable[dict[str, Any]]]
ANYWHERE: dict[str, Section] = {
    "locomo": sections.on_locomo,
    "assistant": sections.on_assistant,
    "budgets": sections.budgets,
    "silence": sections.silence,
    "time": sections.over_time,
    "languages": sections.in_languages,
    "longmemeval": sections.on_longmemeval,
}
IN_PROCESS: dict[str, Section] = {
    "encoder": quality.run,
    "ablations": ablations.run,
    "latency": latency.run,
}


async def peers(run: sections.Run) -> dict[str, Any]:
    """memrouter and others side by side on the same questions."""
    sets = {"LoCoMo": run.locomo(), "assistant": run.assistant()}
    rows: dict[str, list[list[object]]] = {name: [] for name in sets}
    result: dict[str, Any] = {}

    async def measure(subject: Subject, deepest: int | None = None) -> None:
        own = sections.Run(options=run.options, subject=subject)
        for name, histories in sets.items():
            found = figures(await sections.rank(own, histories, f"{subject.name}, {name}"))
            rows[name].append(ranked(subject.name, found, deepest))
            result[f"{name}: {subject.name}"] = found

    await measure(run.subject)
    for peer in run.options.peers:
        subject: Any = {"bm25": others.Bm25, "dense": others.Dense}.get(peer)
        subject = subject() if subject else await others.start(peer)
        try:
            await measure(subject, others.DEEPEST.get(peer))
        finally:
            await subject.close()
    for name, found_rows in rows.items():
        table(f"Side by side on {name}", RANKED, found_rows)
    return result


async def measure_all(options: Options) -> None:
    """Every section that was asked for."""
    begin = time.monotonic()
    report = Report(options)
    subject: Any = Remote(options.http, options.account_key) if options.http else Local()
    run = sections.Run(options=options, subject=subject)
    available = ANYWHERE if options.http else ANYWHERE | IN_PROCESS
    try:
        for name, section in (available | {"peers": peers}).items():
            if name in options.sections and (found := await section(run)):
                report.add(name, found)
    finally:
        await subject.close()
    minutes = (time.monotonic() - begin) / 60
    console.print(f"{minutes:.1f} minutes; all figures in {options.json}")


def main() -> int:
    """0 if all was measured, 2 if it broke off."""
    try:
        asyncio.run(measure_all(parse(sys.argv[1:])))
    except BenchError as e:
        console.print(f"[bold red]stopped:[/bold red] {escape(str(e))}")
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
