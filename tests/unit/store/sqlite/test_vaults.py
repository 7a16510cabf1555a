"""What the SQLite store promises beyond the contract: files, crashes, processes, erasure."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memrouter.domain import Block, NewTurn, Piece, Scope, VaultId
from memrouter.errors import StoreError, VaultNewer
from memrouter.ports import Ready
from memrouter.store.sqlite.database import Database
from memrouter.store.sqlite.vaults import SqliteVaultStore
from memrouter.store.statements import statements

NOW = datetime(2026, 6, 5, tzinfo=UTC)
VAULT = VaultId("ab01")
CORE = Scope(vault=VAULT)
SOURCE = str(Path(__file__).parents[4] / "src")


def turn(text: str, *, session: str = "", chain: bytes = b"", conversation: str = "") -> NewTurn:
    terms = np.frombuffer(blake2b(text.encode(), digest_size=12).digest(), "<u4")
    return NewTurn(
        role="user",
        text=text,
        created=NOW,
        pieces=(Piece(text=text, tokens=1, terms=terms.tobytes()),),
        session=session,
        conversation=conversation,
        chain=chain,
        digest=blake2b(text.encode(), digest_size=16).digest(),
    )


def files(folder: Path) -> dict[str, bytes]:
    """Every file under a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


async def texts(store: SqliteVaultStore, scope: Scope = CORE) -> list[str]:
    return [m.text for m in await store.memories(scope, whole=True, limit=100_000)]


# --- files ---


async def test_reading_makes_no_file_and_opens_none(tmp_path: Path) -> None:
    store = SqliteVaultStore(tmp_path)
    await store.signals(CORE)
    await store.known(VAULT, [b"x"])
    await store.blocks(VAULT, [b"x"], NOW)
    await store.clear(VAULT, None)
    await store.delete(VAULT, 1)
    await store.set_vectors(VAULT, "e", [1], np.ones((1, 2), np.float32))
    await store.reset(VAULT)
    await store.close()
    assert files(tmp_path) == {}


async def test_a_vault_of_a_newer_memrouter_is_refused(tmp_path: Path) -> None:
    store = SqliteVaultStore(tmp_path)
    await store.remember(VAULT, [turn("x")], now=NOW)
    await store.close()
    newest = sum(name.startswith("schema_") for name in statements("vault"))
    more = {f"schema_{newest + 1}": "CREATE TABLE more (id INTEGER);"}
    newer = {**statements("vault"), **more}
    Database(tmp_path / "vaults" / "ab" / "ab01.db", newer).close()
    before = files(tmp_path / "vaults")
    store = SqliteVaultStore(tmp_path)
    with pytest.raises(VaultNewer, match=f"schema {newest + 1},"):
        await store.signals(CORE)
    with pytest.raises(VaultNewer):
        await store.remember(VAULT, [turn("y")], now=NOW)
    await store.remember(VaultId("ab02"), [turn("y")], now=NOW)
    await store.close()
    after = files(tmp_path / "vaults")
    assert {name: after[name] for name in before} == before


async def test_a_store_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "backlog.db").write_bytes(b"garbage" * 1_000)
    store = SqliteVaultStore(tmp_path)
    with pytest.raises(StoreError):
        await store.check()
    await store.close()


async def test_many_vaults_share_a_few_connections(tmp_path: Path) -> None:
    store = SqliteVaultStore(tmp_path, open_vaults=3, threads=2, cache_bytes=10_000)
    ids = [VaultId(f"{n:02x}v") for n in range(40)]

    async def use(vault: VaultId) -> None:
        for n in range(5):
            await store.remember(vault, [turn(f"{vault} {n}")], now=NOW)
            assert await texts(store, Scope(vault=vault)) == [f"{vault} {i}" for i in range(n + 1)]
            assert len((await store.signals(Scope(vault=vault))).ids) == n + 1

    await asyncio.gather(*(use(vault) for vault in ids))
    assert len(store._vaults._open) <= 3
    assert sorted([v async for v in store.vaults()]) == ids
    await store.close()


# --- crashes and processes ---

WRITER = """
import asyncio, sys
from datetime import UTC, datetime
from pathlib import Path
sys.path[:0] = [sys.argv[2], sys.argv[4]]
from test_vaults import turn
from memrouter.domain import VaultId
from memrouter.store.sqlite.vaults import SqliteVaultStore

async def main():
    store = SqliteVaultStore(Path(sys.argv[1]))
    for n in range(100_000):
        texts = [f"{sys.argv[3]} {n} {k}" for k in range(3)]
        turns = [turn(text, chain=text.encode()) for text in texts]
        await store.remember(VaultId("ab01"), turns, now=datetime(2026, 6, 5, tzinfo=UTC))
        print(n, flush=True)

asyncio.run(main())
"""


def writer(folder: Path, name: str) -> subprocess.Popen[bytes]:
    """A process that writes three turns at a time and says so."""
    here = str(Path(__file__).parent)
    command = [sys.executable, "-c", WRITER, str(folder), SOURCE, name, here]
    return subprocess.Popen(command, stdout=subprocess.PIPE)


