"""SQL by name: one `-- name:` section a statement, in the .sql files of this package."""

from __future__ import annotations

from functools import cache
from importlib.resources import files


@cache
def statements(file: str) -> dict[str, str]:
    """Name → statement of one file under `sql/`."""
    text = files("memrouter.store").joinpath("sql", f"{file}.sql").read_text("utf-8")
    sections = text.split("-- name: ")[1:]
    named = (section.partition("\n") for section in sections)
    return {name.strip(): body.strip() for name, _, body in named}
