from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memrouter.domain import VaultId
from memrouter.ports import Signals
from memrouter.store.sqlite import arrays
from memrouter.store.sqlite.arrays import Makers, build
from memrouter.store.sqlite.database import Database
from memrouter.store.sqlite.segments import HEAD, Segment
from memrouter.store.sqlite.signals import Held, SignalCache, View
from memrouter.store.statements import statements

Row = tuple[int, int, int, bool]
"""Chunk id, group, time, and whether it has a vector."""


def segment(*rows: Row) -> Segment:
    """Chunk n has n % 3 terms, all n, and the vector (n % 100, 1)."""
    heads = np.zeros(len(rows), HEAD)
    for at, (id, group, time, _) in enumerate(rows):
        heads[at] = (id, id * 10, time, id * 7, group, id % 3, id % 2)
    hashed = [np.full(id % 3, id, "<u4").tobytes() for id, *_ in rows]
    flags = [has for *_, has in rows]
    numbers = [(id % 100, 1) if has else (0, 0) for id, _, _, has in rows]
    return Segment(
        embedded=bytes(flags),
        heads=heads.tobytes(),
        terms=b"".join(hashed),
        vectors=np.array(numbers, np.int8).tobytes() if any(flags) else b"",
    )


def listed(signals: Signals) -> list[object]:
    """Every array of every row, so that two ways to the same state can be compared."""
    assert len(signals.starts) == len(signals.ids) + 1
    arrays = (
        signals.ids,
        signals.memories,
        signals.groups,
        signals.created,
        signals.roles,
        signals.digests,
        signals.embedded,
        signals.vectors,
    )
    hashed = np.split(signals.terms, signals.starts[1:-1])
    return [*(a.tolist() for a in arrays), [part.tolist() for part in hashed]]


STEPS = st.lists(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5), st.booleans()), max_size=90),
    max_size=8,
)


@pytest.fixture(params=["compiled", "numpy"])
def by(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether native.signals takes rows in."""
    if request.param == "numpy":
        monkeypatch.setattr(arrays, "native", None)
    elif arrays.native is None:
        pytest.skip("there is no C compiler")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS, later=st.randoms(use_true_random=False))
def test_arrays_kept_up_are_those_built_anew(
    by: None, steps: list[list[tuple[int, int, bool]]], later: object
) -> None:
    """Rows come in any order of groups and times, with vectors at once, later, or never."""
    everything: dict[int, Row] = {}
    held = Held(build([]), epoch=0)
    for revision, step in enumerate(steps, start=1):
        fresh = [
            (len(everything) + n, group, time, has)
            for n, (group, time, has) in enumerate(step, start=1)
        ]
        changed = dict.fromkeys(everything, False)
        for id, (_, group, time, has) in list(everything.items()):
            if not has and later.random() < 0.3:  # type: ignore[attr-defined]
                everything[id] = (id, group, time, True)
                changed[id] = True
        everything |= {row[0]: row for row in fresh}
        told = [everything[id] for id in sorted(everything) if changed.get(id, True)]
        # A segment brings rows along that did not change.
        told += [row for row in everything.values() if row not in told][:3]
        before, copy = held.signals, listed(held.signals)
        held.take([segment(*sorted(told))] if told else [], revision, Makers("e", 2))
        whole = build(
            [segment(*everything.values())] if everything else [], revision, Makers("e", 2)
        )
        assert listed(held.signals) == listed(whole)
        assert (held.signals.revision, held.signals.embedder) == (revision, "e")
        kept = [a for at, a in enumerate(listed(before)) if at != 7]
        assert kept == [a for at, a in enumerate(copy) if at != 7]  # vectors may be filled in


def test_appended_rows_are_written_into_the_room_behind(by: None) -> None:
    rows = [(n, 1, n, True) for n in range(1, 500)]
    held = Held(build([segment(*rows[:300])], 1, Makers("e", 2)), epoch=0)
    held.take([segment(rows[300])], 2, Makers("e", 2))
    rooms = {id(held.signals.vectors.base)}
    for revision, row in enumerate(rows[301:], start=3):
        held.take([segment(row)], revision, Makers("e", 2))
        rooms.add(id(held.signals.vectors.base))
    assert listed(held.signals) == listed(build([segment(*rows)], 1, Makers("e", 2)))
    assert len(rooms) <= 4


def test_the_cache_keeps_to_its_size(tmp_path: Path) -> None:
    database = Database(tmp_path / "v.db", statements("vault"), first=[("new_meta", ("v", 0))])
    database.one("set_embedder", "e", 2)
    one = segment(*((n, 1, n, True) for n in range(1, 200)))
    columns = (one.embedded, one.heads, one.terms, one.vectors, one.encoded, one.encodings)
    database.one("add_segment", "", 1, one.size, 1, *columns)
    size = Held(build([one], 1, Makers("e", 2)), epoch=0).size_bytes
    cache = SignalCache(3 * size + 10)
    for n in range(10):
        assert len(cache.get(View(VaultId(f"{n}"), "", core=True), database).ids) == 199
    assert [view.vault for view in cache._held] == ["7", "8", "9"]
    assert cache._bytes <= 3 * size + 10
    cache.get(View(VaultId("7"), "", core=True), database)
    cache.get(View(VaultId("10"), "", core=True), database)
    assert [view.vault for view in cache._held] == ["9", "7", "10"]
    large = SignalCache(size // 2)
    for n in range(2):
        large.get(View(VaultId(f"{n}"), "", core=True), database)
    assert [view.vault for view in large._held] == ["1"]
    none = SignalCache(0)
    assert len(none.get(View(VaultId("1"), "", core=True), database).ids) == 199
    assert not none._held
    database.close()
