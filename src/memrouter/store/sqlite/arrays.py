"""Arrays with one row a chunk, as recall scores them: made of segments, sorted, merged. Pure.

What is done with every row is done by native.signals, where there is a compiler.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from memrouter.native import compiled
from memrouter.ports import Signals
from memrouter.store.sqlite import segments as packing
from memrouter.store.sqlite.segments import Segment

Rows = npt.NDArray[np.int64]
Arrays = dict[str, npt.NDArray[Any]]

NUMBERS = (("vectors", "embedded"), ("encodings", "encoded"))
"""Arrays of vectors, each with the one that says in which rows they are there."""
ROW_ARRAYS = (
    *("ids", "memories", "groups", "created", "roles", "digests"),
    *(name for pair in NUMBERS for name in pair),
)
KINDS: dict[str, type[np.generic]] = {
    **dict.fromkeys(("ids", "memories", "groups", "created"), np.int64),
    "digests": np.uint64,
    "starts": np.int64,
    "terms": np.uint32,
    **dict.fromkeys(("vectors", "encodings"), np.int8),
    "roles": np.uint8,
    **dict.fromkeys(("embedded", "encoded"), np.bool_),
}
"""The arrays as native.signals takes them, those of the largest numbers first."""
_SIZES = {name: np.dtype(kind).itemsize for name, kind in KINDS.items()}
_ALIGNED = 64
"""Where an array may begin, in bytes."""
_LARGE = 1 << 16
"""Bytes from which on arrays do not lie in the heap; see native.memory."""


@dataclass(frozen=True, slots=True)
class Makers:
    """Whose vectors a vault holds, and how many numbers each has."""

    embedder: str = ""
    dimension: int = 0
    encoder: str = ""
    encoder_dimension: int = 0

    @property
    def widths(self) -> tuple[int, int]:
        """Of vectors and encodings."""
        return self.dimension, self.encoder_dimension


def build(segments: Sequence[Segment], revision: int = 0, makers: Makers = Makers()) -> Signals:
    """Segments as arrays, in the order that Signals promises."""
    if native is None:
        return built(segments, revision, makers)
    rows = native.Rows(list(segments), _BEFORE_ALL, *makers.widths)
    arrays = room(rows.count, rows.terms, *makers.widths)
    rows.merge(_NO_ROWS.values(), arrays.values())
    return first(arrays, rows.count, rows.terms, revision, makers)


def built(segments: Sequence[Segment], revision: int = 0, makers: Makers = Makers()) -> Signals:
    """The same by numpy."""
    heads = packing.heads(segments)
    starts = np.zeros(len(heads) + 1, np.int64)
    np.cumsum(heads["terms"], out=starts[1:])
    return sorted_(
        Signals(
            revision=revision,
            ids=heads["id"].astype(np.int64),
            memories=heads["memory"].astype(np.int64),
            groups=heads["thread"].astype(np.int64),
            created=heads["created_ms"].astype(np.int64),
            roles=heads["role"].astype(np.uint8),
            digests=heads["digest"].astype(np.uint64),
            terms=packing.terms(segments),
            starts=starts,
            vectors=packing.vectors(segments, makers.dimension),
            embedded=packing.embedded(segments),
            embedder=makers.embedder,
            encodings=packing.encodings(segments, makers.encoder_dimension),
            encoded=packing.encoded(segments),
            encoder=makers.encoder,
        )
    )


def sorted_(signals: Signals) -> Signals:
    """The same rows in ascending (group, created, id)."""
    if not len(signals.ids):
        return signals
    group, time, id = (np.diff(a) for a in (signals.groups, signals.created, signals.ids))
    if ((group > 0) | (group == 0) & ((time > 0) | (time == 0) & (id > 0))).all():
        return signals
    return picked(signals, np.lexsort((signals.ids, signals.created, signals.groups)))


def picked(signals: Signals, rows: Rows) -> Signals:
    """The signals of these rows, in this order."""
    lengths = np.diff(signals.starts)[rows]
    starts = np.zeros(len(rows) + 1, np.int64)
    np.cumsum(lengths, out=starts[1:])
    source = np.arange(starts[-1]) + np.repeat(signals.starts[:-1][rows] - starts[:-1], lengths)
    arrays = {name: getattr(signals, name)[rows] for name in ROW_ARRAYS}
    return replaced(signals, terms=signals.terms[source], starts=starts, **arrays)


def joined(old: Signals, new: Signals) -> Signals:
    """The rows of both, one after the other."""
    arrays = {n: np.concatenate((getattr(old, n), getattr(new, n))) for n in ROW_ARRAYS}
    return replaced(
        new,
        terms=np.concatenate((old.terms, new.terms)),
        starts=np.concatenate((old.starts, new.starts[1:] + old.starts[-1])),
        **arrays,
    )


def places(old: Signals, new: Signals) -> Rows:
    """In front of which old row each new one belongs; new ids are larger than all old ones."""
    first = np.searchsorted(old.groups, new.groups, side="left")
    last = np.searchsorted(old.groups, new.groups, side="right")
    return np.array(
        [
            low + np.searchsorted(old.created[low:high], created, side="right")
            for low, high, created in zip(first, last, new.created, strict=True)
        ],
        np.int64,
    )


def interleaved(
    target: npt.NDArray[Any],
    old: npt.NDArray[Any],
    new: npt.NDArray[Any],
    at: Rows,
    starts: Rows | None,
) -> None:
    """Write `old` with pieces of `new` put in at the places `at`, ascending.

    starts  where in `new` each piece starts, and the end; None for pieces of one row
    """
    read = written = 0
    for number, place in enumerate(at.tolist()):
        size = place - read
        target[written : written + size] = old[read:place]
        read, written = place, written + size
        begin, end = (
            (number, number + 1) if starts is None else (starts[number], starts[number + 1])
        )
        target[written : written + end - begin] = new[begin:end]
        written += end - begin
    target[written : written + len(old) - read] = old[read:]


def widths(signals: Signals) -> tuple[int, int]:
    """Of vectors and encodings."""
    return signals.vectors.shape[1], signals.encodings.shape[1]


def spare(count: int, total: int) -> tuple[int, int]:
    """Rows and terms for which there is room, if there are so many."""
    return count + count // 16 + 32, total + total // 16 + 1_024


def room(rows: int, terms: int, dimension: int, encoder_dimension: int) -> Arrays:
    """Arrays to be filled, all in one piece of memory: a vault's go at once."""
    shapes: dict[str, tuple[int, ...]] = {
        "starts": (rows + 1,),
        "terms": (terms,),
        "vectors": (rows, dimension),
        "encodings": (rows, encoder_dimension),
    }
    places: list[tuple[str, tuple[int, ...], int]] = []
    size = 0
    for name in KINDS:
        shape = shapes.get(name, (rows,))
        places.append((name, shape, size))
        size += math.prod(shape) * _SIZES[name]
        size += -size % _ALIGNED
    piece = np.empty(size, np.uint8) if _memory is None or size < _LARGE else _memory.Piece(size)
    return {name: np.ndarray(shape, KINDS[name], piece, offset) for name, shape, offset in places}


