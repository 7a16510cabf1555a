"""Words that expressions need, so that one is tried only where it can be found.

An expression takes microseconds to find nothing; whether a text has one of some words is a bit.
"""

from __future__ import annotations

from collections.abc import Iterable

ANY = -1
"""Of a text of which it is not known what words rule out."""

_bits: dict[str, int] = {}
_sets: list[frozenset[str]] = []


def one_of(words: Iterable[str]) -> int:
    """The bit of a text that has one of these words, lower-case."""
    bit = 1 << len(_sets)
    _sets.append(frozenset(words))
    for word in _sets[-1]:
        _bits[word] = _bits.get(word, 0) | bit
    return bit


def of(word: str) -> int:
    """The bits of all sets that a word is in."""
    return _bits.get(word, 0)
