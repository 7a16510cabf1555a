"""Medians and spreads over rounds, and how they are written. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One figure over the rounds: its median and its extremes."""

    median: float
    low: float
    high: float

    def show(self, digits: int | None = None) -> str:
        """`median (low-high)`, in `digits` decimals or as many as the size asks for."""
        if digits is None:
            digits = 0 if abs(self.median) >= 100 else 1 if abs(self.median) >= 10 else 2
        low, high = f"{self.low:.{digits}f}", f"{self.high:.{digits}f}"
        return f"{self.median:,.{digits}f} [dim]({low}–{high})[/dim]"


def figure(values: Iterable[float]) -> Figure | None:
    """The figure over rounds; None if there was none."""
    known = list(values)
    if not known:
        return None
    return Figure(median=statistics.median(known), low=min(known), high=max(known))


def show(value: Figure | None, digits: int | None = None) -> str:
    """A figure for a table cell."""
    return "–" if value is None else value.show(digits)


def rotated(items: Sequence[T], by: int) -> list[T]:
    """`items` starting with another one each round, so that none always runs first."""
    by %= max(len(items), 1)
    return [*items[by:], *items[:by]]
