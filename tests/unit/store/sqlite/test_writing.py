from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from memrouter.domain import NewTurn, Piece, Vectors
from memrouter.ports import Ready, Stored
from memrouter.store.sqlite.database import Database
from memrouter.store.sqlite.encoding import quantised
from memrouter.store.sqlite.segments import FULL, MANY, Segment, embedded, heads
from memrouter.store.sqlite.writing import clear, delete, remember, reset, set_vectors
from memrouter.store.statements import statements

NOW = datetime(2026, 6, 5, tzinfo=UTC)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database(tmp_path / "v.db", statements("vault"), first=[("new_meta", ("v", 0))])
    yield opened
    opened.close()


def turn(text: str, session: str = "") -> NewTurn:
    pieces = (Piece(text=text, tokens=1, terms=np.arange(3, dtype="<u4").tobytes()),)
    return NewTurn(role="user", text=text, created=NOW, pieces=pieces, session=session, digest=b"d")


def add(
    database: Database, texts: Sequence[str], session: str = "", *, ready: bool = False
) -> Stored:
    turns = [turn(text, session) for text in texts]
    vectors = Ready(embedder="e", vectors=ones(len(texts))) if ready else None
    stored = remember(database, turns, None, (), (), NOW, vectors)
    assert stored is not None
    return stored


def ones(rows: int) -> Vectors:
    return np.ones((rows, 4), np.float32)


def segments(database: Database, session: str = "") -> list[Segment]:
    return [Segment(*row) for row in database.all("segments", session, session)]


def ids(database: Database, session: str = "") -> list[int]:
    return [int(id) for id in heads(segments(database, session))["id"]]


def test_small_writes_are_packed_together(database: Database) -> None:
    stored = [add(database, [f"{n}"], ready=n % 2 == 0).chunks[0] for n in range(3 * FULL)]
    assert ids(database) == stored
    assert len(segments(database)) < MANY + 3
    assert embedded(segments(database)).tolist() == [n % 2 == 0 for n in range(3 * FULL)]
    assert [row[0] for row in database.all("pending", 10_000)] == stored[1::2]


def test_large_writes_are_packed_at_once(database: Database) -> None:
    add(database, [f"{n}" for n in range(2 * FULL + 10)])
    assert [segment.size for segment in segments(database)] == [FULL, FULL, 10]


def test_sessions_are_packed_apart(database: Database) -> None:
    expected: dict[str, list[int]] = {"": [], "a": [], "b": []}
    for n in range(5 * MANY):
        for session, held in expected.items():
            held.extend(add(database, [f"{n}"], session).chunks)
    for session, held in expected.items():
        assert ids(database, session) == held


def test_vectors_find_their_rows_after_packing(database: Database) -> None:
    chunks = [
        id
        for n in range(4 * MANY)
        for id in add(database, [f"{n}", "x"], "s" if n % 3 else "").chunks
    ]
    chosen = chunks[::5][::-1]
    set_vectors(database, "e", chosen, ones(len(chosen)))
    flags = {
        int(id): bool(flag)
        for session in ("", "s")
        for id, flag in zip(
            ids(database, session), embedded(segments(database, session)), strict=True
        )
    }
    assert flags == {id: id in chosen for id in chunks}
    left = [row[0] for row in database.all("pending", 10_000)]
    assert left == [id for id in chunks if id not in chosen]


def test_deleted_rows_leave_their_segment(database: Database) -> None:
    add(database, [f"{n}" for n in range(10)], ready=True)
    whole = ids(database)
    for memory in (3, 10, 1):
        assert delete(database, memory)
    assert ids(database) == [id for n, id in enumerate(whole, start=1) if n not in (3, 10, 1)]
    for memory in (2, 4, 5, 6, 7, 8, 9):
        delete(database, memory)
    assert segments(database) == []


def test_a_cleared_session_leaves_no_trace_of_its_names(database: Database) -> None:
    add(database, ["x"], "secret session")
    add(database, ["y"])
    clear(database, "secret session")
    for table in ("memory", "chunk", "segment", "thread", "pending"):
        rows = database._db.execute(f"SELECT * FROM {table}").fetchall()
        assert "secret" not in str(rows)
    assert ids(database) != []


def test_after_a_reset_every_chunk_waits_again(database: Database) -> None:
    stored = add(database, ["a", "b"], ready=True)
    late = add(database, ["c"])
    reset(database)
    assert [row[0] for row in database.all("pending", 9)] == [*stored.chunks, *late.chunks]
    assert not embedded(segments(database)).any()
    assert database.one("state")[2:] == ("", 0, "", 0, "")  # type: ignore[index]


def test_blocks_that_nobody_used_for_days_go(database: Database) -> None:
    database.one("put_block", b"old", "text", b"", 1, 0, 0, 0)
    remember(database, [], None, [b"new"], [b"x"], NOW, None)
    assert database.all("all_blocks") == []
    recent = NOW - timedelta(days=1)
    database.one("put_block", b"new", "text", b"", 1, 0, int(recent.timestamp() * 1000), 0)
    remember(database, [], None, (), [b"x"], NOW, None)
    assert database.all("all_blocks") == [(b"new", b"")]


def test_vectors_are_rounded_to_bytes() -> None:
    given = np.array([[1, -1, 0.5, -2, 0.003]], np.float32)
    assert quantised(given).tolist() == [[127, -127, 64, -127, 0]]


def test_what_a_write_saw_holds_until_something_else_is_written(database: Database) -> None:
    add(database, ["a"], "s")
    (seen,) = database.notes.values()
    threads = database.all("segments", "s", "s")
    assert len(threads) == 1
    add(database, ["b"], "s")
    assert [*database.notes.values()] == [seen]
    assert (seen.revision, seen.small) == (2, {"s": 2})
    clear(database, "s")
    add(database, ["c"], "t")
    add(database, ["d"], "s")
    groups = heads(segments(database, "s"))["thread"].tolist()
    assert database.all("thread", "s", "") == [tuple(groups)]
