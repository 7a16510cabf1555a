"""What drills share where they begin and where they end: a folder, tables, faults."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

_MOST_FAULTS = 20


@contextlib.contextmanager
def folder(name: str, console: Console, *, keep: bool = False) -> Iterator[Path]:
    """A folder for a drill of this name, removed in the end unless it is to be kept."""
    made = Path(tempfile.mkdtemp(prefix=f"drill-{name}-"))
    try:
        yield made
    finally:
        if keep:
            console.print(f"data in {made}")
        else:
            shutil.rmtree(made, ignore_errors=True)


def table(title: str, columns: Iterable[str], words: Collection[str] = ()) -> Table:
    """An empty table of numbers; `words` are the columns that hold words."""
    made = Table(title=title)
    for name in columns:
        made.add_column(name, justify="left" if name in words else "right")
    return made


def show_counts(title: str, rows: Iterable[tuple[str, object]], console: Console) -> None:
    """Show how often what was seen, a row each."""
    shown = table(title, ("what", "count"), ("what",))
    for what, count in rows:
        shown.add_row(escape(what), str(count))
    console.print(shown)


def show_faults(faults: Sequence[str], console: Console) -> None:
    """Show the first of the faults."""
    for fault in faults[:_MOST_FAULTS]:
        console.print(fault, style="red", markup=False)
