"""Section streams: time to the first byte, events a core carries, delay of each event."""

from __future__ import annotations

from typing import Any

from .contenders import Bench
from .figures import show
from .loadgen import EVENTS, Shape
from .measure import Case, Round, Sample, measure, over_rounds, ratio, raw
from .report import table


def _first_p50_ms(s: Sample) -> float:
    return s.load.first_byte.p50 / 1e3


def _first_p99_ms(s: Sample) -> float:
    return s.load.first_byte.p99 / 1e3


def _whole_p50_ms(s: Sample) -> float:
    return s.load.latency.p50 / 1e3


def _events_per_s(s: Sample) -> float:
    return s.load.events / s.load.seconds


def _events_per_cpu_s(s: Sample) -> float:
    return EVENTS / s.cpu_s if s.cpu_s else 0.0


def _event_cpu_us(s: Sample) -> float:
    return s.cpu_s * 1e6 / EVENTS


def _delay_p50_ms(s: Sample) -> float:
    return s.load.event_delay.p50 / 1e3


def _delay_p99_ms(s: Sample) -> float:
    return s.load.event_delay.p99 / 1e3


def _one_client(bench: Bench, rounds: list[Round]) -> None:
    rows = [
        [
            who.label,
            show(over_rounds(rounds, who.name, _first_p50_ms), 3),
            show(over_rounds(rounds, who.name, _first_p50_ms, "direct"), 3) if who.server else "",
            show(over_rounds(rounds, who.name, _first_p99_ms, "direct"), 3) if who.server else "",
            show(over_rounds(rounds, who.name, _whole_p50_ms)),
        ]
        for who in bench.contenders
    ]
    columns = ["", "first byte p50 ms", "added p50 ms", "added p99 ms", "whole stream p50 ms"]
    table(f"Streams of {EVENTS} events without pauses, one client", columns, rows)


def _flat_out(bench: Bench, rounds: list[Round], clients: int) -> None:
    rows = [
        [
            who.label,
            show(over_rounds(rounds, who.name, _events_per_s), 0),
            show(over_rounds(rounds, who.name, _events_per_cpu_s), 0) if who.server else "",
            show(ratio(rounds, who.name, _events_per_s, "litellm")),
            show(ratio(rounds, who.name, _events_per_s, "portkey")),
            show(over_rounds(rounds, who.name, _first_p50_ms)),
        ]
        for who in bench.contenders
    ]
    columns = ["", "events/s", "events/CPU s", "× LiteLLM", "× Portkey", "first byte p50 ms"]
    table(f"Streams without pauses, {clients} clients, one core", columns, rows)


def _paced(bench: Bench, rounds: list[Round], clients: int) -> None:
    rows = [
        [
            who.label,
            show(over_rounds(rounds, who.name, _events_per_s), 0),
            show(over_rounds(rounds, who.name, _event_cpu_us)) if who.server else "",
            show(over_rounds(rounds, who.name, _delay_p50_ms), 3),
            show(over_rounds(rounds, who.name, _delay_p99_ms), 3),
            show(over_rounds(rounds, who.name, _first_p50_ms)),
        ]
        for who in bench.contenders
    ]
    columns = ["", "events/s", "CPU µs/event", "event delay p50 ms", "event delay p99 ms"]
    table(
        f"Streams with 10 ms between events, {clients} clients",
        [*columns, "first byte p50 ms"],
        rows,
    )


def run(bench: Bench) -> Any:
    """Streams one at a time, many flat out, and many at the pace of a model."""
    many = max(bench.options.clients)
    one = Case(shape=Shape(stream=True), clients=1)
    flat = Case(shape=Shape(stream=True), clients=many)
    paced = Case(shape=Shape(stream=True, gap_ms=10), clients=many)
    found = measure(bench, "streams", [one, flat, paced])
    _one_client(bench, found[one])
    _flat_out(bench, found[flat], many)
    _paced(bench, found[paced], many)
    return raw(found)
