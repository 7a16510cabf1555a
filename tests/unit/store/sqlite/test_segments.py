from __future__ import annotations

import numpy as np
import pytest

from memrouter.store.sqlite.segments import (
    FULL,
    HEAD,
    Segment,
    embedded,
    heads,
    merged,
    packed,
    terms,
    vectors,
    with_vectors,
    without,
)


def made(*ids: int, embed: bool = True) -> list[Segment]:
    """Segments of chunks with these ids: chunk n has n % 4 terms and the vector (n % 100, 1)."""
    rows = np.zeros(len(ids), HEAD)
    rows["id"], rows["terms"] = ids, [id % 4 for id in ids]
    hashed = [np.full(id % 4, id, "<u4").tobytes() for id in ids]
    numbers = np.array([(id % 100, 1) for id in ids], np.int8).reshape(len(ids), 2)
    return packed([tuple(row) for row in rows.tolist()], hashed, numbers if embed else None)


def read(segments: list[Segment]) -> dict[int, tuple[list[int], list[int] | None]]:
    """Chunk id → terms, vector."""
    rows, flags = heads(segments), embedded(segments)
    ends = np.cumsum(rows["terms"])
    hashed = np.split(terms(segments), ends[:-1])
    numbers = vectors(segments, 2)
    return {
        int(id): (part.tolist(), vector.tolist() if flag else None)
        for id, part, vector, flag in zip(rows["id"], hashed, numbers, flags, strict=True)
    }


def expected(*ids: int, embed: bool = True) -> dict[int, tuple[list[int], list[int] | None]]:
    return {id: ([id] * (id % 4), [id % 100, 1] if embed else None) for id in ids}


@pytest.mark.parametrize("count", [1, FULL - 1, FULL, FULL + 1, 3 * FULL])
def test_rows_are_packed_and_come_back(count: int) -> None:
    ids = range(1, count + 1)
    segments = made(*ids)
    assert [s.size for s in segments] == [min(FULL, count - at) for at in range(0, count, FULL)]
    assert read(segments) == expected(*ids)
    assert read(made(*ids, embed=False)) == expected(*ids, embed=False)


def test_segments_are_merged_with_and_without_vectors() -> None:
    parts = [*made(*range(1, 200)), *made(*range(200, 300), embed=False), *made(*range(300, 600))]
    whole = merged(parts, 2)
    assert [s.size for s in whole] == [256, 256, 87]
    assert read(whole) == {
        **expected(*range(1, 200)),
        **expected(*range(200, 300), embed=False),
        **expected(*range(300, 600)),
    }
    assert [bool(s.vectors) for s in merged(made(*range(1, 9), embed=False), 2)] == [False]


def test_chunks_are_taken_out() -> None:
    (segment,) = made(3, 5, 7, 9)
    assert read([without(segment, {5, 9, 11}, 2)]) == expected(3, 7)
    assert without(segment, {3, 5, 7, 9}, 2).size == 0
    (bare,) = made(3, 5, embed=False)
    assert read([without(bare, {3}, 2)]) == expected(5, embed=False)


def test_vectors_are_filled_in_for_the_chunks_that_are_there() -> None:
    (segment,) = made(3, 5, 7, embed=False)
    ids = np.array([1, 3, 4, 7, 9])
    numbers = np.array([(id, 1) for id in ids], np.int8)
    filled = with_vectors(segment, ids, numbers)
    assert read([filled]) == {**expected(3, 7), **expected(5, embed=False)}
    assert read([with_vectors(filled, np.array([5]), np.array([(5, 1)], np.int8))]) == expected(
        3, 5, 7
    )
