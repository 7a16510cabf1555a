"""Numbers of things, as a sentence says them (pure)."""

from __future__ import annotations


def counted(number: int, one: str, many: str = "") -> str:
    """`1 memory`, `2,000 memories`.

    many  the word for any other number; by default `one` with an s
    """
    return f"{number:,} {one if number == 1 else many or one + 's'}"
