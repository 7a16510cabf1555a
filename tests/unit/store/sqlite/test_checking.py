from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from memrouter.domain import Analysis, Scope, VaultId
from memrouter.store.sqlite import checking
from memrouter.store.sqlite.database import Database
from memrouter.store.sqlite.files import Files
from memrouter.store.sqlite.vaults import SqliteVaultStore
from memrouter.store.statements import statements

from .test_vaults import NOW, turn

VAULT = VaultId("ab01")
CORE = Scope(vault=VAULT)
RULES = Analysis(version=7, terms=lambda text, _: len(text).to_bytes(4, "little"))


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    store = SqliteVaultStore(tmp_path, analysis=RULES)
    turns = [turn(f"text {n}", session="s" * (n % 2), conversation="c") for n in range(40)]
    for one in turns:
        await store.remember(VAULT, [one], now=NOW)
    await store.set_vectors(VAULT, "e", range(1, 31), np.eye(30, 64, dtype=np.float32))
    await store.close()
    return tmp_path / "vaults" / "ab" / "ab01.db"


@pytest.fixture
def files(tmp_path: Path) -> Iterator[Files]:
    opened = Files(tmp_path)
    yield opened
    opened.close()


def change(sql: str) -> Callable[[Path], None]:
    def run(path: Path) -> None:
        database = Database(path, {**statements("vault"), "change": sql, "off": OFF})
        database.one("off")
        database.one("change")
        database.close()

    return run


def overwrite(path: Path) -> None:
    """Damage a page of a table that cannot be made anew."""
    content = bytearray(path.read_bytes())
    at = content.index(b"text 17")
    content[at - 600 : at + 600] = b"\xff" * 1_200
    path.write_bytes(content)


def garbage(path: Path) -> None:
    path.write_bytes(b"garbage " * 999)


OFF = "PRAGMA foreign_keys = OFF"
WRONG: dict[str, tuple[Callable[[Path], None], str, bool]] = {
    "a segment is gone": (
        change("DELETE FROM segment WHERE id = (SELECT min(id) FROM segment)"),
        "that recall does not see",
        True,
    ),
    "a segment is cut": (
        change("UPDATE segment SET terms = x'00' WHERE id = (SELECT min(id) FROM segment)"),
        "1 wrong row of segments",
        True,
    ),
    "a segment is another session's": (
        change("UPDATE segment SET session = 'x' WHERE session = ''"),
        " of segments",
        True,
    ),
    "nobody waits": (
        change("DELETE FROM pending"),
        "10 chunks without a vector, not waiting for one",
        True,
    ),
    "a chunk has no turn": (
        change("DELETE FROM memory WHERE id = 3"),
        "1 row whose owners are gone",
        True,
    ),
    "terms of other rules": (
        change("UPDATE meta SET analysis = 6"),
        "terms by rules 6, not 7",
        True,
    ),
    "a damaged page": (overwrite, "damaged", False),
    "garbage": (garbage, "damaged", False),
    "another vault's file": (change("UPDATE meta SET vault = 'x'"), "damaged: it is not", False),
}


@pytest.mark.parametrize(("harm", "told", "mends"), WRONG.values(), ids=WRONG)
async def test_what_is_wrong_is_told_and_what_can_be_is_mended(
    path: Path, files: Files, harm: Callable[[Path], None], told: str, mends: bool
) -> None:
    assert checking.examine(files, path, RULES) == []
    harm(path)
    found = checking.examine(files, path, RULES)
    assert any(told in line for line in found), found
    waiting, left = checking.repair(files, path, RULES)
    assert (left == []) is mends, left
    if mends:
        assert waiting >= 39
        assert checking.examine(files, path, RULES) == []


async def test_what_is_rebuilt_is_what_was_there(path: Path, tmp_path: Path, files: Files) -> None:
    store = SqliteVaultStore(tmp_path, analysis=RULES)
    scope = Scope(vault=VAULT, session="s")
    before = await store.signals(scope)
    assert checking.repair(files, path, RULES) == (40, [])
    after = await store.signals(scope)
    for name in ("ids", "memories", "groups", "created", "roles", "digests"):
        assert getattr(before, name).tolist() == getattr(after, name).tolist(), name
    assert after.terms.tolist() == [len(f"text {id - 1}") for id in after.ids.tolist()]
    assert not after.embedded.any()
    await store.close()
    again = SqliteVaultStore(tmp_path, analysis=RULES)
    assert [vault async for vault in again.backlog()] == [VAULT]
    assert len(await again.pending(VAULT, 100)) == 40
    await again.close()