def first(arrays: Arrays, rows: int, terms: int, revision: int, makers: Makers) -> Signals:
    """The first rows of some arrays."""
    cut: dict[str, Any] = {name: arrays[name][:rows] for name in ROW_ARRAYS}
    return Signals(
        revision=revision,
        embedder=makers.embedder,
        encoder=makers.encoder,
        terms=arrays["terms"][:terms],
        starts=arrays["starts"][: rows + 1],
        **cut,
    )


def with_room(array: npt.NDArray[Any], rows: int) -> npt.NDArray[Any]:
    """A copy that may become as long as `rows`."""
    wide = np.empty((rows, *array.shape[1:]), array.dtype)
    wide[: len(array)] = array
    return wide


def replaced(signals: Signals, **changes: Any) -> Signals:
    """Other arrays in the place of some, and no lists."""
    names = (*ROW_ARRAYS, "terms", "starts", "revision", "embedder", "encoder")
    return Signals(**{name: changes.get(name, getattr(signals, name)) for name in names})


_BEFORE_ALL = -(1 << 63)
_memory: Any = compiled("memory")
_NO_ROWS: Arrays = {**room(0, 0, 0, 0), "starts": np.zeros(1, np.int64)}
native: Any = compiled("signals") if sys.byteorder == "little" else None
