"""Sums of token vectors by the pieces that a text's spaces make: most were seen before.

A vocabulary that joins nothing across a space lets each piece be tokenized alone. Looking one up
takes a twentieth of tokenizing it.
"""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from memrouter.domain import Vector, Vectors
from memrouter.native import compiled

# Words as whoever asks splits them: runs of a script without spaces, and runs of all else.
_PAIRED = (
    r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
    r"\uac00-\ud7a3\U00020000-\U0003ffff"
)
_WORD = re.compile(rf"[{_PAIRED}]+|[^\W{_PAIRED}]+")
_PIECE = re.compile(" +[^ ]*")
_SPACE = "▁"
"""How a vocabulary writes the space in front of a text."""
_KEPT = 12_288
"""Sums that are kept, 1 KB each: of the words of a few dozen users."""
_LONGEST = 32
"""Characters of a piece that is kept; what is longer does not come again."""

_Piece = tuple[Any, ...]
"""The place of a piece's sum; then each of its words, lower-case, and the place of that one's sum.
Not nested: each object that a look-up touches is likely to come from memory, not from a cache."""


class Adder:
    """Adds up the rows of the pieces that a text is made of. Compiled: native.pieces.Adder."""

    def __init__(self, table: Vectors, pieces: dict[str, _Piece]) -> None:
        self._table = table
        self._pieces = pieces

    def total(self, text: str, plain: Vector) -> bool:
        """Make `plain` the sum of a text; False, and anything in it, if a piece is not held."""
        try:
            places = [self._pieces[piece][0] for piece in _PIECE.findall(text)]
        except KeyError:
            return False
        self._table.take(places, axis=0).sum(axis=0, out=plain)
        return True

    def both(self, text: str, rarity: dict[str, float], found: Vectors) -> bool:
        """The same for the first row of `found`; in the second each word counts by its rarity."""
        if not self.total(text, found[0]):
            return False
        held = [self._pieces[piece] for piece in _PIECE.findall(text)]
        weights = [rarity.get(word, 0.0) for piece in held for word in piece[1::2]]
        places = [place for piece in held for place in piece[2::2]]
        found[1] = np.array(weights, np.float32) @ self._table.take(places, axis=0)
        return True


def to_length_1(rows: Vectors) -> list[float]:
    """Divide rows by their lengths, which are returned; zeros stay. Compiled: native.pieces."""
    lengths = [math.sqrt(row.dot(row)) for row in rows]
    rows /= np.array([[length or 1.0] for length in lengths], np.float32)
    return lengths


def add_tokens(
    ids: Sequence[int],
    offsets: Sequence[tuple[int, int]],
    words: Sequence[tuple[int, int]],
    table: npt.NDArray[np.uint16],
    sums: Vectors,
) -> bool:
    """Sums of the vectors of a piece's tokens. Compiled: native.pieces.add_tokens.

    offsets  where each token starts and ends
    words    where each word starts and ends
    table    a vector a token, bits of float16, shape (tokens, dimension)
    sums     of all, then of each word; zeros, shape (1 + words, dimension)
    returns  whether each token is part of a word
    """
    vectors = table.take(ids, axis=0).view(np.float16).astype(np.float32)
    inside, at = True, 0
    for vector, (start, end) in zip(vectors, offsets, strict=True):
        sums[0] += vector
        while at < len(words) and words[at][1] <= start:
            at += 1
        if at < len(words) and words[at][0] < end:
            sums[at + 1] += vector
        else:
            inside = False
    return inside


class _Sums:
    """Sums of vectors by piece. What is in it stays as it is: it is read without a lock."""

    def __init__(self, room: int, dimension: int) -> None:
        self.pieces: dict[str, _Piece] = {}
        self._table = np.empty((room, dimension), np.float32)
        self._used = 0
        self.adder: Adder = _adder(self._table, self.pieces)

    def room(self, count: int) -> bool:
        return self._used + count <= len(self._table)

    def add(self, piece: str, words: Sequence[str], sums: Vectors) -> None:
        """sums  of the piece and of each of its words; of the piece alone if it is one word"""
        places = list(range(self._used, self._used + len(sums)))
        self._table[self._used : self._used + len(sums)] = sums
        self._used += len(sums)
        pairs = zip(words, places[len(sums) - len(words) :], strict=True)
        self.pieces[piece] = places[0], *chain.from_iterable(pairs)


