"""The contract of ports.VaultStore: every sentence of its docstrings, on every implementation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta

import pytest

from memrouter.domain import Block, Memory, NewTurn, Scope, VaultStats
from memrouter.ports import Place, VaultStore

from .turns import CORE, NOW, VAULT, digest, everything, put, texts, turn, vectors

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


# --- the end of a vault ---


async def test_a_destroyed_vault_is_as_if_it_had_never_been(
    store: VaultStore, other: VaultStore
) -> None:
    seen = turn("seen", keep=False, chain=b"s" * 16)
    await put(store, turn("a", chain=b"a" * 16), turn("b", session="s"), seen)
    await store.choose_embedder(VAULT, "e")
    assert await texts(other, CORE) == ["a"]
    assert await store.destroy(VAULT) == 2
    for each in (store, other):
        assert await texts(each, CORE) == []
        assert await everything(each) == []
        assert await each.known(VAULT, [b"a" * 16, b"s" * 16]) == {}
        assert await each.embedder(VAULT) is None
        assert [vault async for vault in each.vaults()] == []
    assert await store.destroy(VAULT) == 0


async def test_a_destroyed_vault_may_be_written_anew_by_anyone(
    store: VaultStore, other: VaultStore
) -> None:
    for number in range(3):
        await put(store, turn(f"{number} one"))
        await put(other, turn(f"{number} two"))
        for each in (store, other):
            assert await texts(each, CORE) == [f"{number} one", f"{number} two"]
        assert await (store, other)[number % 2].destroy(VAULT) == 2
