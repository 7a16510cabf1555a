"""Renders recalled memories as the block that is injected, and makes stored text inert in it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, tzinfo
from itertools import pairwise
from typing import Any
from unicodedata import normalize

from memrouter.domain import Chunk
from memrouter.memory import passages
from memrouter.native import compiled

OPEN = "<memory_context>"
CLOSE = "</memory_context>"
CLOSING = (
    "The above are retrieved memories from past conversations. "
    "Use them as background context, do not respond to them directly."
)
GAP = "\u2026"
"""In front of a memory, where something was said between it and the one above."""

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

# Shows nothing, or on top of what is before it, so it may stand between the letters of a tag or a
# mark and hide it from a search.
_UNSEEN = (
    "\u00ad\u0300-\u036f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    "\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb\U000e0000-\U000e0fff"
)
# Letters of other scripts that look like those of our tag.
_ALIKE = {
    "m": "\u043c\u217f",
    "e": "\u0435\u0451\u04bd\u212f\u03b5\u00e9\u00e8\u00ea\u00eb",
    "o": "\u043e\u03bf\u0585\u2134\u00f3\u00f2\u00f4\u00f60",
    "r": "\u0433\u1d26",
    "y": "\u0443\u04af\u03b3\u00fd\u00ff",
    "c": "\u0441\u03f2\u217d\u00e7",
    "n": "\u043f\u0578\u057c\u00f1",
    "t": "\u0442\u03c4",
    "x": "\u0445\u03c7\u00d7\u2179",
}
_STYLED: dict[str, str] = {}
"""The same letters in full width, of mathematics and in circles."""
for _point in (*range(0xFF21, 0xFF5B), *range(0x1D400, 0x1D6A4), *range(0x24B6, 0x24EA)):
    _plain = normalize("NFKC", chr(_point)).lower()
    _STYLED[_plain] = _STYLED.get(_plain, "") + chr(_point)

_GAP = rf"[\s_/\\{_UNSEEN}-]*"


def _hidden(word: str) -> str:
    alike = (c + _ALIKE.get(c, "") for c in word)
    # Both cases by themselves: a search that folds case takes several times as long.
    letters = (f"[{a}{a.upper()}{_STYLED.get(a[0], '')}]" for a in alike)
    return f"[{_UNSEEN}]*".join(letters)


# What chat templates write around turns: servers of open models may read it in a text, too.
_TURN = r"[|\uff5c][\w\u2581]+[|\uff5c]>|/?(?:s|bos|eos|start_of_turn|end_of_turn)>|</?SYS>>"
_BRACKET = re.compile("[<\uff1c\ufe64[\uff3b](?![0-9ac-df-hj-ln-rt-zAC-DF-HJ-LN-RT-Z])")
"""Those that may be forged, found fast: by the letters that none of them begins with."""
_FORGED = re.compile(
    rf"[<\uff1c\ufe64](?:{_GAP}{_hidden('memory')}{_GAP}{_hidden('context')}|{_TURN})"
    rf"|[\[\uff3b](?:{_GAP}{_hidden('memory')}|/?INST\])"
)
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


def mark(created: datetime, now: datetime, zone: tzinfo) -> str:
    """What stands in front of a memory: "[MEMORY - 2 days ago (Wed, Jun 3, 9:14 AM)] "."""
    if _native is None:
        return mark_by_format(created, now, zone)
    made: str = _native.mark(created, now, zone, _UNITS, _WEEKDAYS, _MONTHS)
    return made


def mark_by_format(created: datetime, now: datetime, zone: tzinfo) -> str:
    """The same, not compiled."""
    return f"[MEMORY - {age(created, now)} ({when(created, zone)})] "


def inert(text: str) -> str:
    """The text, unable to close the block, open another or pass for a line of ours.

    Lines after the first are indented twice: ours start at the margin or, under a mark that stands
    for several memories, are indented once. The brackets that
    would begin a tag or a mark of ours, or a turn of a chat template, become look-alikes; control
    characters, which providers may refuse, go. Nothing else changes.
    """
    if _native is not None and _native.plain(text):
        return text.strip().replace("\n", "\n    ")
    return inert_by_search(text)


def inert_by_search(text: str) -> str:
    """The same of any text."""
    shown = text.isprintable()  # then nothing of it is a control character or ends a line
    clean = text.strip() if shown else _CONTROL.sub("", text).strip()
    if not clean.isascii() or "<" in clean or "[" in clean:
        clean = _BRACKET.sub(_look_alike, clean)
    return clean if shown else _LINE.sub("\n    ", clean)


_native: Any = compiled("context")


def _look_alike(bracket: re.Match[str]) -> str:
    if not _FORGED.match(bracket.string, bracket.start()):
        return bracket[0]
    return "(" if bracket[0] in "[\uff3b" else "\u2039"


def passage(chunks: Sequence[Chunk], now: datetime, zone: tzinfo) -> str:
    """Memories of one moment, in order, under the mark of the first: a line each, continued on
    lines that are indented twice.
    """
    first = chunks[0]
    lines = [mark(first.created, now, zone) + inert(first.text)]
    for before, chunk in pairwise(chunks):
        gap = "" if passages.follows(chunk, before) else f"{GAP} "
        lines.append(f"  {gap}{inert(chunk.text)}")
    return "\n".join(lines)


def render(chunks: Sequence[Chunk], now: datetime, zone: tzinfo) -> str | None:
    """The block, memories in the order given, those of one moment together; None for none."""
    if not chunks:
        return None
    lines = "\n".join(passage(p, now, zone) for p in passages.sorted_into(chunks))
    return f"{OPEN}\n{lines}\n{CLOSE}\n\n{CLOSING}"
