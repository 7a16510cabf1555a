"""Rows of what recall scores, many packed into one: reading a row each would cost ten times more.

Pure. A segment is six byte strings: `heads` (one record a chunk), `terms` (hashes of all chunks,
one after the other), `embedded` (a byte a chunk) and `vectors` (empty as long as there are none),
and of a sentence encoder `encoded` and `encodings` (both empty as long as there are none).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

FULL = 256
"""Rows of a segment that is not merged any more."""
MANY = 32
"""How many smaller ones a session may have before they are merged."""

HEAD = np.dtype(
    [
        ("id", "<i8"),
        ("memory", "<i8"),
        ("created_ms", "<i8"),
        ("digest", "<u8"),
        ("thread", "<i4"),
        ("terms", "<u4"),  # how many
        ("role", "u1"),
    ]
)

_RECORD = struct.Struct("<qqqQiIB")
"""The same for one record: numpy takes 5 µs to begin with."""

Heads = npt.NDArray[np.void]


class Segment(NamedTuple):
    """Some chunks of one session, ascending by id."""

    embedded: bytes
    heads: bytes
    terms: bytes
    vectors: bytes
    encoded: bytes = b""
    encodings: bytes = b""

    @property
    def size(self) -> int:
        """How many chunks."""
        return len(self.embedded)


def heads(segments: Sequence[Segment]) -> Heads:
    """The records of all chunks, in the order of the segments."""
    return np.frombuffer(b"".join(s.heads for s in segments), HEAD)


def embedded(segments: Sequence[Segment]) -> npt.NDArray[np.bool_]:
    """Which chunks have a vector."""
    return np.frombuffer(b"".join(s.embedded for s in segments), np.bool_)


def terms(segments: Sequence[Segment]) -> npt.NDArray[np.uint32]:
    """The hashed terms of all chunks, one after the other."""
    joined = np.frombuffer(b"".join(s.terms for s in segments), np.dtype("<u4"))
    return joined.astype(np.uint32, copy=False)


def vectors(segments: Sequence[Segment], dimension: int) -> npt.NDArray[np.int8]:
    """The vectors of all chunks, zeros where there is none."""
    return _numbers([(s.vectors, s.size) for s in segments], dimension)


def encoded(segments: Sequence[Segment]) -> npt.NDArray[np.bool_]:
    """Which chunks have an encoding."""
    return np.frombuffer(b"".join(s.encoded or bytes(s.size) for s in segments), np.bool_)


def encodings(segments: Sequence[Segment], dimension: int) -> npt.NDArray[np.int8]:
    """The encodings of all chunks, zeros where there is none."""
    return _numbers([(s.encodings, s.size) for s in segments], dimension)


def _numbers(parts: Sequence[tuple[bytes, int]], dimension: int) -> npt.NDArray[np.int8]:
    joined = b"".join(numbers or bytes(size * dimension) for numbers, size in parts)
    rows = sum(size for _, size in parts)
    return np.frombuffer(joined, np.int8).reshape(rows, dimension)


def _dimension(segments: Sequence[Segment]) -> int:
    """Of the encodings; 0 where there are none."""
    return max((len(s.encodings) // s.size for s in segments if s.size), default=0)


def packed(
    rows: Sequence[tuple[int, ...]],
    hashed: Sequence[bytes],
    quantised: npt.NDArray[np.int8] | None,
) -> list[Segment]:
    """New chunks as segments of at most FULL rows; all embedded, or none.

    rows  what HEAD names of each
    """
    found = []
    for at in range(0, len(rows), FULL):
        part = rows[at : at + FULL]
        found.append(
            Segment(
                embedded=bytes([quantised is not None]) * len(part),
                heads=b"".join([_RECORD.pack(*row) for row in part]),
                terms=b"".join(hashed[at : at + FULL]),
                vectors=b"" if quantised is None else quantised[at : at + FULL].tobytes(),
            )
        )
    return found


def merged(segments: Sequence[Segment], dimension: int) -> list[Segment]:
    """The same rows in as few segments as may be."""
    records, flags = heads(segments), embedded(segments)
    ends = np.concatenate((np.zeros(1, np.int64), np.cumsum(records["terms"], dtype=np.int64)))
    hashed, numbers = terms(segments), vectors(segments, dimension)
    done, codes = encoded(segments), encodings(segments, _dimension(segments))
    found = []
    for at in range(0, len(records), FULL):
        to = min(at + FULL, len(records))
        found.append(
            Segment(
                embedded=flags[at:to].tobytes(),
                heads=records[at:to].tobytes(),
                terms=hashed[ends[at] : ends[to]].tobytes(),
                vectors=numbers[at:to].tobytes() if flags[at:to].any() else b"",
                encoded=done[at:to].tobytes() if done[at:to].any() else b"",
                encodings=codes[at:to].tobytes() if done[at:to].any() else b"",
            )
        )
    return found


def without(segment: Segment, ids: set[int], dimension: int) -> Segment:
    """A segment less some chunks; it may be empty then."""
    records = heads([segment])
    keep = ~np.isin(records["id"], sorted(ids))
    ends = np.cumsum(records["terms"], dtype=np.int64)
    hashed = np.split(terms([segment]), ends[:-1]) if len(records) else []
    return Segment(
        embedded=embedded([segment])[keep].tobytes(),
        heads=records[keep].tobytes(),
        terms=b"".join(part.tobytes() for part, stays in zip(hashed, keep, strict=True) if stays),
        vectors=vectors([segment], dimension)[keep].tobytes() if segment.vectors else b"",
        encoded=encoded([segment])[keep].tobytes() if segment.encoded else b"",
        encodings=encodings([segment], _dimension([segment]))[keep].tobytes(),
    )


def with_vectors(
    segment: Segment, ids: npt.NDArray[np.int64], quantised: npt.NDArray[np.int8]
) -> Segment:
    """A segment whose chunks of these ids, ascending, have these vectors; others' are ignored."""
    numbers = vectors([segment], quantised.shape[1]).copy()
    flags = embedded([segment]).copy()
    _put(segment, numbers, flags, ids, quantised)
    return segment._replace(embedded=flags.tobytes(), vectors=numbers.tobytes())


