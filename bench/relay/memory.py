"""Section memory: resident memory of one worker, and whether it stays flat under load."""

from __future__ import annotations

import time
from typing import Any

from .contenders import Bench, main_vaults, memrouter
from .loadgen import Shape
from .processes import started
from .report import table
from .router import serve

_SLICE_S = 10.0


def run(bench: Bench) -> Any:
    """Start on the prepared vaults, use each of them once, then load for some minutes."""
    o = bench.options
    prepared = main_vaults(bench)
    data = prepared.copy("memory")
    with started(serve(o, "memory", data, bench.mock.port, bench.cores.contender)) as server:
        who = memrouter(bench, "on-1k", server, prepared.keys["on-1k"])
        steps: list[tuple[str, float, float]] = []

        def note(what: str) -> None:
            used = server.usage()
            steps.append((what, used.rss_mb, used.peak_mb))

        server.settle(2)
        note("started")
        bench.run(who, Shape(), 8, each=1)
        server.settle(30)
        note(f"{o.users:,} vaults of {o.memories:,} used once")
        begin = time.monotonic()
        while (minute := (time.monotonic() - begin) / 60) < o.minutes:
            bench.run(who, Shape(), 8, seconds=min(_SLICE_S, o.minutes * 60 - minute * 60))
            note(f"{(time.monotonic() - begin) / 60:.1f} minutes of load, 8 clients")
    some = [*steps[:2], *steps[2 :: max(1, len(steps) // 8)]]
    shown = some if steps[-1] in some else [*some, steps[-1]]
    rows = [[what, f"{rss:,.0f}", f"{peak:,.0f}"] for what, rss, peak in shown]
    table("Memory of one worker", ["", "RSS MB", "peak MB"], rows)
    return [{"after": what, "rss_mb": rss, "peak_mb": peak} for what, rss, peak in steps]
