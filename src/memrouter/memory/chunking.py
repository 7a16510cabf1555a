"""Splits turns into chunks at sentence boundaries."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

# One set of characters in front, which is looked for much faster than one of three forms.
_BOUNDARY = re.compile(r"[.!?…。！？\n](?:(?<=[.!?…])[\"'”’)\]]*\s+|(?<=[。！？])|(?<=\n)\s*)")
_SPACE = re.compile(r"\s+")

Count = Callable[[str], int]


def split(text: str, limit: int, count: Count) -> list[str]:
    """Split a text into parts of at most about `limit` tokens, at sentence ends where it can.

    limit    tokens, >= 1
    count    tokens of a text
    returns  the parts in order, white space around them cut, none empty; a text that fits is
             returned whole. A sentence over the limit is split at spaces, a word at characters.
    """
    whole = text.strip()
    if not whole:
        return []
    if count(whole) <= limit:
        return [whole]
    return list(_pack(_fitting(whole, limit, count), limit))


def _pack(units: Iterator[tuple[str, int]], limit: int) -> Iterator[str]:
    held: list[str] = []
    held_tokens = 0
    for unit, tokens in units:
        if held and held_tokens + tokens > limit:
            if part := "".join(held).strip():
                yield part
            held, held_tokens = [], 0
        held.append(unit)
        held_tokens += tokens
    if part := "".join(held).strip():
        yield part


def _fitting(text: str, limit: int, count: Count) -> Iterator[tuple[str, int]]:
    for sentence in _cut(text, _BOUNDARY):
        if (tokens := count(sentence)) <= limit:
            yield sentence, tokens
            continue
        for word in _cut(sentence, _SPACE):
            if (tokens := count(word)) <= limit:
                yield word, tokens
                continue
            step = max(1, len(word) * limit // tokens)
            for at in range(0, len(word), step):
                yield (part := word[at : at + step]), min(limit, count(part))


def _cut(text: str, boundary: re.Pattern[str]) -> Iterator[str]:
    start = 0
    for match in boundary.finditer(text):
        if match.end() > start:
            yield text[start : match.end()]
            start = match.end()
    if start < len(text):
        yield text[start:]
