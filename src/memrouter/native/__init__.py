"""What takes most of a request's time, compiled. Where it could not be, the rooms do it in Python.

Each module stands for one of a room's, which says what is computed and why, and computes the same
where there is no compiler: what is here may be faster, and nothing else.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any

MODULES = ("context", "memory", "pieces", "ranking", "records", "signals", "text", "turns")


def compiled(name: str) -> Any:
    """A module of this package, or None where it was not compiled."""
    whole = f"{__name__}.{name}"
    return import_module(whole) if find_spec(whole) else None
