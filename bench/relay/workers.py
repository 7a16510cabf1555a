"""Section workers: what a second worker on a second core adds."""

from __future__ import annotations

import contextlib
from typing import Any

from .contenders import Bench, empty_data, main_vaults, memrouter
from .figures import figure, show
from .loadgen import Load, Shape
from .processes import layout, started
from .report import table
from .router import ACCOUNT_KEY, serve


def run(bench: Bench) -> Any:
    """One and two workers in turn, memory off and on, with as many clients as there may be."""
    o, clients = bench.options, max(bench.options.clients)
    prepared = main_vaults(bench) if "on-1k" in o.contenders else None
    found: list[dict[str, Any]] = []
    rows = []
    for mode in ("off", "on-1k"):
        if mode not in o.contenders:
            continue
        with contextlib.ExitStack() as stack:
            contenders = []
            for workers in (1, 2):
                name = f"{workers} workers {mode}"
                data = prepared.copy(name) if prepared and mode == "on-1k" else empty_data(name)
                cores = layout(workers).contender
                server = serve(o, name, data, bench.mock.port, cores, workers=workers)
                stack.enter_context(started(server))
                keys = prepared.keys[mode] if prepared and mode == "on-1k" else [ACCOUNT_KEY]
                contenders.append(memrouter(bench, mode, server, keys))
                server.pause()
            per_s: dict[int, list[float]] = {1: [], 2: []}
            for _ in range(o.rounds):
                for workers, who in enumerate(contenders, 1):
                    who.resume()
                    bench.run(who, Shape(), clients, seconds=0.3, cores=layout(workers))
                    load: Load = bench.run(
                        who, Shape(), clients, seconds=o.seconds, cores=layout(workers)
                    )
                    per_s[workers].append(load.requests / load.seconds)
                    who.pause()
        gain = figure(two / one for one, two in zip(per_s[1], per_s[2], strict=True))
        found.append({"contender": mode, "one": per_s[1], "two": per_s[2]})
        rows.append(
            [contenders[0].label, show(figure(per_s[1])), show(figure(per_s[2])), show(gain)]
        )
    title = f"Workers, {clients} clients, bodies of 20,000 bytes"
    if layout(2).rest <= layout(2).contender:
        title += " (too few cores: generator and mock provider share one with the second worker)"
    table(title, ["", "requests/s, one worker", "two workers", "gain"], rows)
    return found
