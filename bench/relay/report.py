"""Tables on the terminal and one JSON file."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from .options import Options

console = Console(width=None if os.isatty(1) else 165)


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows; the first column is text, the others figures."""
    t = Table(box=box.SIMPLE_HEAD)
    for i, column in enumerate(columns):
        t.add_column(column, justify="right" if i else "left", no_wrap=not i)
    for row in rows:
        t.add_row(*row)
    console.print(f"[bold]{title}[/bold]")
    console.print(t)


def _output(*argv: str) -> str:
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=20)
    except OSError:
        return ""
    return (done.stdout or done.stderr).strip()


def machine() -> dict[str, Any]:
    """What the figures were measured on and with."""
    cpu = ""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            cpu = line.partition(":")[2].strip()
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _output("git", "rev-parse", "--short", "HEAD"),
        "cpu": cpu,
        "cores": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_average": os.getloadavg(),
    }


class Report:
    """The JSON file: written anew after each section, so that a broken run leaves what it has."""

    def __init__(self, options: Options, versions: dict[str, str]) -> None:
        self._path = options.json
        shown = {k: str(v) if isinstance(v, Path) else v for k, v in asdict(options).items()}
        shown["memrouter"] = " ".join(options.memrouter[1:])
        del shown["json"]
        self._content: dict[str, Any] = {
            "machine": {**machine(), **versions},
            "options": shown,
            "sections": {},
            "complaints": [],
        }

    def add(self, section: str, content: Any, complaints: Sequence[str]) -> None:
        """Keep a section's figures."""
        self._content["sections"][section] = content
        self._content["complaints"] = list(complaints)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.write_text(json.dumps(self._content, indent=1) + "\n")
