"""A data folder of every released schema opens with the newest, with everything in it."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from memrouter.domain import AccountId, Analysis, KeyId, Scope
from memrouter.memory import analysis
from memrouter.secrets import Sealer
from memrouter.store.sqlite.directory import SqliteDirectory
from memrouter.store.sqlite.vaults import SqliteVaultStore
from memrouter.store.statements import statements

from . import released
from .released import BLOCK, FORGOTTEN, NOW, PENDING, TEXTS, USER, VAULT

SCHEMAS = Path(__file__).parents[1] / "data" / "schemas"
RELEASED = sorted(path.name for path in SCHEMAS.iterdir())
CORE = Scope(vault=VAULT)


@pytest.fixture(params=RELEASED)
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return Path(shutil.copytree(SCHEMAS / request.param, tmp_path / "data"))


@pytest.fixture
async def store(folder: Path) -> AsyncIterator[SqliteVaultStore]:
    rules = Analysis(version=analysis.VERSION, terms=analysis.index_terms)
    store = SqliteVaultStore(folder, analysis=rules)
    yield store
    await store.close()


async def test_every_memory_is_there(store: SqliteVaultStore) -> None:
    found = await store.memories(CORE, whole=True)
    expected = {(text, *rest) for text, *rest in ((t[1], t[0], *t[2:]) for t in TEXTS.values())}
    expected.add((PENDING, "user", "", ""))
    assert {(m.text, m.role, m.session, m.conversation) for m in found} == expected


async def test_what_recall_scores_is_there(store: SqliteVaultStore) -> None:
    signals = await store.signals(CORE)
    chunks = await store.chunks(VAULT, signals.ids.tolist())
    ends = zip(signals.starts, signals.starts[1:], strict=False)
    terms = [signals.terms[a:b].tobytes() for a, b in ends]
    assert len(chunks) == len(TEXTS)  # one of them stands in a session
    assert terms == [analysis.index_terms(c.text, c.created) for c in chunks]
    assert signals.embedder == "released"
    vectors = {c.text: row for c, row in zip(chunks, signals.vectors.tolist(), strict=True)}
    assert vectors[TEXTS["core"][1]] == [127, 0, 0, 0, 0, 0, 0, 0]


async def test_what_is_to_be_done_is_still_to_be_done(store: SqliteVaultStore) -> None:
    assert [vault async for vault in store.backlog()] == [VAULT]
    assert [p.text for p in await store.pending(VAULT, 10)] == [PENDING]


async def test_what_was_seen_is_known(store: SqliteVaultStore) -> None:
    chains = [released.digest(f"chain {text}") for text in (FORGOTTEN, PENDING, "something else")]
    assert set(await store.known(VAULT, chains)) == set(chains[:2])


async def test_injected_blocks_are_replayed(store: SqliteVaultStore) -> None:
    blocks, _ = await store.blocks(VAULT, [b"k" * 16], NOW)
    assert blocks[b"k" * 16].text == BLOCK


async def test_it_can_be_written(store: SqliteVaultStore) -> None:
    await store.remember(VAULT, [released.turn("Something new.")], now=NOW)
    assert (await store.stats(CORE)).memories == len(TEXTS) + 2
    assert await store.clear(VAULT, None) == len(TEXTS) + 2


async def test_accounts_and_keys_are_there(folder: Path) -> None:
    directory = SqliteDirectory(folder)
    record = await directory.key(released.HASHED)
    assert record is not None
    assert (record.vault, record.name, record.quota_tokens) == (VAULT, "käthe's", 1_000)
    account: AccountId = record.account
    assert await directory.user_vault(account, USER) in await directory.vaults_of(account)
    sealed = (await directory.provider_keys(account))["openai"]
    assert Sealer(released.SECRET).open(sealed) == "sk-kept"
    assert await directory.get_setting(account, "infinite_chat") == "on"
    (row,) = await directory.usage(KeyId("k"), NOW.date(), NOW.date())
    assert row.requests == 3
    await directory.close()


def test_every_older_schema_has_a_folder() -> None:
    newest = sum(name.startswith("schema_") for name in statements("vault"))
    assert {str(number) for number in range(1, newest)} <= set(RELEASED)
