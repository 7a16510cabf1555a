"""What each part of the recipe is worth: recall without it, or with other numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from memrouter.embed.static import StaticEmbedder
from memrouter.memory import analysis, authors, question, ranking, scoring, vocabulary
from memrouter.ports import Asked

from .local import Local
from .measure import Figures, figures
from .report import table
from .sections import Run, rank


@dataclass(frozen=True, slots=True)
class Ablation:
    """One change; `stored` where it changes what is stored, so that vaults are made anew."""

    name: str
    module: ModuleType
    attribute: str
    value: Any
    stored: bool = False


class _Unweighted(StaticEmbedder):
    """The default embedder, all words of a question counting the same."""

    async def query(self, text: str, rarity: Any) -> Asked:
        plain = (await super().query(text, rarity)).plain
        return Asked(weighted=plain, plain=plain)


def _nobody(*_: Any) -> None:
    return None


def _unchanged(signals: Any, threads: Any, ranked: Any, *_: Any, **__: Any) -> Any:
    return ranked


def _accents_only(word: str) -> str:
    return word


W = ranking.Weights
ABLATIONS = (
    Ablation("without authors", authors, "asked_for", _nobody),
    Ablation("names in front only", authors, "_addressed", _nobody),
    Ablation("without session lift", ranking, "SESSION", 0.0),
    Ablation("session lift .2", ranking, "SESSION", 0.2),
    Ablation("session lift .6", ranking, "SESSION", 0.6),
    Ablation("without vectors", ranking, "STATIC", W(static=0.0)),
    Ablation("without words", ranking, "STATIC", W(static=1.0)),
    Ablation("vectors .4", ranking, "STATIC", W(static=0.4)),
    Ablation("vectors .6", ranking, "STATIC", W(static=0.6)),
    Ablation("window of one turn", ranking, "WINDOW", (1.0,)),
    Ablation("window of ±1", ranking, "WINDOW", (1.0, 0.5)),
    Ablation("window of ±3", ranking, "WINDOW", (1.0, 0.5, 0.25, 0.125)),
    Ablation("k1 1.2", ranking, "K1", 1.2),
    Ablation("b .75", ranking, "B", 0.75),
    Ablation("no background", ranking, "BACKGROUND", 0),
    Ablation("background 300", ranking, "BACKGROUND", 300),
    Ablation("author .15", ranking, "AUTHOR", 0.15),
    Ablation("author .3", ranking, "AUTHOR", 0.3),
    Ablation("without newest first", ranking, "newest_first", _unchanged),
    Ablation("without freshness", scoring, "RECENT", 0.0),
    Ablation("without times", question, "period", _nobody),
    Ablation("without stemming", analysis, "stem", _accents_only, stored=True),
    Ablation("function words kept", vocabulary, "FUNCTION_WORDS", frozenset(), stored=True),
    Ablation("without the words of the day", analysis, "day", lambda _: "", stored=True),
)


@contextmanager
def changed(ablation: Ablation) -> Iterator[None]:
    """The product with one thing changed."""
    before = getattr(ablation.module, ablation.attribute)
    setattr(ablation.module, ablation.attribute, ablation.value)
    try:
        yield
    finally:
        setattr(ablation.module, ablation.attribute, before)


async def run(base: Run) -> dict[str, Any]:
    """A row for each: LoCoMo named, LoCoMo with roles only, assistant."""
    sets: dict[str, Callable[[Run], Any]] = {
        "LoCoMo": lambda r: r.locomo(),
        "roles only": lambda r: r.locomo("roles"),
        "assistant": lambda r: r.assistant(),
    }
    result: dict[str, dict[str, Figures]] = {}

    async def measured(name: str, on: Run) -> None:
        result[name] = {s: figures(await rank(on, load(on), name)) for s, load in sets.items()}

    await measured("as it is", base)
    for ablation in ABLATIONS:
        with changed(ablation):
            if ablation.stored:
                await _afresh(base, ablation.name, Local(), measured)
            else:
                await measured(ablation.name, base)
    name = "all words of a question alike"
    await _afresh(base, name, Local(_Unweighted()), measured)
    columns = ("", *(f"{s} @{k}" for s in sets for k in (5, 10, 20, 50)))
    rows = [
        [name, *(found[s].recall[k] for s in sets for k in (5, 10, 20, 50))]
        for name, found in result.items()
    ]
    table("Ablations: recall", columns, rows)
    return result


async def _afresh(base: Run, name: str, subject: Local, measured: Any) -> None:
    try:
        await measured(name, Run(options=base.options, subject=subject))
    finally:
        await subject.close()
