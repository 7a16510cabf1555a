"""Compiled, the same as with numpy: segments in any order, with vectors, encodings, or none."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memrouter.ports import Signals
from memrouter.store.sqlite import arrays
from memrouter.store.sqlite.arrays import KINDS, Makers, build, built
from memrouter.store.sqlite.segments import HEAD, Segment
from memrouter.store.sqlite.signals import Held

native = pytest.importorskip("memrouter.native.signals", reason="there is no C compiler")

MAKERS = Makers("e", 3, "f", 2)
ROWS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 6), st.integers(0, 5)), max_size=300)
"""Group, time and number of terms of each row."""


def segments(rng: np.random.Generator, rows: list[tuple[int, int, int]], first: int) -> Any:
    """Some rows, ids ascending from `first`, cut anywhere into segments of each kind."""
    cuts = sorted({0, len(rows), *rng.integers(0, len(rows) + 1, 3).tolist()})
    found = []
    for start, end in pairwise(cuts):
        part = rows[start:end]
        heads = np.zeros(len(part), HEAD)
        for at, (group, time, size) in enumerate(part):
            id = first + start + at
            heads[at] = (id, id * 3, time, rng.integers(0, 2**63), group, size, rng.integers(0, 2))
        numbers = rng.integers(-127, 128, (len(part), 5)).astype(np.int8)
        flags = rng.integers(0, 2, (2, len(part)), np.uint8)
        found.append(
            Segment(
                embedded=flags[0].tobytes(),
                heads=heads.tobytes(),
                terms=rng.integers(0, 2**32, heads["terms"].sum(), np.uint32).tobytes(),
                vectors=numbers[:, :3].tobytes() if flags[0].any() else b"",
                encoded=flags[1].tobytes() if flags[1].any() else b"",
                encodings=numbers[:, 3:].tobytes() if flags[1].any() else b"",
            )
        )
    return [found[at] for at in rng.permutation(len(found))]


def told(signals: Signals) -> dict[str, object]:
    return {name: getattr(signals, name).tolist() for name in KINDS}


@given(rows=ROWS, seed=st.integers(0, 1 << 32))
def test_segments_become_the_same_arrays(rows: list[tuple[int, int, int]], seed: int) -> None:
    made = segments(np.random.default_rng(seed), rows, 1)
    one, other = build(made, 1, MAKERS), built(made, 1, MAKERS)
    assert told(one) == told(other)
    for name, kind in KINDS.items():
        assert getattr(one, name).dtype == getattr(other, name).dtype == kind
        assert getattr(one, name).shape == getattr(other, name).shape


@given(rows=ROWS, more=st.lists(ROWS, max_size=3), seed=st.integers(0, 1 << 32))
def test_rows_that_come_later_stand_where_they_would(
    rows: list[tuple[int, int, int]], more: list[list[tuple[int, int, int]]], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    everything = segments(rng, rows, 1)
    held, count = Held(build(everything, 1, MAKERS), epoch=0), len(rows)
    for revision, step in enumerate(more, start=2):
        fresh = segments(rng, step, count + 1)
        everything, count = everything + fresh, count + len(step)
        before = held.signals
        copy = told(before)
        held.take(fresh, revision, MAKERS)
        assert told(held.signals) == told(built(everything, revision, MAKERS))
        assert told(before) == copy


WHOLE = Segment(
    embedded=b"\1",
    heads=np.array([(1, 1, 0, 0, 0, 2, 0)], HEAD).tobytes(),
    terms=bytes(8),
    vectors=bytes(3),
    encoded=b"\1",
    encodings=bytes(2),
)
DAMAGED = {
    "heads": WHOLE._replace(heads=WHOLE.heads * 2),
    "too few terms": WHOLE._replace(terms=bytes(4)),
    "too many terms": WHOLE._replace(terms=bytes(12)),
    "terms cut within": WHOLE._replace(terms=bytes(7)),
    "vectors": WHOLE._replace(vectors=bytes(4)),
    "encoded": WHOLE._replace(encoded=b"\1\1"),
    "encodings": WHOLE._replace(encodings=bytes(1)),
}


@pytest.mark.parametrize("damaged", DAMAGED.values(), ids=DAMAGED)
def test_what_does_not_hold_together_is_refused(damaged: Segment) -> None:
    assert native.Rows([WHOLE], 0, 3, 2).count == 1
    with pytest.raises(ValueError, match="segment"):
        native.Rows([damaged], 0, 3, 2)


def test_arrays_that_do_not_fit_are_refused() -> None:
    old = build([WHOLE], 1, MAKERS)
    given = [getattr(old, name) for name in KINDS]
    rows = native.Rows([WHOLE], 0, 3, 2)
    for wrong in (
        arrays.room(1, 4, 3, 2),  # rows
        arrays.room(2, 3, 3, 2),  # terms
        arrays.room(2, 4, 4, 2),  # dimension
        {**arrays.room(2, 4, 3, 2), "starts": np.zeros(2, np.int64)},
        {**arrays.room(2, 4, 3, 2), "roles": np.zeros(1, np.uint8)},
        {"ids": np.zeros(2, np.int64)},
    ):
        with pytest.raises(ValueError, match=r"arrays|starts|vectors|room"):
            rows.merge(given, wrong.values())


def test_what_is_shared_is_not_moved() -> None:
    room = arrays.room(3, 6, 3, 2)
    late = WHOLE._replace(heads=np.array([(2, 2, 9, 0, 0, 2, 0)], HEAD).tobytes())
    first = native.Rows([late], 0, 3, 2)
    first.merge([getattr(build([], 1, MAKERS), name) for name in KINDS], room.values())
    held = arrays.first(room, 1, 2, 1, MAKERS)
    rows = native.Rows([WHOLE], 0, 3, 2)
    assert not rows.behind(held.groups, held.created)
    with pytest.raises(ValueError, match="between"):
        rows.merge([getattr(held, name) for name in KINDS], room.values())
