from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from memrouter.ports import Signals
from memrouter.store.sqlite import arrays
from memrouter.store.sqlite.arrays import Makers, build, built
from memrouter.store.sqlite.segments import Segment

from .test_signals import listed, segment

Build = Callable[[list[Segment], int, Makers], Signals]


def test_rows_stand_by_group_time_and_id_whatever_segments_they_come_in() -> None:
    rows = [(1, 2, 5, True), (2, 0, 9, True), (3, 2, 4, True), (4, 2, 5, False), (5, 0, 9, True)]
    makers = Makers("e", 2)
    whole = build([segment(*rows)], 7, makers)
    assert whole.ids.tolist() == [2, 5, 3, 1, 4]
    assert (whole.revision, whole.embedder, whole.postings) == (7, "e", None)
    assert whole.starts.tolist() == [0, 2, 4, 4, 5, 6]
    assert whole.vectors.tolist() == [[2, 1], [5, 1], [3, 1], [1, 1], [0, 0]]
    assert listed(build([segment(*rows[3:]), segment(*rows[:3])], 7, makers)) == listed(whole)
    assert listed(built([segment(*rows)], 7, makers)) == listed(whole)


@pytest.mark.parametrize("by", [build, built])
def test_no_segments_are_no_rows(by: Build) -> None:
    none = by([], 3, Makers("e", 4))
    assert len(none.ids) == 0
    assert none.starts.tolist() == [0]
    assert none.vectors.shape == (0, 4)


def test_arrays_of_a_room_are_apart() -> None:
    room = arrays.room(5, 11, 3, 2)
    for number, array in enumerate(room.values()):
        array.fill(number % 2)
    assert all((array == number % 2).all() for number, array in enumerate(room.values()))
    assert all(array.ctypes.data % array.itemsize == 0 for array in room.values())
    assert {name: array.shape for name, array in room.items() if array.shape != (5,)} == {
        "starts": (6,),
        "terms": (11,),
        "vectors": (5, 3),
        "encodings": (5, 2),
    }


@pytest.mark.parametrize("by", [build, built])
def test_a_segment_that_does_not_hold_together_is_refused(by: Build) -> None:
    whole = segment((1, 1, 1, True), (2, 1, 1, True))
    with pytest.raises(ValueError, match=r"length|size|reshape"):
        by([whole._replace(vectors=whole.vectors[:-1])], 1, Makers("e", 2))
    with pytest.raises(ValueError, match=r"length|size|reshape"):
        by([whole._replace(heads=whole.heads[:-1])], 1, Makers("e", 2))
    empty = Segment(embedded=b"", heads=b"", terms=b"", vectors=b"")
    assert np.array_equal(by([empty, whole], 1, Makers("e", 2)).ids, [1, 2])