def with_encodings(
    segment: Segment, ids: npt.NDArray[np.int64], quantised: npt.NDArray[np.int8]
) -> Segment:
    """The same with encodings; those of another dimension are forgotten."""
    dimension = quantised.shape[1]
    kept = segment if _dimension([segment]) == dimension else segment._replace(encoded=b"")
    numbers = encodings([kept] if kept.encoded else [kept._replace(encodings=b"")], dimension)
    numbers, flags = numbers.copy(), encoded([kept]).copy()
    _put(segment, numbers, flags, ids, quantised)
    return segment._replace(encoded=flags.tobytes(), encodings=numbers.tobytes())


def _put(
    segment: Segment,
    numbers: npt.NDArray[np.int8],
    flags: npt.NDArray[np.bool_],
    ids: npt.NDArray[np.int64],
    quantised: npt.NDArray[np.int8],
) -> None:
    """Write what came for the chunks of a segment over what it has; `ids` ascending."""
    own = heads([segment])["id"]
    places = np.searchsorted(ids, own)
    hits = np.flatnonzero(places < len(ids))
    hits = hits[ids[places[hits]] == own[hits]]
    numbers[hits] = quantised[places[hits]]
    flags[hits] = True


def with_terms(segment: Segment, hashed: Sequence[bytes]) -> Segment:
    """A segment whose chunks have these hashed terms, one byte string each."""
    records = heads([segment]).copy()
    records["terms"] = [len(part) // 4 for part in hashed]
    return segment._replace(heads=records.tobytes(), terms=b"".join(hashed))
