"""Section throughput: how many requests one core carries."""

from __future__ import annotations

from typing import Any

from .contenders import Bench
from .figures import show
from .latency import cpu_us, p50_ms, p99_ms
from .loadgen import Shape
from .measure import Case, Sample, measure, over_rounds, ratio, raw
from .report import table


def per_s(s: Sample) -> float:
    """Requests a second by the clock."""
    return s.load.requests / s.load.seconds


def per_cpu_s(s: Sample) -> float:
    """Requests a second of CPU time: what a core to itself would carry."""
    return 1 / s.cpu_s if s.cpu_s else 0.0


def rss_mb(s: Sample) -> float:
    """Resident memory after the round."""
    return s.rss_mb


def run(bench: Bench) -> Any:
    """Several clients at every body size; the contender has one core."""
    cases = [
        Case(shape=Shape(body=body), clients=clients)
        for body in bench.options.bodies
        for clients in bench.options.clients
        if clients > 1
    ]
    found = measure(bench, "throughput", cases)
    for case, rounds in found.items():
        rows = [
            [
                who.label,
                show(over_rounds(rounds, who.name, per_s), 0),
                show(over_rounds(rounds, who.name, per_cpu_s), 0) if who.server else "",
                show(ratio(rounds, who.name, per_s, "litellm")),
                show(ratio(rounds, who.name, per_s, "portkey")),
                show(over_rounds(rounds, who.name, cpu_us), 0) if who.server else "",
                show(over_rounds(rounds, who.name, p50_ms)),
                show(over_rounds(rounds, who.name, p99_ms)),
                show(over_rounds(rounds, who.name, rss_mb), 0) if who.server else "",
            ]
            for who in bench.contenders
        ]
        columns = ["", "requests/s", "requests/CPU s", "× LiteLLM", "× Portkey", "CPU µs/request"]
        table(
            f"{case.clients} clients, bodies of {case.shape.body:,} bytes, one core",
            [*columns, "p50 ms", "p99 ms", "RSS MB"],
            rows,
        )
    return raw(found)
