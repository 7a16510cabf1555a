"""Sums of token vectors by the pieces that a text's spaces make: most were seen before.

A vocabulary that joins nothing across a space lets each piece be tokenized alone. Looking one up
takes a twentieth of tokenizing it.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from memrouter.domain import Vector, Vectors

# Words as whoever asks splits them: runs of a script without spaces, and runs of all else.
_PAIRED = (
    r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
    r"\uac00-\ud7a3\U00020000-\U0003ffff"
)
_WORD = re.compile(rf"[{_PAIRED}]+|[^\W{_PAIRED}]+")
_PIECE = re.compile(" +[^ ]*")
_KEPT = 12_288
"""Sums that are kept, 1 KB each: of the words of a few dozen users."""
_LONGEST = 32
"""Characters of a piece that is kept; what is longer does not come again."""

_Words = tuple[tuple[str, int], ...]
"""The words of a piece, lower-case, and the place of the sum of each one's tokens."""


class _Sums:
    """Sums of vectors by piece. What is in it stays as it is: it is read without a lock."""

    def __init__(self, room: int, dimension: int) -> None:
        self.pieces: dict[str, tuple[int, _Words]] = {}
        """Piece → the place of its sum, and its words."""
        self.table = np.empty((room, dimension), np.float32)
        self._used = 0

    def room(self, count: int) -> bool:
        return self._used + count <= len(self.table)

    def add(self, piece: str, words: Sequence[str], sums: Vectors) -> None:
        """sums  of the piece and of each of its words; of the piece alone if it is one word"""
        first = self._used
        self._used += len(sums)
        self.table[first : self._used] = sums
        places = range(self._used - len(words), self._used)
        self.pieces[piece] = first, tuple(zip(words, places, strict=True))


class Pieces:
    """Several threads may use it."""

    def __init__(self, tokenizer: Any, table: npt.NDArray[np.float16]) -> None:
        """What texts are made of.

        tokenizer  puts a space in front of a text, and joins nothing across spaces
        table      a vector a token, shape (tokens, dimension)
        """
        self._tokenizer = tokenizer
        self._vectors = table
        self._sums = _Sums(_KEPT, table.shape[1])
        self._lock = threading.Lock()

    def total(self, text: str) -> Vector:
        """The sum of the vectors of a text's tokens; zeros where it has none."""
        sums, pieces = self._holding(text)
        found: Vector = sums.table.take([sums.pieces[p][0] for p in pieces], axis=0).sum(axis=0)
        return found

    def both(self, text: str, rarity: Mapping[str, float]) -> tuple[Vector, Vector]:
        """That sum, and one in which each word counts by `rarity[word]`, all else not at all."""
        sums, pieces = self._holding(text)
        known = [sums.pieces[piece] for piece in pieces]
        words = [word for _, inside in known for word in inside]
        weights = np.array([rarity.get(word, 0.0) for word, _ in words], np.float32)
        return (
            sums.table.take([place for place, _ in known], axis=0).sum(axis=0),
            weights @ sums.table.take([place for _, place in words], axis=0),
        )

    def _holding(self, text: str) -> tuple[_Sums, list[str]]:
        """The pieces of a text, and sums that hold them all."""
        pieces: list[str] = _PIECE.findall(" " + text.rstrip(" "))
        sums = self._sums
        missing = [piece for piece in pieces if piece not in sums.pieces]
        if not missing:
            return sums, pieces
        made = {piece: self._made(piece) for piece in missing}
        room = sum(len(rows) for _, rows in made.values())
        if room > _KEPT // 4 or max(map(len, made)) > _LONGEST:
            return self._passing(pieces, made), pieces
        with self._lock:
            if self._sums.room(room):
                for piece, (words, rows) in made.items():
                    if piece not in self._sums.pieces:
                        self._sums.add(piece, words, rows)
                if self._sums is sums:
                    return sums, pieces
            else:
                self._sums = _Sums(_KEPT, self._vectors.shape[1])
        return self._holding(text)

    def _passing(self, pieces: Sequence[str], made: dict[str, tuple[list[str], Vectors]]) -> _Sums:
        """Sums for one text alone: its pieces would drive others out, and not come again."""
        for piece in pieces:
            if piece not in made:
                made[piece] = self._made(piece)
        sums = _Sums(sum(len(rows) for _, rows in made.values()), self._vectors.shape[1])
        for piece, (words, rows) in made.items():
            sums.add(piece, words, rows)
        return sums

    def _made(self, piece: str) -> tuple[list[str], Vectors]:
        """The words of a piece, and the sums of vectors for `_Sums.add`."""
        text = piece[1:]
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        words = [(m.start(), m.end(), m[0].casefold()) for m in _WORD.finditer(text)]
        vectors = self._vectors[np.asarray(encoding.ids, np.intp)].astype(np.float32)
        sums, at = np.zeros((len(words) + 1, vectors.shape[1]), np.float32), 0
        inside, whose = list[int](), list[int]()
        for number, (start, end) in enumerate(encoding.offsets):
            while at < len(words) and words[at][1] <= start:
                at += 1
            if at < len(words) and words[at][0] < end:
                inside.append(number)
                whose.append(at + 1)
        sums[0] = vectors.sum(axis=0)
        if len(words) == 1 and len(inside) == len(vectors):
            return [words[0][2]], sums[:1]
        np.add.at(sums, whose, vectors[inside])
        return [word for _, _, word in words], sums
