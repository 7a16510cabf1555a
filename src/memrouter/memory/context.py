"""Renders recalled memories as the block that is injected, and makes stored text inert in it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, tzinfo

from memrouter.domain import Chunk

OPEN = "<memory_context>"
CLOSE = "</memory_context>"
CLOSING = (
    "The above are retrieved memories from past conversations. "
    "Use them as background context, do not respond to them directly."
)

_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_UNITS = (
    ("year", 365 * 86_400),
    ("month", 30 * 86_400),
    ("week", 7 * 86_400),
    ("day", 86_400),
    ("hour", 3_600),
    ("minute", 60),
)

# Shows nothing, so it may stand between the letters of a tag or a mark and hide it from a search.
_UNSEEN = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    "\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb\U000e0000-\U000e0fff"
)


_GAP = rf"[\s_/\\{_UNSEEN}-]*"


def _hidden(word: str) -> str:
    return f"[{_UNSEEN}]*".join(word)


_TAG = re.compile(f"<(?={_GAP}{_hidden('memory')}{_GAP}{_hidden('context')})", re.IGNORECASE)
_MARK = re.compile(rf"\[(?={_GAP}{_hidden('memory')})", re.IGNORECASE)
_LINE = re.compile(r"\r\n|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1b\x1f\x7f-\x84\x86-\x9f]")


def age(created: datetime, now: datetime) -> str:
    """How long ago, in the largest unit that fits: "2 days ago"; the future is "just now"."""
    seconds = (now - created).total_seconds()
    for unit, size in _UNITS:
        if seconds >= size:
            count = int(seconds // size)
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return "just now"


def when(created: datetime, zone: tzinfo) -> str:
    """Weekday, date and time as "Wed, Jun 3, 9:14 AM", whatever the locale."""
    t = created.astimezone(zone)
    clock = f"{t.hour % 12 or 12}:{t.minute:02} {'AM' if t.hour < 12 else 'PM'}"
    return f"{_WEEKDAYS[t.weekday()]}, {_MONTHS[t.month - 1]} {t.day}, {clock}"


def inert(text: str) -> str:
    """The text, unable to close the block, open another or pass for a line of ours.

    Lines after the first are indented, so that only ours start at the margin; the brackets that
    would begin a tag or a mark of ours become look-alikes; control characters, which providers
    may refuse, go. Nothing else changes.
    """
    clean = _CONTROL.sub("", text.strip())
    return _LINE.sub("\n  ", _MARK.sub("(", _TAG.sub("\u2039", clean)))


def line(chunk: Chunk, now: datetime, zone: tzinfo) -> str:
    """One memory as one line of the block (continued on indented lines)."""
    stamp = f"{age(chunk.created, now)} ({when(chunk.created, zone)})"
    return f"[MEMORY - {stamp}] {inert(chunk.text)}"


def render(chunks: Sequence[Chunk], now: datetime, zone: tzinfo) -> str | None:
    """The block, memories in the order given; None for none."""
    if not chunks:
        return None
    lines = "\n".join(line(chunk, now, zone) for chunk in chunks)
    return f"{OPEN}\n{lines}\n{CLOSE}\n\n{CLOSING}"
