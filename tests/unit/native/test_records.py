"""Compiled, the same as in Python."""

from __future__ import annotations

from datetime import UTC

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memrouter.domain import ROLES, Chunk
from memrouter.store.sqlite.vault import chunks_by_python, millis, moment_by_python

native = pytest.importorskip("memrouter.native.records", reason="there is no C compiler")

FIRST, LAST = -62_135_596_800_000, 253_402_300_799_999
TIMES = st.integers(FIRST, LAST)
ROWS = st.tuples(
    *(st.integers(1), st.integers(1), st.integers(0, 3), st.text(), st.integers(0), TIMES),
    *(st.text(), st.text(), st.integers(0), st.binary()),
)


@given(TIMES | st.sampled_from([FIRST, LAST, -1, 0, 951_782_400_000, 951_868_800_000]))
def test_moments_are_the_same(ms: int) -> None:
    assert native.moment(ms) == moment_by_python(ms)
    assert native.moment(ms).tzinfo is UTC
    assert millis(native.moment(ms)) == ms


@pytest.mark.parametrize("ms", [FIRST - 1, LAST + 1, 1 << 62, 1 << 70])
def test_times_that_no_calendar_knows_are_refused(ms: int) -> None:
    for by in (native.moment, moment_by_python):
        with pytest.raises(OverflowError):
            by(ms)


@given(st.lists(ROWS, max_size=5))
def test_chunks_are_the_same(rows: list[tuple[object, ...]]) -> None:
    assert native.chunks(rows, ROLES, Chunk) == chunks_by_python(rows)