class Pieces:
    """Several threads may use it."""

    def __init__(self, tokenizer: Any, table: npt.NDArray[np.float16]) -> None:
        """What texts are made of.

        tokenizer  puts a space in front of a text, and joins nothing across spaces
        table      a vector a token, shape (tokens, dimension)
        """
        self._tokenizer = tokenizer
        self._digits = _digits(tokenizer)
        self._bits = np.ascontiguousarray(table).view(np.uint16)
        self._dimension = table.shape[1]
        self._sums = _Sums(_KEPT, self._dimension)
        self._lock = threading.Lock()

    def totals(self, texts: Sequence[str]) -> Vectors:
        """The sum of the vectors of each text's tokens; zeros where it has none."""
        found = np.empty((len(texts), self._dimension), np.float32)
        for text, row in zip(texts, found, strict=True):
            whole, sums = _whole(text), self._sums
            while not sums.adder.total(whole, row):
                sums = self._holding(whole)
        return found

    def both(self, text: str, rarity: dict[str, float]) -> Vectors:
        """That sum of a text; then one in which words count by `rarity[word]`, all else not."""
        found, whole, sums = np.empty((2, self._dimension), np.float32), _whole(text), self._sums
        while not sums.adder.both(whole, rarity, found):
            sums = self._holding(whole)
        return found

    def _holding(self, whole: str) -> _Sums:
        """Sums that hold all pieces of a text."""
        pieces: list[str] = _PIECE.findall(whole)
        sums = self._sums
        missing = [piece for piece in pieces if piece not in sums.pieces]
        made = {piece: self._made(piece) for piece in missing}
        room = sum(len(rows) for _, rows in made.values())
        if room > _KEPT // 4 or max(map(len, made), default=0) > _LONGEST:
            return self._passing(pieces, made)
        with self._lock:
            if self._sums.room(room):
                for piece, (words, rows) in made.items():
                    if piece not in self._sums.pieces:
                        self._sums.add(piece, words, rows)
            else:
                self._sums = _Sums(_KEPT, self._dimension)
            return self._sums

    def _passing(self, pieces: Sequence[str], made: dict[str, tuple[list[str], Vectors]]) -> _Sums:
        """Sums for one text alone: its pieces would drive others out, and not come again."""
        for piece in pieces:
            if piece not in made:
                made[piece] = self._made(piece)
        sums = _Sums(sum(len(rows) for _, rows in made.values()), self._dimension)
        for piece, (words, rows) in made.items():
            sums.add(piece, words, rows)
        return sums

    def _made(self, piece: str) -> tuple[list[str], Vectors]:
        """The words of a piece, and the sums of vectors for `_Sums.add`."""
        text = piece[1:]
        words, places = list[str](), list[tuple[int, int]]()
        if self._digits and text.isascii() and text.isdecimal():
            ids = [self._digits[10], *(self._digits[ord(digit) - 48] for digit in text)]
            offsets = [(0, 1), *((at, at + 1) for at in range(len(text)))]
            words.append(text)
            places.append((0, len(text)))
        else:
            encoding = self._tokenizer.encode(text, add_special_tokens=False)
            ids, offsets = encoding.ids, encoding.offsets
            for match in _WORD.finditer(text):
                words.append(match[0].casefold())
                places.append(match.span())
        sums = np.zeros((len(words) + 1, self._dimension), np.float32)
        inside = _add_tokens(ids, offsets, places, self._bits, sums)
        return words, sums[:1] if inside and len(words) == 1 else sums


def _digits(tokenizer: Any) -> list[int]:
    """The tokens of the ten digits and of the space in front, if numbers are made of no others.

    Numbers are the most usual pieces that were not seen before.
    """
    ten = "0123456789"
    parts = [tokenizer.token_to_id(part) for part in (*ten, _SPACE)]
    joined = any(tokenizer.token_to_id(a + b) is not None for a in _SPACE + ten for b in ten)
    return [] if joined or None in parts else parts


def _whole(text: str) -> str:
    """A text of which each piece begins with a space."""
    return " " + text.rstrip(" ")


_native: Any = compiled("pieces")
_adder: Any = _native.Adder if _native else Adder
unit: Any = _native.to_length_1 if _native else to_length_1
_add_tokens: Any = _native.add_tokens if _native else add_tokens
