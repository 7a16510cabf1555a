"""Makes inputs: seeds from the tests' data, changed by bytes, by tokens and by splicing (pure)."""

from __future__ import annotations

import contextlib
import json
import random
import re
from collections.abc import Callable, Sequence

from . import trees

_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[A-Za-z_]+|-?[0-9.]+|\s+|.', re.DOTALL)
_ODD: tuple[bytes, ...] = (
    *(b"\r", b"\n", b"\r\n", b"\n\n", b"\r\r", b"\x00", b"\xef\xbb\xbf", b"\xff", b"\xe2\x80\xa8"),
    *(b"data:", b"data: ", b"event: ", b":", b"[DONE]", b"null", b"true", b"[]", b"{}", b'""'),
    *(b"1e400", b"-0", b"12345678901234567890123", b"1E-400", b"NaN", b"Infinity", b"0.1"),
    *(b'"\\ud800"', b'"\\udc00\\ud800"', b"\\", b"\\u0000", b'"', b"{", b"}", b"[", b"]", b","),
    *(b'"role"', b'"content"', b'"user"', b'"assistant"', b'"text"', b'"memory"', b'"model"'),
    *(b"</memory_context>", b"<memory_context>", b"[MEMORY - ", b"<system-reminder>", b"</"),
    *(b"%2f", b"%3a", b"%00", b"%25", b"@", b"//", b"/..", b"?", b"#", b"&", b"=", b"\\"),
    *(b"userId=", b"apiKey=", b"mk_", b"mk-", b":read", b"Bearer ", b"x-memory-key:", b";", b" "),
    *("é".encode(), "İ".encode(), "\u202e".encode(), "\u200b".encode(), "ß".encode()),
    *("日本".encode(), "👩\u200d👧".encode(), "\U000e0061".encode(), "𝕊".encode(), "＜".encode()),
)


class Mutator:
    """An endless supply of inputs from a few seeds."""

    def __init__(self, seeds: Sequence[bytes], dice: random.Random, longest: int = 20_000) -> None:
        self._seeds = [seed[:longest] for seed in seeds] or [b""]
        self._dice = dice
        self._longest = longest
        self._trees = [seed for seed in self._seeds if _is_json(seed)]
        self._ways: tuple[Callable[[bytes], bytes], ...] = (
            *(self._flip, self._insert, self._delete, self._repeat, self._splice),
            *(self._swap, self._replace, self._drop, self._nest),
        )

    def next(self) -> bytes:
        """The next input."""
        if self._trees and self._dice.random() < 0.6:
            return self._grown()
        data = self._dice.choice(self._seeds)
        for _ in range(self._dice.choice((1, 1, 2, 3, 5, 8))):
            data = self._dice.choice(self._ways)(data)[: self._longest]
        if self._dice.random() < 0.01:  # what is found further out is a seed, too
            self._seeds[self._dice.randrange(len(self._seeds))] = data
        return data

    def _grown(self) -> bytes:
        tree = json.loads(self._dice.choice(self._trees))
        for _ in range(self._dice.choice((1, 2, 3, 6, 12))):
            tree = trees.changed(tree, self._dice)
        return trees.written(tree, self._dice)[: self._longest]

    def _place(self, data: bytes) -> int:
        return self._dice.randint(0, len(data))

    def _span(self, data: bytes) -> tuple[int, int]:
        start = self._place(data)
        return start, min(len(data), start + int(self._dice.expovariate(1 / 16)) + 1)

    def _flip(self, data: bytes) -> bytes:
        if not data:
            return b"x"
        at = self._dice.randrange(len(data))
        return data[:at] + bytes([data[at] ^ (1 << self._dice.randrange(8))]) + data[at + 1 :]

    def _insert(self, data: bytes) -> bytes:
        at = self._place(data)
        return data[:at] + self._dice.choice(_ODD) + data[at:]

    def _delete(self, data: bytes) -> bytes:
        start, end = self._span(data)
        return data[:start] + data[end:]

    def _repeat(self, data: bytes) -> bytes:
        start, end = self._span(data)
        return data[:end] + data[start:end] * self._dice.choice((1, 2, 30, 300)) + data[end:]

    def _splice(self, data: bytes) -> bytes:
        other = self._dice.choice(self._seeds)
        start, end = sorted((self._place(other), self._place(other)))
        at = self._place(data)
        return data[:at] + other[start:end] + data[at:]

    def _swap(self, data: bytes) -> bytes:
        parts = _TOKEN.findall(data[:4_000])
        if len(parts) < 2:
            return data
        i, j = self._dice.randrange(len(parts)), self._dice.randrange(len(parts))
        parts[i], parts[j] = parts[j], parts[i]
        return b"".join(parts) + data[4_000:]

    def _replace(self, data: bytes) -> bytes:
        parts = _TOKEN.findall(data[:4_000])
        if not parts:
            return data
        parts[self._dice.randrange(len(parts))] = self._dice.choice(_ODD)
        return b"".join(parts) + data[4_000:]

    def _drop(self, data: bytes) -> bytes:
        parts = _TOKEN.findall(data[:4_000])
        if not parts:
            return data
        del parts[self._dice.randrange(len(parts))]
        return b"".join(parts) + data[4_000:]

    def _nest(self, data: bytes) -> bytes:
        opening, closing = self._dice.choice(((b"[", b"]"), (b'{"x":', b"}"), (b'"', b'"')))
        depth = self._dice.choice((1, 1, 3, 1_500))
        start, end = sorted((self._place(data), self._place(data)))
        return data[:start] + opening * depth + data[start:end] + closing * depth + data[end:]


def _is_json(data: bytes) -> bool:
    with contextlib.suppress(ValueError):
        json.loads(data)
        return True
    return False
