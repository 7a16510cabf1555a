"""Section many: do vaults that lie on disk slow down those in use?"""

from __future__ import annotations

import contextlib
from typing import Any

from .contenders import Bench, memrouter
from .figures import show
from .latency import cpu_us, p50_ms
from .loadgen import Shape
from .measure import Case, Round, over_rounds, ratio, sample
from .processes import started
from .report import table
from .router import serve
from .throughput import per_s, rss_mb
from .vaults import Group, prepare

_ACTIVE_MEMORIES = 100


def run(bench: Bench) -> Any:
    """The same active vaults, alone and among many more that are never used."""
    o = bench.options
    active = Group(name="active", vaults=o.users, memories=_ACTIVE_MEMORIES)
    rest = Group(name="rest", vaults=max(o.many - o.users, 0), memories=3)
    cases = [Case(shape=Shape(), clients=clients) for clients in (1, max(o.clients))]
    rounds: dict[Case, list[Round]] = {case: [] for case in cases}
    with contextlib.ExitStack() as stack:
        contenders = {}
        for name, groups in (("few", [active]), ("many", [active, rest])):
            prepared = prepare(o, groups, bench.mock.port)
            data = prepared.copy(name)
            server = serve(o, name, data, bench.mock.port, bench.cores.contender)
            stack.enter_context(started(server))
            who = memrouter(bench, "on-1k", server, prepared.keys["active"])
            bench.run(who, Shape(), 8, each=1)
            who.pause()
            contenders[name] = who
        for _ in range(o.rounds):
            for case in cases:
                rounds[case].append({n: sample(bench, w, case) for n, w in contenders.items()})
    labels = {"few": f"{o.users:,} vaults", "many": f"{o.many:,} vaults on disk, {o.users:,} used"}
    for case, done in rounds.items():
        rows = [
            [
                label,
                show(over_rounds(done, name, per_s), 0),
                show(ratio(done, name, per_s, "few")),
                show(over_rounds(done, name, p50_ms)),
                show(over_rounds(done, name, cpu_us), 0),
                show(ratio(done, name, cpu_us, "few")),
                show(over_rounds(done, name, rss_mb), 0),
            ]
            for name, label in labels.items()
        ]
        columns = ["", "requests/s", "ratio", "p50 ms", "CPU µs/request", "ratio", "RSS MB"]
        table(f"Vaults of {_ACTIVE_MEMORIES} memories, {case.clients} clients", columns, rows)
    return [
        {
            "clients": case.clients,
            "vaults": name,
            "requests_per_s": [per_s(r[name]) for r in done],
            "cpu_us": [cpu_us(r[name]) for r in done],
        }
        for case, done in rounds.items()
        for name in labels
    ]