@pytest.mark.parametrize("written", [1, 12, 57])
async def test_what_was_acknowledged_survives_the_death_of_the_process(
    tmp_path: Path, written: int
) -> None:
    processes = [writer(tmp_path, name) for name in ("a", "b")]
    said = [0, 0]
    for at, process in enumerate(processes):
        assert process.stdout is not None
        for _ in range(written):
            said[at] = int(process.stdout.readline())
    for process in processes:
        process.kill()
    for at, process in enumerate(processes):
        rest, _ = process.communicate(timeout=10)
        said[at] = int((rest.split() or [b"%d" % said[at]])[-1])
    store = SqliteVaultStore(tmp_path)
    found = await texts(store)
    assert len(found) == len(set(found))
    for name, last in zip("ab", said, strict=True):
        acknowledged = {f"{name} {n} {k}" for n in range(last + 1) for k in range(3)}
        assert acknowledged <= set(found)
        assert sum(text.startswith(name) for text in found) % 3 == 0  # whole writes only
    assert len((await store.signals(CORE)).ids) == len(found)
    assert [v async for v in store.backlog()] == [VAULT]
    assert len(await store.pending(VAULT, 100_000)) == len(found)
    await store.close()


# --- erasure ---

CANARY = "the-canary-that-nobody-may-find"


def traces(folder: Path) -> list[str]:
    """Files that hold the canary: whole, in part, or as its terms and digest."""
    digest = blake2b(CANARY.encode(), digest_size=12).digest()
    marks = (CANARY.encode(), CANARY[5:25].encode(), digest)
    return [name for name, data in files(folder).items() if any(mark in data for mark in marks)]


async def _with_canaries(store: SqliteVaultStore, others: Sequence[int]) -> None:
    """A vault that grew and shrank, with the canary between other turns, in blocks and names."""
    for n in others:
        around = [turn(f"{n} " * (n % 700), session="s" if n % 3 else "") for _ in range(3)]
        session = CANARY if n % 2 else "s"
        told = turn(CANARY, session=session, conversation=CANARY, chain=b"%d" % n)
        stored = await store.remember(VAULT, [*around, told], now=NOW + timedelta(seconds=n))
        block = Block(
            key=b"k%d" % n,
            text=CANARY * 40,
            chunks=stored.chunks[-1:],
            tokens=1,
            made=NOW,
            revision=1,
        )
        await store.remember(VAULT, [], block=block, now=NOW)
        vectors = np.ones((4, 8), np.float32)
        await store.set_vectors(VAULT, "e", stored.chunks, vectors)


async def test_nothing_is_left_of_what_was_cleared(tmp_path: Path) -> None:
    store = SqliteVaultStore(tmp_path)
    await _with_canaries(store, range(60))
    assert traces(tmp_path)
    assert await store.clear(VAULT, None) == 240
    assert traces(tmp_path) == []
    await store.close()
    assert traces(tmp_path) == []
    assert (tmp_path / "vaults/ab/ab01.db").stat().st_size < 200_000


async def test_nothing_is_left_of_sessions_that_were_cleared(tmp_path: Path) -> None:
    store = SqliteVaultStore(tmp_path)
    await _with_canaries(store, range(60))
    await store.clear(VAULT, CANARY)
    await store.clear(VAULT, "s")
    assert traces(tmp_path) == []
    assert len(await texts(store)) == 60
    await store.close()


async def test_nothing_is_left_of_turns_that_were_deleted(tmp_path: Path) -> None:
    store = SqliteVaultStore(tmp_path)
    told = [turn(f"{n} " * 50) for n in range(30)]
    told[11:11] = [replace(turn(CANARY), text=CANARY * 300), turn(CANARY)]
    await store.remember(VAULT, told, now=NOW)
    for memory in await store.memories(CORE, limit=100):
        if CANARY in memory.text:
            await store.delete(VAULT, memory.id)
    assert traces(tmp_path) == []
    await store.close()


# --- idempotence ---

HISTORY = st.lists(st.sampled_from("abc"), min_size=1, max_size=8)


@settings(max_examples=40, deadline=None)
@given(
    history=HISTORY,
    sends=st.lists(st.tuples(st.integers(0, 8), st.booleans(), st.booleans()), max_size=8),
)
def test_however_often_a_history_is_sent_each_turn_is_stored_once(
    tmp_path_factory: pytest.TempPathFactory,
    history: list[str],
    sends: list[tuple[int, bool, bool]],
) -> None:
    """Resent, extended, retried, by one process or another, with vectors or without."""
    folder = tmp_path_factory.mktemp("store")
    turns = [turn(text, chain="".join(history[: n + 1]).encode()) for n, text in enumerate(history)]

    async def run() -> None:
        stores = [SqliteVaultStore(folder), SqliteVaultStore(folder, cache_bytes=0)]
        longest, new = 0, 0
        for length, second, vectors in sends:
            sent = turns[:length]
            ready = Ready(embedder="e", vectors=np.ones((len(sent), 2), np.float32))
            stored = await stores[second].remember(
                VAULT, sent, now=NOW, ready=ready if vectors and sent else None
            )
            longest, new = max(longest, len(sent)), new + stored.turns
            assert new == longest
            for store in stores:
                assert await texts(store) == history[:longest]
                assert len((await store.signals(CORE)).ids) == longest
                waiting = await store.pending(VAULT, 100)
                assert len(waiting) == int((~(await store.signals(CORE)).embedded).sum())
        for store in stores:
            await store.close()

    asyncio.run(run())
