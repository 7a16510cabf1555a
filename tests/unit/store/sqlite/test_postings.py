from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memrouter.memory.occurrences import places
from memrouter.ports import Signals
from memrouter.store.sqlite import postings
from memrouter.store.sqlite.arrays import Makers, build
from memrouter.store.sqlite.signals import Held
from memrouter.store.sqlite.vaults import SqliteVaultStore

from .test_signals import Row, segment
from .test_vaults import CORE, NOW, VAULT, turn

MAKERS = Makers("e", 2)


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postings, "LARGE", 4)
    monkeypatch.setattr(postings, "REST", 3)


def occurrences(signals: Signals, wanted: list[int]) -> Counter[tuple[int, int]]:
    there = places(signals, wanted)
    return Counter(zip(there.hashes.tolist(), there.rows.tolist(), strict=True))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(
        st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5)), max_size=30), max_size=6
    ),
    asked=st.lists(st.integers(0, 200), max_size=8),
)
def test_lists_tell_what_looking_at_every_term_tells(
    steps: list[list[tuple[int, int]]], asked: list[int]
) -> None:
    """Chunk n holds its own number as term, n % 3 times; rows come in any order."""
    held, count = Held(build([]), epoch=0), 100
    for revision, step in enumerate(steps, start=1):
        rows: list[Row] = []
        for group, time in step:
            count += 1
            rows.append((count, group, time, False))
        held.take([segment(*rows)] if rows else [], revision, MAKERS)
        signals = held.attach()
        if postings.wanted(signals):
            held.lists = postings.made(signals)
            signals = held.attach()
        assert (signals.postings is not None) == (len(signals.ids) >= postings.LARGE)
        plain = replace(signals, postings=None)
        wanted = [100 + n for n in asked]
        assert occurrences(signals, wanted) == occurrences(plain, wanted)


def test_the_rest_is_kept_until_it_has_grown() -> None:
    held = Held(build([segment(*((n, 1, n, True) for n in range(1, 10)))], 0, MAKERS), epoch=0)
    assert postings.wanted(held.attach())
    held.lists = postings.made(held.signals)
    held.take([segment((10, 1, 10, True))], 1, MAKERS)  # while they were made
    signals = held.attach()
    assert signals.postings is not None
    assert (signals.postings.rest.tolist(), postings.wanted(signals)) == ([9], False)
    assert held.attach() is signals
    held.take([segment(*((n, 1, n, True) for n in range(11, 20)))], 2, MAKERS)
    assert postings.wanted(held.attach())


def test_ids_too_far_apart_have_no_lists() -> None:
    signals = build([segment(*((n, 1, n, True) for n in range(1, 9)))], 0, MAKERS)
    ids = signals.ids.copy()
    ids[-1] += 1 << 32
    assert postings.wanted(signals)
    assert not postings.wanted(replace(signals, ids=ids))
    assert not postings.wanted(build([]))


async def test_a_store_makes_lists_in_the_background(tmp_path: Path) -> None:
    store = SqliteVaultStore(tmp_path)
    turns = [turn(f"{n} times") for n in range(9)]
    await store.remember(VAULT, turns, now=NOW)
    plain = await store.signals(CORE)
    assert plain.postings is None
    while (listed := await store.signals(CORE)).postings is None:  # noqa: ASYNC110 - nothing tells
        await asyncio.sleep(0.001)
    wanted = [*plain.terms[::4].tolist(), 99]
    assert occurrences(listed, wanted) == occurrences(plain, wanted)
    await store.remember(VAULT, [turn("one more")], now=NOW)
    more = await store.signals(CORE)
    assert more.postings is not None
    assert more.postings.rest.tolist() == [9]
    await store.delete(VAULT, 1)
    fewer = await store.signals(CORE)
    assert (len(fewer.ids), fewer.postings) == (9, None)
    await store.close()
