"""The tables of the bench."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.recall.report import console, table

from .cache import ALL

Figures = Mapping[str, Any]


def evidence(found: Mapping[str, Figures]) -> None:
    """By length of conversation."""
    columns = (
        "tokens", "asked", "sent", "block", "saved %", "all evidence %",
        "window of same size %", "last 20k %", "plan p50 ms", "p99", "CPU p50",
        "whole p50", "first ms", "planned", "CPU ms", "held ms", "stored s", "vectors s",
    )  # fmt: skip
    keys = (
        "questions", "sent", "block", "saved", "evidence", "same_size", "last_20k",
        "plan_p50_ms", "plan_p99_ms", "plan_cpu_p50_ms",
        "whole_p50_ms", "first_plan_ms", "first_planned", "first_cpu_ms", "first_held_ms",
        "first_stored_s", "vectors_s",
    )  # fmt: skip
    table("What is sent, and what is in it", columns, _rows(found, keys))


def curve(title: str, found: Mapping[str, Figures]) -> None:
    """By settings."""
    columns = (
        "recent / block / recall",
        "sent",
        "saved %",
        "all evidence %",
        "window of same size %",
    )
    table(title, columns, _rows(found, ("sent", "saved", "evidence", "same_size")))


def rules() -> None:
    """What the simulated caches do."""
    columns = ("provider", "prefix from", "steps of", "read", "else", "kept for s")
    rows = [
        [
            r.name,
            r.minimum,
            r.step or f"messages, {r.lookback} back",
            f"{r.read:g} ×",
            f"{r.write:g} ×",
            round(r.ttl_s),
        ]
        for r in ALL
    ]
    table("The simulated prompt caches", columns, rows)


def bills(found: Mapping[str, Mapping[str, Figures]]) -> None:
    """By conversation and way, tokens of a whole conversation."""
    columns = ("tokens", "requests", "sent a request", "evidence %", *(
        f"{r.name} {what}" for r in ALL for what in ("full", "%", "cost", "%")
    ))  # fmt: skip
    for name, by_way in found.items():
        off = next(iter(by_way.values()))
        table(name, columns, [_bill_row(way, own, off) for way, own in by_way.items()])


def _bill_row(way: str, own: Figures, off: Figures) -> list[object]:
    row: list[object] = [
        way,
        round(own["requests"]),
        round(own["tokens"] / own["requests"]),
        own["evidence"],
    ]
    for rules in ALL:
        for key in ("full", "cost"):
            value, base = own[rules.name][key], off[rules.name][key]
            row += [f"{value / 1_000:.0f}k", f"{100 * value / base:.0f}"]
    return row


def _rows(found: Mapping[str, Figures], keys: Sequence[str]) -> list[list[object]]:
    return [[name, *(_cell(key, f[key]) for key in keys)] for name, f in found.items()]


def _cell(key: str, value: float) -> object:
    return round(value) if key in ("questions", "given", "sent", "block") else float(value)


__all__ = ["bills", "console", "curve", "evidence", "rules"]
