"""SQL by name: each `-- name: xyz` section of a file in store/sql is one statement."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

_MARK = "-- name: "


@cache
def named(file: str) -> dict[str, str]:
    """Statements of store/sql/{file}.sql by name; comments between mark and statement are cut."""
    found: dict[str, str] = {}
    for section in script(file).split(_MARK)[1:]:
        name, _, rest = section.partition("\n")
        lines = [line for line in rest.splitlines() if not line.lstrip().startswith("--")]
        found[name.strip()] = "\n".join(lines).strip().rstrip(";")
    return found


@cache
def script(file: str) -> str:
    """The whole of store/sql/{file}.sql."""
    return (files("memrouter.store") / "sql" / f"{file}.sql").read_text("utf-8")
