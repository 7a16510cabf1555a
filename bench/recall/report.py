"""Tables on the terminal, a progress bar, and one JSON file."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from .measure import CUTOFFS, Figures
from .options import Options

T = TypeVar("T")
console = Console(width=None if os.isatty(1) else 130)


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows; the first column is text, the others figures."""
    t = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    for n, column in enumerate(columns):
        t.add_column(column, justify="right" if n else "left", no_wrap=not n)
    for row in rows:
        t.add_row(*(cell if isinstance(cell, str) else _number(cell) for cell in row))
    console.print(t)


def _number(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.1f}"
    return "–" if value is None else f"{value:,}" if isinstance(value, int) else str(value)


RANKED = (
    "",
    "questions",
    *(f"recall@{k}" for k in CUTOFFS),
    "all@10",
    "NDCG@10",
    "MRR",
)


def ranked(name: str, found: Figures, deepest: int | None = None) -> list[object]:
    """A row of a table with RANKED columns; deeper cut-offs than can be told are left out."""
    recalls = [found.recall[k] if deepest is None or k <= deepest else None for k in CUTOFFS]
    return [name, found.questions, *recalls, found.all_at_10, found.ndcg_at_10, found.mrr]


@contextmanager
def progress(what: str, total: int) -> Any:
    """A progress bar; call what it yields after each step."""
    bar = Progress(
        TextColumn(what),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    with bar:
        task = bar.add_task(what, total=total)
        yield lambda steps=1: bar.advance(task, steps)


class Report:
    """The JSON file: written anew after each section, so that a broken run leaves what it has."""

    def __init__(self, options: Options) -> None:
        self._path = options.json
        given = {k: str(v) if isinstance(v, Path) else v for k, v in asdict(options).items()}
        for name in ("account_key", "json"):
            del given[name]
        given["locomo"] = options.locomo.name
        self._content: dict[str, Any] = {"machine": machine(), "options": given, "sections": {}}

    def add(self, section: str, content: Mapping[str, Any]) -> None:
        """Keep a section's figures."""
        self._content["sections"][section] = _plain(content)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.write_text(json.dumps(self._content, indent=1, ensure_ascii=False) + "\n")


def _plain(value: Any) -> Any:
    if isinstance(value, Figures):
        return asdict(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    return value


def machine() -> dict[str, Any]:
    """What the figures were measured on and with."""
    git = ["git", "rev-parse", "--short", "HEAD"]
    try:
        commit = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()
    except OSError:
        commit = ""
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit,
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "load_average": os.getloadavg(),
    }
