"""Requests that a client makes for its own housekeeping: neither recalled for nor stored."""

from __future__ import annotations

from collections.abc import Sequence

from memrouter.domain import Turn

_LAST_USER_STARTS = (
    # Open WebUI: titles, tags, follow-ups, queries for search and retrieval
    "### Task:\n",
)


def is_chore(turns: Sequence[Turn], system: str) -> bool:
    """Whether the turns are a client's housekeeping."""
    last = next((t.text for t in reversed(turns) if t.role == "user" and t.text), "")
    return last.lstrip().startswith(_LAST_USER_STARTS)
