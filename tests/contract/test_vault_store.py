"""The contract of ports.VaultStore: every sentence of its docstrings, on every implementation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import blake2b

import numpy as np
import numpy.typing as npt
import pytest

from memrouter.domain import (
    ROLES,
    Block,
    Memory,
    NewTurn,
    Piece,
    Role,
    Scope,
    VaultId,
    VaultStats,
)
from memrouter.errors import Conflict, StoreError
from memrouter.ports import Place, Ready, Signals, Stored, VaultStore

NOW = datetime(2026, 6, 5, 21, 0, 0, 123_000, tzinfo=UTC)
VAULT = VaultId("5f3c")
CORE = Scope(vault=VAULT)


def digest(text: str, role: str = "user") -> bytes:
    return blake2b(f"{role}\0{text}".encode("utf-8", "replace"), digest_size=16).digest()


def turn(
    text: str,
    *,
    role: Role = "user",
    chain: bytes = b"",
    at: float = 0,
    session: str = "",
    conversation: str = "",
    position: int = 0,
    keep: bool = True,
    pieces: Sequence[str] | None = None,
) -> NewTurn:
    """A turn that was written `at` seconds after NOW."""
    parts = pieces if pieces is not None else [text]
    return NewTurn(
        role=role,
        text=text if keep else "",
        created=NOW + timedelta(seconds=at),
        pieces=tuple(
            Piece(text=p, tokens=len(p.split()), terms=np.arange(len(p), dtype="<u4").tobytes())
            for p in (parts if keep else ())
        ),
        session=session,
        conversation=conversation,
        position=position,
        model="gpt-5.5" if role == "assistant" else "",
        chain=chain,
        digest=digest(text, role),
        keep=keep,
    )


def vectors(*rows: tuple[float, float]) -> npt.NDArray[np.float32]:
    return np.array(rows, np.float32)


async def put(store: VaultStore, *turns: NewTurn, vault: VaultId = VAULT) -> Stored:
    return await store.remember(vault, turns, now=NOW)


async def texts(store: VaultStore, scope: Scope, *, core: bool = True) -> list[str]:
    signals = await store.signals(scope, core=core)
    chunks = await store.chunks(scope.vault, [int(id) for id in signals.ids])
    return [chunk.text for chunk in chunks]


async def everything(store: VaultStore, vault: VaultId = VAULT) -> list[str]:
    return [m.text for m in await store.memories(Scope(vault=vault), whole=True, limit=10_000)]


# --- a vault that was never written ---


async def test_a_vault_that_was_never_written_is_an_empty_one(store: VaultStore) -> None:
    signals = await store.signals(CORE)
    assert (len(signals.ids), signals.starts.tolist()) == (0, [0])
    assert (signals.revision, signals.embedder, len(signals.vectors)) == (0, "", 0)
    assert list(await store.chunks(VAULT, [1, 2])) == []
    assert dict(await store.known(VAULT, [b"c"])) == {}
    assert list(await store.ends_of(CORE, b"d")) == []
    assert list(await store.recent(CORE, 5)) == []
    assert await store.blocks(VAULT, [b"k"], NOW) == ({}, 0)
    assert list(await store.pending(VAULT, 10)) == []
    assert await store.stats(CORE) == VaultStats()
    assert list(await store.memories(CORE)) == []
    assert await store.memory(VAULT, 1) is None
    assert await store.delete(VAULT, 1) is False
    assert await store.clear(VAULT, None) == 0
    assert await store.clear(VAULT, "") == 0
    assert await store.embedder(VAULT) is None
    await store.set_vectors(VAULT, "e", [1], vectors((1, 0)))
    await store.reset(VAULT)
    assert await store.warm(VAULT) == 0
    assert [v async for v in store.backlog()] == []
    await store.check()


# --- remember, known, ends_of ---


@dataclass(frozen=True)
class Sent:
    """What is remembered, one list a call; how many of each are new; what is there at the end."""

    calls: list[list[NewTurn]]
    new: list[int]
    held: list[str]


SENT: dict[str, Sent] = {
    "nothing": Sent([[]], [0], []),
    "two turns": Sent([[turn("a", chain=b"1"), turn("b", chain=b"2")]], [2], ["a", "b"]),
    "a chain that is stored is skipped": Sent(
        [[turn("a", chain=b"1")], [turn("a", chain=b"1"), turn("b", chain=b"2")]],
        [1, 1],
        ["a", "b"],
    ),
    "twice in one call": Sent([[turn("a", chain=b"1"), turn("a", chain=b"1")]], [1], ["a"]),
    "no chain is never skipped": Sent([[turn("a"), turn("a")], [turn("a")]], [2, 1], ["a"] * 3),
    "equal words at another place": Sent(
        [[turn("yes", chain=b"1")], [turn("yes", chain=b"2")]], [1, 1], ["yes", "yes"]
    ),
    "not to be kept": Sent([[turn("a", chain=b"1", keep=False)]], [0], []),
    "not to be kept, sent again so": Sent(
        [[turn("a", chain=b"1", keep=False)], [turn("a", chain=b"1", keep=False)]], [0, 0], []
    ),
    "not to be kept, then with its text": Sent(
        [[turn("a", chain=b"1", keep=False)], [turn("a", chain=b"1")]], [0, 1], ["a"]
    ),
    "kept, then not to be kept": Sent(
        [[turn("a", chain=b"1")], [turn("a", chain=b"1", keep=False)]], [1, 0], ["a"]
    ),
    "without pieces": Sent([[turn("…", chain=b"1", pieces=[])]], [1], ["…"]),
    "odd texts": Sent(
        [[turn("a\0b"), turn("\U0001f600"), turn("")]], [3], ["a\0b", "\U0001f600", ""]
    ),
    "a lone surrogate": Sent([[turn("a\ud800b")]], [1], ["a?b"]),
    "a long text": Sent([[turn("long " * 200_000)]], [1], ["long " * 200_000]),
    "SQL": Sent([[turn("'); DROP TABLE memory; --")]], [1], ["'); DROP TABLE memory; --"]),
}


@pytest.mark.parametrize("sent", SENT.values(), ids=SENT)
async def test_each_turn_is_stored_once(store: VaultStore, sent: Sent) -> None:
    new = [(await put(store, *turns)).turns for turns in sent.calls]
    assert (new, await everything(store)) == (sent.new, sent.held)


async def test_a_write_says_which_chunks_are_new_and_the_revision(store: VaultStore) -> None:
    first = await put(store, turn("one. two", chain=b"1", pieces=["one.", "two"]))
    assert len(first.chunks) == 2
    assert [c.text for c in await store.chunks(VAULT, first.chunks)] == ["one.", "two"]
    again = await put(store, turn("one. two", chain=b"1"))
    assert (again.turns, again.chunks, again.revision) == (0, (), first.revision)
    more = await put(store, turn("three", chain=b"2"))
    assert more.revision > first.revision > 0
    assert (await store.signals(CORE)).revision == more.revision


async def test_a_turn_comes_back_as_it_was(store: VaultStore) -> None:
    said = turn(
        "Ich heiße Zoë. 私は東京に住んでいます",
        role="assistant",
        chain=b"1",
        session="s",
        conversation="c",
        position=7,
        pieces=["Ich heiße Zoë.", "私は東京に住んでいます"],
    )
    stored = await put(store, said)
    (memory,) = await store.memories(CORE, whole=True)
    assert memory == Memory(
        id=memory.id,
        role="assistant",
        text=said.text,
        created=NOW,
        session="s",
        conversation="c",
        position=7,
        model="gpt-5.5",
        tokens=4,
    )
    assert await store.memory(VAULT, memory.id) == memory
    for chunk, piece in zip(await store.chunks(VAULT, stored.chunks), said.pieces, strict=True):
        assert (chunk.turn, chunk.role, chunk.text) == (memory.id, "assistant", piece.text)
        assert (chunk.tokens, chunk.created, chunk.digest) == (piece.tokens, NOW, said.digest)
        assert (chunk.session, chunk.conversation, chunk.position) == ("s", "c", 7)


async def test_chunks_come_in_the_order_asked_and_those_gone_are_skipped(store: VaultStore) -> None:
    a, b, c = (await put(store, turn("a"), turn("b"), turn("c"))).chunks
    (gone,) = [m.id for m in await store.memories(CORE) if m.text == "b"]
    await store.delete(VAULT, gone)
    found = await store.chunks(VAULT, [c, b, 10**9, a])
    assert [chunk.text for chunk in found] == ["c", "a"]


async def test_known_says_where_turns_stand_with_or_without_text(store: VaultStore) -> None:
    await put(
        store,
        turn("a", chain=b"1", conversation="c", position=3),
        turn("b", chain=b"2", keep=False, at=5, session="s"),
        turn("c"),
    )
    assert dict(await store.known(VAULT, [b"1", b"2", b"3", b""])) == {
        b"1": Place(conversation="c", position=3, created=NOW),
        b"2": Place(conversation="", position=0, created=NOW + timedelta(seconds=5)),
    }
    many = [n.to_bytes(16) for n in range(5_000)]
    assert set(await store.known(VAULT, [*many, b"1"])) == {b"1"}
    assert dict(await store.known(VAULT, [])) == {}


async def test_ends_are_the_newest_of_a_digest_in_session_and_conversation(
    store: VaultStore,
) -> None:
    await put(
        store,
        turn("yes", chain=b"1", conversation="x"),
        turn("no", chain=b"9"),
        turn("yes", chain=b"3", conversation="y"),
        turn("yes", chain=b"4", session="s"),
        turn("yes"),
        turn("yes", chain=b"5", conversation="x"),
    )
    yes = digest("yes")
    assert list(await store.ends_of(CORE, yes)) == [b"5", b"3", b"1"]
    assert list(await store.ends_of(CORE, yes, 2)) == [b"5", b"3"]
    assert list(await store.ends_of(replace(CORE, conversation="x"), yes)) == [b"5", b"1"]
    assert list(await store.ends_of(replace(CORE, session="s"), yes)) == [b"4"]
    assert list(await store.ends_of(replace(CORE, session="other"), yes)) == []


async def test_recent_turns_of_a_conversation_come_in_their_order(store: VaultStore) -> None:
    talk = [
        turn(str(n), chain=bytes([n]), conversation="c", session="s", position=n) for n in range(9)
    ]
    await put(store, *talk[5:], turn("elsewhere", conversation="d", session="s"))
    await put(store, *talk[:5], turn("hidden", conversation="c", session="s", keep=False))
    scope = Scope(vault=VAULT, session="s", conversation="c")
    assert [m.text for m in await store.recent(scope, 3)] == ["6", "7", "8"]
    assert [m.text for m in await store.recent(scope, 99)] == [str(n) for n in range(9)]
    assert list(await store.recent(replace(scope, session=""), 99)) == []
    assert list(await store.recent(scope, 0)) == []


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


# --- blocks ---


def block(key: bytes, *chunks: int, text: str = "<memory_context>") -> Block:
    return Block(key=key, text=text, chunks=chunks, tokens=9, made=NOW, revision=4)


async def held(store: VaultStore, *keys: bytes, since: float = -3600) -> list[str]:
    found, _ = await store.blocks(VAULT, keys, NOW + timedelta(seconds=since))
    return [found[key].text for key in keys if key in found]


async def test_a_block_comes_back_as_it_was(store: VaultStore) -> None:
    chunks = (await put(store, turn("a"), turn("b"))).chunks
    made = block(b"k", *chunks, text="<memory_context>\n- ünïcode\0</memory_context>")
    stored = await store.remember(VAULT, [turn("c", chain=b"1")], block=made, now=NOW)
    assert await store.blocks(VAULT, [b"k", b"other"], NOW) == ({b"k": made}, stored.revision)
    empty = block(b"e", text="")
    await store.remember(VAULT, [], block=empty, now=NOW)
    assert (await store.blocks(VAULT, [b"e"], NOW))[0] == {b"e": empty}


async def test_the_newest_block_of_a_key_counts(store: VaultStore) -> None:
    for text in ("old", "new"):
        await store.remember(VAULT, [], block=block(b"k", text=text), now=NOW)
    assert await held(store, b"k") == ["new"]


async def test_blocks_are_found_as_long_as_they_are_used(store: VaultStore) -> None:
    await store.remember(VAULT, [], block=block(b"1", text="1"), now=NOW)
    await store.remember(VAULT, [], block=block(b"2", text="2"), now=NOW)
    later = NOW + timedelta(seconds=100)
    await store.remember(VAULT, [], used=[b"1", b"unknown"], now=later)
    assert await held(store, b"1", b"2", since=0) == ["1", "2"]
    assert await held(store, b"1", b"2", since=1) == ["1"]
    assert await held(store, b"1", since=100) == ["1"]
    await store.remember(VAULT, [], dropped=[b"1", b"unknown"], now=later)
    assert await held(store, b"1", b"2") == ["2"]


async def test_a_block_changes_nothing_that_can_be_recalled(store: VaultStore) -> None:
    before = (await put(store, turn("a"))).revision
    after = await store.remember(VAULT, [], block=block(b"k"), used=[b"k"], now=NOW)
    assert after.revision == before


async def test_a_block_that_holds_what_was_deleted_meanwhile_is_not_kept(
    store: VaultStore,
) -> None:
    a, b = (await put(store, turn("a"), turn("b"))).chunks
    await store.delete(VAULT, (await store.memories(CORE))[0].id)
    await store.remember(VAULT, [turn("c")], block=block(b"k", a, b), now=NOW)
    assert await held(store, b"k") == []
    assert await everything(store) == ["b", "c"]


# --- looking ---


async def test_memories_come_page_by_page(store: VaultStore) -> None:
    await put(store, turn("s", session="s"))
    await put(store, *(turn(str(n)) for n in range(7)), turn("hidden", keep=False))
    pages, after = list[list[str]](), 0
    while page := await store.memories(CORE, after=after, limit=3):
        pages.append([m.text for m in page])
        after = page[-1].id
    assert pages == [["0", "1", "2"], ["3", "4", "5"], ["6"]]
    assert [m.text for m in await store.memories(replace(CORE, session="s"))] == ["s"]
    assert await everything(store) == ["s", *map(str, range(7))]
    assert await store.memory(VAULT, 10**9) is None


async def test_stats_count_the_vault_or_one_session(store: VaultStore) -> None:
    stored = await put(
        store,
        turn("one two", at=5),
        turn("three", session="s", at=-5, pieces=["th", "ree"]),
        turn("four", session="t", at=9),
        turn("hidden", session="u", keep=False, at=99),
    )
    await store.set_vectors(VAULT, "e", stored.chunks[1:2], vectors((1, 0)))
    assert await store.stats(CORE) == VaultStats(
        memories=3,
        total_tokens=5,
        oldest=NOW - timedelta(seconds=5),
        newest=NOW + timedelta(seconds=9),
        sessions=2,
        pending=3,
        chunks=4,
        embedder="e",
    )
    assert await store.stats(replace(CORE, session="s")) == VaultStats(
        memories=1,
        total_tokens=2,
        oldest=NOW - timedelta(seconds=5),
        newest=NOW - timedelta(seconds=5),
        sessions=1,
        pending=1,
        chunks=2,
        embedder="e",
    )
    assert (await store.stats(replace(CORE, session="v"))).memories == 0
    assert await store.warm(VAULT) == 3


# --- deleting ---


async def test_a_deleted_turn_is_gone_and_does_not_come_back(store: VaultStore) -> None:
    a, b, c = (await put(store, turn("a", chain=b"1"), turn("b", chain=b"2"), turn("c"))).chunks
    for key, chunks in ((b"1", (a,)), (b"2", (a, b)), (b"3", (c,)), (b"4", ())):
        await store.remember(VAULT, [], block=block(key, *chunks, text=str(key)), now=NOW)
    first, second, _ = await store.memories(CORE)
    before = (await store.signals(CORE)).revision
    assert await store.delete(VAULT, first.id) is True
    assert await store.delete(VAULT, first.id) is False
    assert (await store.signals(CORE)).revision > before
    assert await everything(store) == ["b", "c"]
    assert sorted(await texts(store, CORE)) == ["b", "c"]
    assert await store.memory(VAULT, first.id) is None
    assert list(await store.chunks(VAULT, [a])) == []
    assert [w.id for w in await store.pending(VAULT, 9)] == [b, c]
    assert (await store.stats(CORE)).memories == 2
    assert await held(store, b"1", b"2", b"3", b"4") == ["b'3'", "b'4'"]
    # A client that resends its history must not bring it back.
    assert set(await store.known(VAULT, [b"1", b"2"])) == {b"1", b"2"}
    assert second.text == "b"


@pytest.mark.parametrize(
    ("session", "deleted", "left"),
    [("", 2, ["s", "t"]), ("s", 1, ["core", "core 2", "t"]), (None, 4, []), ("x", 0, None)],
    ids=["core", "a session", "everything", "nothing"],
)
async def test_clearing_deletes_a_session_or_everything(
    store: VaultStore, session: str | None, deleted: int, left: list[str] | None
) -> None:
    stored = await put(
        store,
        turn("core", chain=b"1"),
        turn("core 2", conversation="c"),
        turn("s", chain=b"3", session="s"),
        turn("t", session="t"),
    )
    await put(store, turn("unkept", keep=False, chain=b"9", session=session or ""))
    for number, chunk in enumerate(stored.chunks):
        made = block(bytes([number]), chunk, text=str(number))
        await store.remember(VAULT, [], block=made, now=NOW)
    kept = [n for n, m in enumerate(await store.memories(CORE, whole=True)) if not _in(m, session)]
    before = (await store.signals(CORE)).revision
    assert await store.clear(VAULT, session) == deleted
    if left is not None:
        assert sorted(await everything(store)) == left
        assert (await store.signals(CORE)).revision > before
    assert await held(store, *map(_byte, range(4))) == [str(n) for n in kept]
    assert set(await store.known(VAULT, [b"9"])) == set()
    assert await store.clear(VAULT, session) == 0
    # What was cleared may be said again.
    assert (await put(store, turn("core", chain=b"1"))).turns == (session in ("", None))


def _in(memory: Memory, session: str | None) -> bool:
    return session in (None, memory.session)


def _byte(number: int) -> bytes:
    return bytes([number])


async def test_ids_are_never_used_again(store: VaultStore) -> None:
    first = (await put(store, turn("a"))).chunks
    (memory,) = await store.memories(CORE)
    await store.clear(VAULT, None)
    second = (await put(store, turn("b"))).chunks
    assert second > first
    assert (await store.memories(CORE))[0].id > memory.id
