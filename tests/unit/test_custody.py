"""Encrypting, decrypting, deleting and rotating in a whole data folder."""

from __future__ import annotations

import asyncio
import io
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from memrouter import app, custody, offline
from memrouter.config import Config
from memrouter.edge import auth
from memrouter.errors import ConfigError, Conflict
from memrouter.secrets import SealBroken, Sealer

NOW = datetime(2026, 6, 5, tzinfo=UTC)
OLD, NEW = "an old secret of some length", "a new secret of some length"
CANARY = "canary"
LINE = b'{"content": "The canary sings at dawn."}\n'


class Folder:
    """A data folder with an account and two vaults."""

    def __init__(self, path: Path, *, encrypt: bool = False) -> None:
        self.path = path
        self.config = Config(data_dir=str(path), secret_key=OLD, encrypt_vaults=encrypt)
        self.key = auth.mint()
        asyncio.run(self._account())
        self.shown = io.StringIO()
        self.console = Console(file=self.shown, width=200)
        for user in ("", "canary-user"):
            offline.store_file(self.config, self.key, user, "", io.BytesIO(LINE), self.console)

    async def _account(self) -> None:
        directory = app.open_directory(self.config)
        self.account = await directory.add_account()
        hashed = auth.digest(self.key)
        await directory.add_key(
            self.account, hashed, masked="", name="canary", now=NOW, is_account=True
        )
        await directory.set_provider_key(self.account, "openai", Sealer(OLD).seal("sk-kept"))
        await directory.close()

    def with_(self, **changes: object) -> Config:
        return msgspec.structs.replace(self.config, **changes)

    def lines(self, config: Config | None = None, user: str = "") -> bytes:
        file = io.BytesIO()
        offline.write_file(config or self.config, self.key, user, "", file)
        return file.getvalue()

    def traces(self) -> int:
        paths = [path for path in self.path.rglob("*") if path.is_file()]
        return sum(CANARY.encode() in path.read_bytes() for path in paths)


def test_a_folder_is_encrypted_and_decrypted(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    assert folder.traces() == 3  # two vaults and the directory
    before = folder.lines()
    assert custody.convert(folder.config, folder.console, encrypt=True)
    assert folder.traces() == 0
    kinds = custody.kinds(tmp_path)
    assert (kinds["plain"], kinds["encrypted"]) == (0, 5)
    assert "Encrypted 5 files; 0 were" in folder.shown.getvalue()
    assert "MEMROUTER_ENCRYPT_VAULTS=true" in folder.shown.getvalue()
    assert folder.lines() == before
    assert custody.convert(folder.config, folder.console, encrypt=False)
    assert folder.traces() == 3
    assert folder.lines() == before


def test_nothing_is_decrypted_while_the_setting_is_on(tmp_path: Path) -> None:
    folder = Folder(tmp_path, encrypt=True)
    assert folder.traces() == 0
    with pytest.raises(Conflict, match="MEMROUTER_ENCRYPT_VAULTS"):
        custody.convert(folder.config, folder.console, encrypt=False)
    assert folder.traces() == 0


def test_what_is_in_use_is_named_and_left(tmp_path: Path) -> None:
    folder = Folder(tmp_path)

    async def convert() -> bool:
        directory = app.open_directory(folder.config)
        try:
            return custody.convert(folder.config, folder.console, encrypt=True)
        finally:
            await directory.close()

    assert not asyncio.run(convert())
    assert "directory.db: directory.db is locked" in folder.shown.getvalue()
    assert custody.kinds(tmp_path)["plain"] == 2
    assert custody.convert(folder.config, folder.console, encrypt=True)


def test_a_vault_is_deleted_with_its_key(tmp_path: Path) -> None:
    folder = Folder(tmp_path, encrypt=True)
    vault = custody.find_vault(folder.config, folder.key, "canary-user")
    assert (tmp_path / "vaults" / vault[:2] / f"{vault}.db").exists()
    assert custody.delete_vault(folder.config, folder.key, "canary-user") == 1
    assert folder.lines(user="canary-user") == b""
    assert LINE[13:20] in folder.lines()
    assert len(list((tmp_path / "vaults").glob("*/*.db"))) == 1
    files = app.open_files(folder.config, tmp_path)
    assert len(files.keyring.files()) == 4
    files.close()


@pytest.mark.parametrize("wrong", [NEW, ""], ids=["another", "none"])
def test_the_wrong_secret_stops_the_start_and_changes_nothing(tmp_path: Path, wrong: str) -> None:
    folder = Folder(tmp_path, encrypt=True)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    for encrypt in (True, False):
        with pytest.raises(ConfigError) as caught:
            folder.lines(folder.with_(secret_key=wrong, encrypt_vaults=encrypt))
        assert "MEMROUTER_SECRET_KEY" in caught.value.hint
    after = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert after == before


def test_after_a_rotation_the_old_secret_is_not_needed(tmp_path: Path) -> None:
    folder = Folder(tmp_path, encrypt=True)
    before = folder.lines()
    assert custody.rotate(folder.with_(secret_key=f"{NEW},{OLD}")) == (5, 1)
    config = folder.with_(secret_key=NEW)
    assert folder.lines(config) == before

    async def sealed() -> bytes:
        directory = app.open_directory(config)
        try:
            return (await directory.provider_keys(folder.account))["openai"]
        finally:
            await directory.close()

    assert Sealer(NEW).open(asyncio.run(sealed())) == "sk-kept"
    with pytest.raises(ConfigError):
        folder.lines()


def test_a_rotation_without_the_old_secret_is_refused(tmp_path: Path) -> None:
    plain = Folder(tmp_path)
    with pytest.raises(SealBroken):
        custody.rotate(plain.with_(secret_key=NEW))
    assert custody.rotate(plain.with_(secret_key=f"{NEW},{OLD}")) == (0, 1)


@pytest.mark.parametrize("inside", [".", "backup", "vaults/backup", "../data/backup"])
def test_a_backup_does_not_lie_in_what_it_is_of(tmp_path: Path, inside: str) -> None:
    folder = Folder(tmp_path / "data")
    before = sorted(folder.path.rglob("*"))
    with pytest.raises(Conflict, match="lies in the data folder"):
        custody.back_up(folder.config, folder.path / inside, folder.console)
    assert sorted(folder.path.rglob("*")) == before
    (tmp_path / "link").symlink_to(folder.path)
    with pytest.raises(Conflict, match="lies in the data folder"):
        custody.back_up(folder.config, tmp_path / "link" / "backup", folder.console)
    assert custody.back_up(folder.config, tmp_path / "data2", folder.console)


def test_one_thing_is_not_many(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "data")
    vault = custody.find_vault(folder.config, folder.key, "")
    assert custody.back_up(folder.config, tmp_path / "there", folder.console)
    for path in (folder.path / "vaults").glob("*/*.db"):
        if path.stem != vault:
            path.unlink()
    assert custody.examine_deeply(folder.config, folder.console, repair=False)
    assert custody.put_back(
        folder.config, tmp_path / "there", folder.console, vault=vault, force=True
    )
    said = folder.shown.getvalue()
    assert "1 of 1 vault is whole" in said
    assert "1 file restored and checked" in said
