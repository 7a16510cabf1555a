from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

from memrouter.domain import Analysis, NewTurn, Piece, Scope, VaultId
from memrouter.store.sqlite import reindexing
from memrouter.store.sqlite.database import Database
from memrouter.store.sqlite.vaults import SqliteVaultStore
from memrouter.store.statements import statements

NOW = datetime(2026, 6, 5, tzinfo=UTC)
VAULT = VaultId("ab01")
CORE = Scope(vault=VAULT)


def first(text: str, _created: datetime) -> bytes:
    return len(text).to_bytes(4, "little")


def second(text: str, _created: datetime) -> bytes:
    return first(text, _created) * 2


OLD, NEW = Analysis(version=1, terms=first), Analysis(version=2, terms=second)


def turn(text: str, analysis: Analysis) -> NewTurn:
    piece = Piece(text=text, tokens=1, terms=analysis.terms(text, NOW))
    return NewTurn(role="user", text=text, created=NOW, pieces=(piece,), digest=b"d" * 16)


async def terms(store: SqliteVaultStore) -> list[int]:
    return [int(term) for term in (await store.signals(CORE)).terms]


async def renewed(store: SqliteVaultStore, expected: list[int]) -> None:
    async with asyncio.timeout(20):
        while await terms(store) != expected:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.01)


async def test_terms_of_other_rules_are_made_anew_once_a_vault_is_opened(tmp_path: Path) -> None:
    old = SqliteVaultStore(tmp_path, analysis=OLD)
    for text in ("a", "bb"):
        await old.remember(VAULT, [turn(text, OLD)], now=NOW)
    assert await terms(old) == [1, 2]
    await old.close()
    new = SqliteVaultStore(tmp_path, analysis=NEW)
    await new.remember(VAULT, [turn("ccc", NEW)], now=NOW)
    await renewed(new, [1, 1, 2, 2, 3, 3])
    await new.close()
    again = SqliteVaultStore(tmp_path, analysis=NEW)
    assert await terms(again) == [1, 1, 2, 2, 3, 3]
    assert again._renewing == {}
    await again.close()


async def test_a_new_vault_has_the_newest_terms(tmp_path: Path) -> None:
    store = SqliteVaultStore(tmp_path, analysis=NEW)
    await store.remember(VAULT, [turn("a", NEW)], now=NOW)
    await store.close()
    database = Database(tmp_path / "vaults" / "ab" / "ab01.db", statements("vault"))
    assert database.one("analysis") == (2,)
    database.close()


async def test_what_came_or_went_while_terms_were_made_is_right(tmp_path: Path) -> None:
    store = SqliteVaultStore(tmp_path, analysis=OLD)
    await store.remember(VAULT, [turn("a", OLD), turn("bb", OLD)], now=NOW)
    database = Database(tmp_path / "vaults" / "ab" / "ab01.db", statements("vault"))
    made = reindexing.terms(database, NEW)
    await store.delete(VAULT, 1)
    await store.remember(VAULT, [turn("ccc", OLD)], now=NOW)
    reindexing.renew(database, NEW, made)
    assert await terms(store) == [2, 2, 3, 3]
    database.close()
    await store.close()
