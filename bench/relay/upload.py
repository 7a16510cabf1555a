"""Section upload: a whole history at once; answered, and fully embedded."""

from __future__ import annotations

import time
from typing import Any

from . import texts
from .contenders import Bench, empty_data
from .figures import figure, show
from .processes import started
from .report import table
from .router import api, serve


def run(bench: Bench) -> Any:
    """Upload into a new vault each round; then wait until its backlog is empty."""
    o = bench.options
    now_ms = int(time.time() * 1000)
    lines = list(texts.memories(o.upload_lines, 5, now_ms))
    rounds: list[dict[str, float]] = []
    server = serve(o, "upload", empty_data("upload"), bench.mock.port, bench.cores.contender)
    with started(server), api(server.port) as client:
        for number in range(o.rounds):
            key = client.mint(f"upload-{number}")
            before, begin = server.usage(), time.perf_counter()
            stored = client.upload(key, lines)
            answered = time.perf_counter()
            client.wait_embedded(key, 600)
            embedded = time.perf_counter()
            if stored != len(lines):
                bench.complaints.append(f"upload: {stored} of {len(lines)} lines stored")
            rounds.append(
                {
                    "answered_s": answered - begin,
                    "embedded_s": embedded - begin,
                    "cpu_s": server.usage().since(before),
                    "rss_mb": server.usage().rss_mb,
                }
            )
    columns = {"answered_s": "answered s", "embedded_s": "embedded s", "cpu_s": "CPU s"}
    columns["rss_mb"] = "RSS MB after"
    table(
        f"Upload of {len(lines):,} lines",
        ["", *columns.values()],
        [["memrouter", *(show(figure(r[c] for r in rounds)) for c in columns)]],
    )
    return rounds
