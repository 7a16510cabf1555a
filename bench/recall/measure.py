"""Figures of rankings: what part of the evidence is found, and how high it stands."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import log2

CUTOFFS = (5, 10, 20, 50)
NEVER = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """Where the evidence of one question stands in a ranking."""

    category: str
    places: tuple[int, ...]
    """From 0, ascending; NEVER for what is not in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Means over questions, in percent."""

    questions: int
    recall: dict[int, float]
    """Cut-off → share of a question's evidence above it."""
    any_at: dict[int, float]
    """Cut-off → questions with any evidence above it."""
    all_at_10: float
    ndcg_at_10: float
    mrr: float


def placed(category: str, ranking: Iterable[int], evidence: Sequence[int]) -> Placed:
    """Where `evidence` stands in a ranking; what is ranked twice counts once, where it is best."""
    place: dict[int, int] = {}
    for item in ranking:
        place.setdefault(item, len(place))
    return Placed(category=category, places=tuple(sorted(place.get(e, NEVER) for e in evidence)))


def figures(rows: Sequence[Placed]) -> Figures:
    """Figures over questions that have evidence."""
    share = 100 / max(len(rows), 1)
    return Figures(
        questions=len(rows),
        recall={
            k: share * sum(sum(p < k for p in row.places) / len(row.places) for row in rows)
            for k in CUTOFFS
        },
        any_at={k: share * sum(row.places[0] < k for row in rows) for k in CUTOFFS},
        all_at_10=share * sum(row.places[-1] < 10 for row in rows),
        ndcg_at_10=share * sum(_ndcg(row.places) for row in rows),
        mrr=share * sum(1 / (1 + row.places[0]) for row in rows),
    )


def by_category(rows: Sequence[Placed]) -> dict[str, Figures]:
    """Figures of all rows under "all", and of each category."""
    names = sorted({row.category for row in rows})
    found = {"all": figures(rows)}
    return found | {n: figures([r for r in rows if r.category == n]) for n in names}


def _ndcg(places: Sequence[int]) -> float:
    ideal = sum(1 / log2(i + 2) for i in range(min(len(places), 10)))
    return sum(1 / log2(p + 2) for p in places if p < 10) / ideal
