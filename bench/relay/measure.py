"""Interleaved rounds: every contender in every round, in another order each time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from .contenders import Bench, Contender
from .figures import Figure, figure, rotated
from .loadgen import Load, Shape
from .report import console


@dataclass(frozen=True, kw_only=True)
class Case:
    """What is asked of every contender."""

    shape: Shape
    clients: int


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One contender in one round."""

    load: Load
    cpu_s: float  # per request, what it did afterwards in the background included
    rss_mb: float


Round = dict[str, Sample]  # by the contender's name


def sample(bench: Bench, who: Contender, case: Case) -> Sample:
    """Measure once; the contender runs only meanwhile."""
    seconds = bench.options.seconds
    who.resume()
    before = who.server.usage() if who.server else None
    warm = bench.run(who, case.shape, case.clients, seconds=min(0.3, seconds / 2))
    load = bench.run(who, case.shape, case.clients, seconds=seconds)
    cpu_s = rss_mb = 0.0
    who.pause()
    if who.server and before:
        after = who.server.usage()
        cpu_s = after.since(before) / (warm.requests + load.requests)
        rss_mb = after.rss_mb
    return Sample(load=load, cpu_s=cpu_s, rss_mb=rss_mb)


def measure(bench: Bench, title: str, cases: Sequence[Case]) -> dict[Case, list[Round]]:
    """All rounds of all cases."""
    found: dict[Case, list[Round]] = {case: [] for case in cases}
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        total = len(cases) * bench.options.rounds * len(bench.contenders)
        task = progress.add_task(title, total=total)
        for number in range(bench.options.rounds):
            for case in cases:
                one: Round = {}
                for who in rotated(bench.contenders, number):
                    one[who.name] = sample(bench, who, case)
                    progress.advance(task)
                found[case].append(one)
    return found


def over_rounds(
    rounds: Sequence[Round], name: str, value: Callable[[Sample], float], base: str | None = None
) -> Figure | None:
    """A figure of contender `name`; with `base`, less the base's value in the same round."""
    if any(name not in r for r in rounds):
        return None
    return figure(value(r[name]) - (value(r[base]) if base else 0) for r in rounds)


def ratio(
    rounds: Sequence[Round], name: str, value: Callable[[Sample], float], base: str
) -> Figure | None:
    """A contender's value over the base's in the same round; None without that base."""
    if any(name not in r or base not in r for r in rounds):
        return None
    return figure(value(r[name]) / value(r[base]) for r in rounds)


def raw(found: dict[Case, list[Round]]) -> list[dict[str, Any]]:
    """Everything that was measured, for the JSON file."""
    return [
        {
            **asdict(case.shape),
            "clients": case.clients,
            "contender": name,
            "rounds": [asdict(r[name]) for r in rounds],
        }
        for case, rounds in found.items()
        for name in rounds[0]
    ]
