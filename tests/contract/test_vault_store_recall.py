"""The contract of ports.VaultStore, second part: signals and vectors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from memrouter.domain import ROLES, Scope, VaultId
from memrouter.errors import Conflict, StoreError
from memrouter.ports import Ready, Signals, VaultStore

from .turns import CORE, NOW, VAULT, put, texts, turn, vectors

# --- signals ---


async def test_signals_hold_a_row_a_chunk_in_the_order_of_conversations(store: VaultStore) -> None:
    stored = await put(
        store,
        turn("b1", conversation="b", at=1),
        turn("a2", role="assistant", conversation="a", at=9),
        turn("u2", at=50),
        turn("a1 tail", conversation="a", at=2, pieces=["a1", "tail"]),
        turn("u1", at=3),
        turn("b0", conversation="b", at=0),
        turn("unkept", conversation="b", keep=False),
    )
    signals = await store.signals(CORE)
    order = list(zip(signals.groups, signals.created, signals.ids, strict=True))
    assert order == sorted(order)
    found = await texts(store, CORE)
    assert found[:2] == ["u1", "u2"]
    assert [t for t in found if t[0] in "at"] == ["a1", "tail", "a2"]
    assert [t for t in found if t[0] == "b"] == ["b0", "b1"]
    assert sorted(signals.ids.tolist()) == sorted(stored.chunks)
    assert [bool(group) for group in signals.groups] == [t[0] != "u" for t in found]
    assert len(set(signals.groups.tolist())) == 3
    for row, chunk in enumerate(await store.chunks(VAULT, signals.ids.tolist())):
        assert signals.memories[row] == chunk.turn
        assert ROLES[signals.roles[row]] == chunk.role
        assert NOW + timedelta(milliseconds=int(signals.created[row]) - _ms(NOW)) == chunk.created
        assert int(signals.digests[row]) == int.from_bytes(chunk.digest[:8], "little")
        terms = signals.terms[signals.starts[row] : signals.starts[row + 1]]
        assert terms.tolist() == list(range(len(chunk.text)))


def _ms(time: datetime) -> int:
    return (time - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


async def test_the_arrays_have_the_types_that_are_promised(store: VaultStore) -> None:
    assert _types(await store.signals(CORE)) == TYPES
    stored = await put(store, turn("a"), turn("b", pieces=[]))
    assert _types(await store.signals(CORE)) == TYPES
    await store.set_vectors(VAULT, "e", stored.chunks, vectors((1, 0)))
    signals = await store.signals(CORE)
    assert _types(signals) == TYPES
    assert (signals.vectors.shape, signals.starts.shape) == ((1, 2), (2,))
    assert signals.terms.flags.c_contiguous
    assert signals.vectors.flags.c_contiguous


TYPES = {
    "ids": "int64",
    "memories": "int64",
    "groups": "int64",
    "created": "int64",
    "roles": "uint8",
    "digests": "uint64",
    "terms": "uint32",
    "starts": "int64",
    "vectors": "int8",
    "embedded": "bool",
}


def _types(signals: Signals) -> dict[str, str]:
    return {name: getattr(signals, name).dtype.name for name in TYPES}


SEEN: dict[str, tuple[str, bool, list[str]]] = {
    "core alone": ("", True, ["core", "core of c"]),
    "core, asked for alone": ("", False, ["core", "core of c"]),
    "a session, with core": ("s", True, ["core", "core of c", "s", "s of c"]),
    "a session alone": ("s", False, ["s", "s of c"]),
    "another session": ("t", True, ["core", "core of c", "t"]),
    "a session that holds nothing": ("u", True, ["core", "core of c"]),
    "a session that holds nothing, alone": ("u", False, []),
}


@pytest.mark.parametrize(("session", "core", "expected"), SEEN.values(), ids=SEEN)
async def test_recall_sees_core_and_the_named_session(
    store: VaultStore, session: str, core: bool, expected: list[str]
) -> None:
    await put(
        store,
        turn("t", session="t"),
        turn("s of c", session="s", conversation="c"),
        turn("core of c", conversation="c"),
        turn("core"),
        turn("s", session="s"),
    )
    for _ in range(2):  # cached the second time
        assert sorted(await texts(store, replace(CORE, session=session), core=core)) == expected


async def test_vaults_do_not_see_each_other(store: VaultStore) -> None:
    mine, yours = VaultId("aa11"), VaultId("aa12")
    await put(store, turn("mine", chain=b"1"), vault=mine)
    assert (await put(store, turn("mine", chain=b"1"), vault=yours)).turns == 1
    await put(store, turn("yours"), vault=yours)
    assert await texts(store, Scope(vault=mine)) == ["mine"]
    await store.clear(mine, None)
    assert sorted(await texts(store, Scope(vault=yours))) == ["mine", "yours"]
    assert sorted([v async for v in store.vaults()]) == [mine, yours]


async def test_what_one_process_writes_the_others_see_at_once(
    store: VaultStore, other: VaultStore
) -> None:
    scope = replace(CORE, session="s")
    for n in range(5):
        stored = await put(store, turn(f"{n}", chain=bytes([n]), session="s", conversation=str(n)))
        assert await texts(other, scope) == [str(i) for i in range(n + 1)]
        await other.set_vectors(VAULT, "e", stored.chunks, vectors((1, 0)))
        assert (await store.signals(scope)).embedded.all()
        assert (await other.signals(scope)).embedder == "e"
    (await put(other, turn("x", chain=b"x", session="s", at=-9)))
    assert set(await store.known(VAULT, [b"x"])) == {b"x"}
    assert "x" in await texts(store, scope)
    await store.delete(VAULT, (await store.memories(scope))[1].id)
    assert "1" not in await texts(other, scope)
    await other.clear(VAULT, "s")
    assert await texts(store, scope) == []
    await put(store, turn("new", session="s"))
    assert await texts(other, scope) == ["new"]


async def test_arrays_handed_out_do_not_change_when_the_vault_does(store: VaultStore) -> None:
    stored = await put(store, turn("a", conversation="a"), turn("c", conversation="c"))
    await store.set_vectors(VAULT, "e", stored.chunks, vectors((1, 0), (0, 1)))
    before = await store.signals(CORE)
    names = [name for name in TYPES if name != "vectors"]
    copies = {name: getattr(before, name).copy() for name in names}
    for n in range(40):
        more = await put(store, turn(f"more {n}", conversation="ac"[n % 2], at=n))
        await store.signals(CORE)
        await store.set_vectors(VAULT, "e", more.chunks, vectors((1, 0)))
        await store.signals(CORE)
    await store.clear(VAULT, "")
    await store.signals(CORE)
    for name, copy in copies.items():
        assert np.array_equal(getattr(before, name), copy)
    assert before.vectors.tolist() == [[127, 0], [0, 127]]


# --- vectors ---


async def test_chunks_wait_for_vectors_oldest_first(store: VaultStore) -> None:
    await put(store, turn("a b", pieces=["a", "b"], at=3), turn("hidden", keep=False), turn("c"))
    waiting = await store.pending(VAULT, 10)
    assert [(w.text, w.created) for w in waiting] == [
        ("a", NOW + timedelta(seconds=3)),
        ("b", NOW + timedelta(seconds=3)),
        ("c", NOW),
    ]
    assert list(await store.pending(VAULT, 2)) == list(waiting[:2])
    await store.set_vectors(VAULT, "e", [waiting[0].id, waiting[2].id], vectors((1, 0), (0, -1)))
    assert [w.text for w in await store.pending(VAULT, 10)] == ["b"]
    signals = await store.signals(CORE)
    rows = dict(zip(await texts(store, CORE), signals.vectors.tolist(), strict=True))
    assert rows == {"a": [127, 0], "b": [0, 0], "c": [0, -127]}
    assert int(signals.embedded.sum()) == 2
    assert signals.embedder == "e"


async def test_vectors_are_rounded_and_never_overflow(store: VaultStore) -> None:
    (id,) = (await put(store, turn("a"))).chunks
    await store.set_vectors(VAULT, "e", [id], vectors((0.5, -2.0)))
    assert (await store.signals(CORE)).vectors.tolist() == [[64, -127]]
    await store.set_vectors(VAULT, "e", [id], vectors((0, 1)))
    assert (await store.signals(CORE)).vectors.tolist() == [[0, 127]]


async def test_vectors_of_chunks_that_are_gone_are_skipped(store: VaultStore) -> None:
    a, b = (await put(store, turn("a"), turn("b"))).chunks
    await store.delete(VAULT, (await store.memories(CORE))[0].id)
    await store.set_vectors(VAULT, "e", [a, 10**9, b], vectors((1, 0), (1, 0), (0, 1)))
    assert (await store.signals(CORE)).vectors.tolist() == [[0, 127]]


async def test_a_vault_has_one_embedder_until_it_is_reset(store: VaultStore) -> None:
    a, b = (await put(store, turn("a"), turn("b"))).chunks
    assert await store.embedder(VAULT) is None
    await store.set_vectors(VAULT, "old", [a], vectors((1, 0)))
    assert await store.embedder(VAULT) == "old"
    with pytest.raises(Conflict):
        await store.set_vectors(VAULT, "new", [b], vectors((0, 1)))
    with pytest.raises(StoreError):
        await store.set_vectors(VAULT, "old", [b], np.ones((1, 3), np.float32))
    assert [w.id for w in await store.pending(VAULT, 10)] == [b]
    before = (await store.signals(CORE)).revision
    await store.reset(VAULT)
    signals = await store.signals(CORE)
    assert (signals.embedder, int(signals.embedded.sum()), len(signals.ids)) == ("", 0, 2)
    assert signals.revision > before
    assert [w.id for w in await store.pending(VAULT, 10)] == [a, b]
    assert await store.embedder(VAULT) is None
    await store.set_vectors(VAULT, "new", [a, b], np.ones((2, 3), np.float32))
    assert (await store.signals(CORE)).vectors.shape == (2, 3)


async def test_a_vault_without_vectors_may_choose_its_embedder(store: VaultStore) -> None:
    await store.choose_embedder(VAULT, "chosen")
    assert await store.embedder(VAULT) == "chosen"
    (id,) = (await put(store, turn("a"))).chunks
    with pytest.raises(Conflict):
        await store.set_vectors(VAULT, "other", [id], vectors((1, 0)))
    await store.choose_embedder(VAULT, "again")
    await store.set_vectors(VAULT, "again", [id], vectors((1, 0)))
    await store.choose_embedder(VAULT, "again")
    with pytest.raises(Conflict):
        await store.choose_embedder(VAULT, "chosen")
    signals = await store.signals(CORE)
    assert (signals.embedder, signals.vectors.tolist()) == ("again", [[127, 0]])


async def test_vectors_that_are_ready_are_stored_with_their_chunks(store: VaultStore) -> None:
    turns = [
        turn("a b", chain=b"1", pieces=["a", "b"]),
        turn("hidden", chain=b"2", keep=False),
        turn("c", chain=b"3"),
    ]
    await put(store, turns[0])
    ready = Ready(embedder="e", vectors=vectors((1, 0), (1, 0), (0, 1)))
    stored = await store.remember(VAULT, turns, now=NOW, ready=ready)
    assert (stored.turns, stored.pending, len(stored.chunks)) == (1, False, 1)
    assert await store.embedder(VAULT) == "e"
    assert [w.text for w in await store.pending(VAULT, 9)] == ["a", "b"]
    rows = dict(
        zip(await texts(store, CORE), (await store.signals(CORE)).vectors.tolist(), strict=True)
    )
    assert rows == {"a": [0, 0], "b": [0, 0], "c": [0, 127]}
    other = Ready(embedder="other", vectors=vectors((1, 0)))
    stored = await store.remember(VAULT, [turn("d")], now=NOW, ready=other)
    assert (stored.turns, stored.pending) == (1, True)
    assert (await put(store, turn("e"))).pending is True
    assert (await store.remember(VAULT, [turns[2]], now=NOW, ready=ready)).pending is False
    assert [w.text for w in await store.pending(VAULT, 9)] == ["a", "b", "d", "e"]
    assert await store.embedder(VAULT) == "e"


async def test_vaults_with_a_backlog_are_found(
    store: VaultStore, open_store: Callable[[], VaultStore]
) -> None:
    idle, busy, seen = VaultId("aa01"), VaultId("aa02"), VaultId("bb01")
    for vault in (idle, busy):
        stored = await put(store, turn("a"), vault=vault)
    await put(store, turn("a", keep=False), vault=seen)
    await store.set_vectors(idle, "e", stored.chunks, vectors((1, 0)))
    assert list(await store.pending(idle, 1)) == []
    await store.close()  # what a process leaves behind, the next one finds
    later = open_store()
    assert busy in [v async for v in later.backlog()]
    waiting = [v async for v in later.backlog() if await later.pending(v, 1)]
    assert waiting == [busy]
    await later.close()
