from __future__ import annotations

import os
import shlex
import stat
from pathlib import Path

import pytest

from memrouter import start
from memrouter.config import Config
from memrouter.edge import auth
from memrouter.errors import ConfigError
from memrouter.testing.directory import MemoryDirectory

KEY = "mk_" + "k" * 32


@pytest.fixture
def directory() -> MemoryDirectory:
    return MemoryDirectory()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# --- the data folder ---


def test_the_data_folder_is_made_for_its_owner_only(tmp_path: Path) -> None:
    folder = start.data_folder(Config(data_dir=str(tmp_path / "a" / "b")))
    assert folder == tmp_path / "a" / "b"
    assert mode(folder) == 0o700
    assert list(folder.iterdir()) == []


def test_a_folder_that_is_there_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("x")
    assert start.data_folder(Config(data_dir=str(tmp_path))) == tmp_path
    assert [p.name for p in tmp_path.iterdir()] == ["kept"]


def test_a_tilde_is_the_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert start.data_folder(Config(data_dir="~/memories")) == tmp_path / "memories"


def test_a_folder_that_cannot_be_written_stops_the_start(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    for taken in (file, file / "below", Path("/proc/none")):
        with pytest.raises(ConfigError, match="cannot be written") as refused:
            start.data_folder(Config(data_dir=str(taken)))
        assert str(taken) in str(refused.value)
        assert "MEMROUTER_DATA_DIR" in refused.value.hint


@pytest.mark.parametrize("made", ["", "other/x"], ids=["empty", "something else"])
def test_a_folder_without_data_is_refused_where_data_are_needed(tmp_path: Path, made: str) -> None:
    missing = tmp_path / "daat"
    with pytest.raises(ConfigError, match="is not there") as refused:
        start.refuse_missing(Config(data_dir=str(missing)))
    assert str(missing) in str(refused.value)
    assert "MEMROUTER_DATA_DIR" in refused.value.hint
    assert not missing.exists()
    (missing / made).mkdir(parents=True)
    with pytest.raises(ConfigError, match="holds nothing"):
        start.refuse_missing(Config(data_dir=str(missing)))


@pytest.mark.parametrize("name", ["directory.db", "vaults", "keyring.db"])
def test_a_folder_with_data_is_not_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    start.refuse_missing(Config(data_dir=str(tmp_path)))


# --- keys ---


@pytest.mark.parametrize("key", [KEY, "mk_" + "aZ0_-" * 10, "mk_" + "x" * 500])
def test_account_keys(key: str) -> None:
    assert start.checked_key(key) == key


WRONG = {
    "empty": "",
    "no prefix": "k" * 40,
    "another prefix": "sk_" + "k" * 40,
    "the dashed prefix": "mk-" + "k" * 40,
    "too short": "mk_" + "k" * 31,
    "a suffix": KEY + ":read",
    "white space": KEY + " ",
    "a line end": KEY + "\n",
    "not ASCII": "mk_" + "é" * 40,
}


@pytest.mark.parametrize("key", WRONG.values(), ids=WRONG)
def test_what_is_no_account_key_stops_the_start(key: str) -> None:
    with pytest.raises(ConfigError, match="account_key") as refused:
        start.checked_key(key)
    assert "secrets.token_urlsafe" in refused.value.hint
    assert not key or key not in str(refused.value)


def test_the_hints_command_makes_a_key_that_is_accepted(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(ConfigError) as refused:
        start.checked_key("")
    [_, _, code] = shlex.split(refused.value.hint.removeprefix("Make one: "))
    exec(code)
    assert start.checked_key(capsys.readouterr().out.strip())


# --- the secret that seals provider keys ---


def test_a_given_secret_is_not_written(tmp_path: Path) -> None:
    assert start.secret_key(Config(secret_key="given"), tmp_path) == "given"
    assert list(tmp_path.iterdir()) == []


def test_a_secret_is_made_once(tmp_path: Path) -> None:
    made = start.secret_key(Config(), tmp_path)
    assert len(made) >= 43
    assert start.secret_key(Config(), tmp_path) == made
    assert mode(tmp_path / start.SECRET_FILE) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [start.SECRET_FILE]


def test_a_secret_is_written_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(_descriptor: int) -> None:
        raise OSError("the power is gone")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", cut)
        with pytest.raises(OSError, match="power"):
            start.secret_key(Config(), tmp_path)
    assert not (tmp_path / start.SECRET_FILE).exists()
    assert len(start.secret_key(Config(), tmp_path)) >= 43
    assert [path.name for path in tmp_path.iterdir()] == [start.SECRET_FILE]


def test_what_is_made_at_the_start_is_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []

    def note(descriptor: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))

    monkeypatch.setattr(os, "fsync", note)
    folder = start.data_folder(Config(data_dir=str(tmp_path / "a" / "b")))
    assert synced == [str(tmp_path), str(tmp_path / "a")]
    synced.clear()
    start.secret_key(Config(), folder)
    assert Path(synced[0]).parent == folder
    assert synced[1:] == [str(folder)]


# --- what a newcomer is shown ---


def shown(**settings: str | int) -> str:
    config = Config(**settings)  # type: ignore[arg-type]
    return start.banner(config, Path("/data"), start.Started(new_key=KEY))


def test_the_first_start_shows_the_key_and_lines_to_paste() -> None:
    text = shown(port=9000)
    assert "http://127.0.0.1:9000, data in /data" in text
    assert f"\n    {KEY}\n" in text
    assert (
        f"curl http://127.0.0.1:9000/v1/chat/completions -H 'Authorization: Bearer {KEY}'" in text
    )
    assert f'OpenAI(base_url="http://127.0.0.1:9000/v1", api_key="{KEY}")' in text
    assert f"export ANTHROPIC_BASE_URL=http://127.0.0.1:9000 ANTHROPIC_API_KEY={KEY}" in text


def test_the_lines_can_be_pasted() -> None:
    text = shown()
    at = text.index("curl http")
    command = shlex.split(text[at : text.index("OpenAI SDK")])
    assert command[0] == "curl"
    assert command[-2] == "-d"
    body = command[-1]
    assert '"model": "openai/gpt-5.5"' in body
    code = text[text.index("from openai") : text.index("Claude Code")]
    compile("\n".join(line.strip() for line in code.splitlines()), "banner", "exec")


def test_later_starts_show_one_line_and_no_key() -> None:
    text = start.banner(Config(), Path("/data"), start.Started(new_key=None))
    assert len(text.splitlines()) == 1
    assert "mk_" not in text


HOSTS = {
    "127.0.0.1": "http://127.0.0.1:8484",
    "0.0.0.0": "http://127.0.0.1:8484",
    "::": "http://127.0.0.1:8484",
    "::1": "http://[::1]:8484",
    "memory.example": "http://memory.example:8484",
}


@pytest.mark.parametrize(("host", "base"), HOSTS.items())
def test_the_address_is_one_that_can_be_called(host: str, base: str) -> None:
    assert f"serves on {base}," in shown(host=host)


# --- the first account ---


async def test_the_first_start_makes_an_account_and_its_key(directory: MemoryDirectory) -> None:
    started = await start.ensure_account(Config(), directory)
    assert started.new_key is not None
    record = await directory.key(auth.digest(started.new_key))
    assert record is not None
    assert record.is_account
    assert record.account == await directory.first_account()
    assert (await start.ensure_account(Config(), directory)).new_key is None
    assert len(await directory.keys(record.account)) == 1


async def test_a_given_key_opens_the_account_and_is_not_shown(directory: MemoryDirectory) -> None:
    started = await start.ensure_account(Config(account_key=KEY), directory)
    assert started.new_key is None
    record = await directory.key(auth.digest(KEY))
    assert record is not None
    assert record.is_account


async def test_another_given_key_takes_the_place_of_the_one_before(
    directory: MemoryDirectory,
) -> None:
    other = "mk_" + "o" * 32
    for key in (KEY, KEY, other, other):
        await start.ensure_account(Config(account_key=key), directory)
    old, new = [await directory.key(auth.digest(key)) for key in (KEY, other)]
    assert new is not None
    assert new.revoked is None
    assert old is None or old.revoked is not None
    if old is not None:
        assert old.account == new.account


async def test_a_wrong_key_changes_nothing(directory: MemoryDirectory) -> None:
    with pytest.raises(ConfigError):
        await start.ensure_account(Config(account_key="mk_short"), directory)
    assert await directory.first_account() is None
