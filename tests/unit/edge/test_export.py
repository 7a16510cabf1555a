"""What is exported is a line that an upload reads."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from memrouter.domain import Memory, NewTurn, Piece, Scope, VaultId
from memrouter.edge import export
from memrouter.edge.jsonl import JsonLines
from memrouter.testing.store import MemoryVaultStore

NOW = datetime(2026, 6, 5, 21, 0, 0, 123_000, tzinfo=UTC)
VAULT = VaultId("v")
WHOLE = Memory(
    id=7,
    role="assistant",
    text='\u2028 "\n\0\U0001f600',
    created=NOW,
    session="s",
    conversation="c",
    position=0,
    model="m",
    tokens=9,
)


def test_a_line_holds_everything_that_an_upload_takes() -> None:
    read = JsonLines("", NOW)
    read.feed(export.line(WHOLE))
    [item] = read.items
    assert (item.role, item.text, item.created) == (WHOLE.role, WHOLE.text, WHOLE.created)
    assert (item.session, item.conversation) == (WHOLE.session, WHOLE.conversation)
    assert (item.position, item.model) == (WHOLE.position, WHOLE.model)


def test_what_is_empty_is_left_out() -> None:
    plain = Memory(id=7, role="user", text="tea", created=NOW)
    assert export.line(plain) == (b'{"content":"tea","role":"user","timestamp":1780693200123}\n')


def turn(n: int, session: str) -> NewTurn:
    return NewTurn(
        role="user",
        text=str(n),
        created=NOW + timedelta(seconds=n),
        pieces=(Piece(text=str(n), tokens=1, terms=b""),),
        session=session,
    )


async def test_all_of_a_vault_or_one_session() -> None:
    store = MemoryVaultStore()
    turns = [turn(n, "s" if n % 2 else "") for n in range(1_201)]
    await store.remember(VAULT, turns, now=NOW)
    whole = b"".join([page async for page in export.lines(store, Scope(vault=VAULT))])
    assert [line[:20] for line in whole.splitlines()] == [
        export.line(Memory(id=0, role="user", text=t.text, created=t.created))[:20] for t in turns
    ]
    scope = Scope(vault=VAULT, session="s")
    session = b"".join([page async for page in export.lines(store, scope)])
    assert len(session.splitlines()) == 600
    nothing = [page async for page in export.lines(store, Scope(vault=VaultId("w")))]
    assert nothing == []
