"""Time windows: how recent a memory is."""

from __future__ import annotations

from datetime import datetime, timedelta

NAMES = ("hot", "working", "longterm")
HOT = timedelta(hours=4)
WORKING = timedelta(days=3)


def window(created: datetime, now: datetime) -> str:
    """`hot` under 4 hours, `working` under 3 days, `longterm` beyond."""
    age = now - created
    return "hot" if age < HOT else "working" if age < WORKING else "longterm"
