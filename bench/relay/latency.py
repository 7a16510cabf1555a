"""Section latency: what one client waits longer than without a router."""

from __future__ import annotations

from typing import Any

from .contenders import Bench
from .figures import show
from .loadgen import Shape
from .measure import Case, Sample, measure, over_rounds, raw
from .report import table


def p50_ms(s: Sample) -> float:
    """Median latency of one round."""
    return s.load.latency.p50 / 1e3


def p99_ms(s: Sample) -> float:
    """99th percentile of one round."""
    return s.load.latency.p99 / 1e3


def cpu_us(s: Sample) -> float:
    """CPU time of one request."""
    return s.cpu_s * 1e6


def run(bench: Bench) -> Any:
    """One client, one request after the other, at every body size."""
    cases = [Case(shape=Shape(body=body), clients=1) for body in bench.options.bodies]
    found = measure(bench, "latency", cases)
    for case, rounds in found.items():
        rows = [
            [
                who.label,
                show(over_rounds(rounds, who.name, p50_ms), 3),
                show(over_rounds(rounds, who.name, p50_ms, "direct"), 3) if who.server else "",
                show(over_rounds(rounds, who.name, p99_ms, "direct"), 3) if who.server else "",
                show(over_rounds(rounds, who.name, cpu_us), 0) if who.server else "",
            ]
            for who in bench.contenders
        ]
        table(
            f"One client, bodies of {case.shape.body:,} bytes",
            ["", "p50 ms", "added p50 ms", "added p99 ms", "CPU µs/request"],
            rows,
        )
    return raw(found)
