from __future__ import annotations

import asyncio
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from memrouter import __version__
from memrouter.cli import cli
from memrouter.edge import auth
from memrouter.store.sqlite.directory import SqliteDirectory

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The command line, in an empty folder and with an environment that is put back."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("MEMROUTER_")]:
        monkeypatch.delenv(name)
    # `--data-dir` and its like are handed on in the environment.
    monkeypatch.setattr(os, "environ", os.environ.copy())
    monkeypatch.setenv("MEMROUTER_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("COLUMNS", "200")

    begun(tmp_path / "data")

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(cli, arguments, prog_name="memrouter")

    return run


def begun(folder: Path) -> Path:
    """A data folder as a start leaves it."""

    async def begin() -> None:
        directory = SqliteDirectory(folder)
        await directory.first_account()
        await directory.close()

    folder.mkdir()
    asyncio.run(begin())
    assert (folder / "directory.db").exists()
    return folder


def ids(listed: str) -> dict[str, str]:
    """Name → id of the keys in a list."""
    rows = [line.split() for line in listed.splitlines()[1:]]
    return {row[2]: row[0] for row in rows if len(row) > 2}


# --- help ---

# command → what its help must tell
TEACHES: dict[str, tuple[str, ...]] = {
    "": ("demo", "serve", "doctor", "keys", "import", "export", "search", "MEMROUTER_PORT", "toml"),
    "serve": ("--host", "--port", "--workers", "account key", "once", "SIGTERM"),
    "demo": ("no provider key", "restart"),
    "doctor": (
        "store",
        "embedder",
        "provider",
        "status 1",
        "--repair As --deep",
        "memories stay as they are",
        "vectors when the server starts next",
        "restore FOLDER --vault ID --force",
    ),
    "keys": ("create", "list", "rotate", "revoke", "while the server runs"),
    "keys create": ("NAME", "never shown again", "vault of its own", "--account"),
    "keys list": ("id",),
    "keys rotate": ("ID", "memory stays", "dead"),
    "keys revoke": ("ID", "memory stays"),
    "import": ("FILE", "JSONL", "content", "skipped", "--key"),
    "export": ("FILE", "JSONL", "--session"),
    "search": ("QUERY", "best first", "--limit"),
    "backup": ("FOLDER", "secret.key", "what changed"),
    "restore": ("FOLDER", "--vault", "--force", "SECRET_KEY"),
    "embedder": ("use", "show", "while the server runs"),
    "embedder use": ("folder", "static", "Recall goes on", "--no-wait"),
    "embedder show": ("how many vaults",),
    "vaults": ("encrypt", "decrypt", "delete"),
    "vaults encrypt": ("MEMROUTER_ENCRYPT_VAULTS", "lost nothing"),
    "vaults decrypt": ("server stopped", "lost nothing"),
    "vaults find": ("--key", "--user", "id"),
    "vaults delete": ("--key", "--user", "--yes"),
    "secrets": ("rotate",),
    "secrets rotate": ("new,old", "restart"),
}


@pytest.mark.parametrize("flag", ["--help", "-h"])
@pytest.mark.parametrize(("command", "told"), TEACHES.items(), ids=lambda x: str(x)[:20])
def test_help_teaches(run: Run, command: str, told: tuple[str, ...], flag: str) -> None:
    result = run(*command.split(), flag)
    assert result.exit_code == 0
    words = " ".join(result.output.split())
    assert [word for word in told if word.lower() not in words.lower()] == []


def test_every_command_is_in_the_table_above() -> None:
    def commands(group: click.Group, path: str = "") -> set[str]:
        found = {path.strip()}
        for name, command in group.commands.items():
            inner = f"{path} {name}"
            is_group = isinstance(command, click.Group)
            found |= commands(command, inner) if is_group else {inner.strip()}  # type: ignore[arg-type]
        return found

    assert commands(cli) == set(TEACHES)


def test_help_loads_no_server() -> None:
    """It must come at once."""
    code = (
        "import sys; from memrouter.cli import cli\n"
        "try: cli(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'uvicorn', 'tokenizers', 'aiohttp', 'starlette', 'apsw'}\n"
        "print('heavy:', sorted(heavy & set(sys.modules)))"
    )
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert told.stdout.splitlines()[-1] == "heavy: []"


def test_version(run: Run) -> None:
    assert run("--version").output.strip() == f"memrouter, version {__version__}"


@pytest.mark.parametrize("arguments", [["fly"], ["keys", "fly"], ["serve", "--port", "http"]])
def test_what_is_misspelt_is_status_2(run: Run, arguments: list[str]) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert "Error" in result.output


# --- keys ---


def test_the_life_of_a_key(run: Run, tmp_path: Path) -> None:
    made = run("keys", "create", "alice")
    assert made.exit_code == 0
    key = made.output.strip()
    assert auth.KEY.fullmatch(key)
    other = run("keys", "create", "bob", "--account").output.strip()
    listed = run("keys", "list").output
    assert key not in listed
    assert auth.masked(key) in listed
    assert "account" in next(line for line in listed.splitlines() if "bob" in line)
    assert "account" not in next(line for line in listed.splitlines() if "alice" in line)

    vault = known(tmp_path, key)
    rotated = run("keys", "rotate", ids(listed)["alice"])
    assert rotated.exit_code == 0
    new = rotated.output.strip()
    assert new != key
    assert known(tmp_path, key) is None
    assert known(tmp_path, new) == vault

    revoked = run("keys", "revoke", ids(listed)["alice"])
    assert (revoked.exit_code, revoked.output) == (0, f"Revoked {ids(listed)['alice']}\n")
    assert known(tmp_path, new) is None
    assert known(tmp_path, other) is not None
    assert list(ids(run("keys", "list").output)) == ["bob"]


def known(folder: Path, key: str) -> str | None:
    """The vault that a key opens; None if it opens none."""

    async def find() -> str | None:
        directory = SqliteDirectory(folder / "data")
        try:
            record = await directory.key(auth.digest(key))
        finally:
            await directory.close()
        return None if record is None or record.revoked else record.vault

    return asyncio.run(find())


def test_keys_of_one_account_have_vaults_of_their_own(run: Run, tmp_path: Path) -> None:
    made = [run("keys", "create", f"user {n}").output.strip() for n in range(3)]
    assert len({known(tmp_path, key) for key in made}) == 3


def test_before_the_first_key_the_list_is_empty(run: Run) -> None:
    result = run("keys", "list")
    assert result.exit_code == 0
    assert ids(result.output) == {}


def test_what_is_exported_is_its_owners_alone(run: Run, tmp_path: Path) -> None:
    run("keys", "create", "alice")
    id = ids(run("keys", "list").output)["alice"]
    (tmp_path / "in.jsonl").write_text('{"content": "I have a dog."}\n')
    assert run("import", "--key", id, "in.jsonl").exit_code == 0
    assert run("export", "--key", id, "out.jsonl").exit_code == 0
    assert stat.S_IMODE((tmp_path / "out.jsonl").stat().st_mode) == 0o600


def test_one_memory_is_one(run: Run, tmp_path: Path) -> None:
    run("keys", "create", "alice")
    id = ids(run("keys", "list").output)["alice"]
    (tmp_path / "in.jsonl").write_text('{"content": "I have a dog."}\n')
    assert "Stored 1 new memory from 1 item" in run("import", "--key", id, "in.jsonl").output
    deleted = run("vaults", "delete", "--key", id, "--yes")
    assert deleted.output == "Deleted 1 memory and the vault\n"
    assert "Sealed 0 keys of files and 0 keys of" in run("secrets", "rotate").output


def test_the_last_account_key_stays(run: Run) -> None:
    run("keys", "create", "first", "--account")
    run("keys", "create", "second", "--account")
    listed = ids(run("keys", "list").output)
    assert run("keys", "revoke", listed["first"]).exit_code == 0
    refused = run("keys", "revoke", listed["second"])
    assert refused.exit_code == 1
    assert "last account key" in refused.output
    assert list(ids(run("keys", "list").output)) == ["second"]


@pytest.mark.parametrize("command", ["rotate", "revoke"])
@pytest.mark.parametrize("there", [False, True], ids=["nothing", "another key"])
def test_an_unknown_id_is_named(run: Run, command: str, there: bool) -> None:
    if there:
        run("keys", "create", "alice")
    result = run("keys", command, "key_none")
    assert result.exit_code == 1
    assert "There is no key key_none" in result.output
    assert "memrouter keys list" in result.output
    assert "Traceback" not in result.output


NAMES = [
    "user:42",
    "Größe 😀",
    "[red]x",
    "[/x]",
]


@pytest.mark.parametrize("name", NAMES)
def test_any_name_can_be_listed(run: Run, name: str) -> None:
    run("keys", "create", name)
    result = run("keys", "list")
    assert result.exit_code == 0
    assert name in result.output


# --- the configuration ---


def test_the_data_dir_can_be_given(run: Run, tmp_path: Path) -> None:
    other = begun(tmp_path / "other")
    assert run("--data-dir", str(other), "keys", "create", "alice").exit_code == 0
    assert list(ids(run("--data-dir", str(other), "keys", "list").output)) == ["alice"]
    assert ids(run("--data-dir", "data", "keys", "list").output) == {}


ON_DATA = [
    "keys create",
    "keys list",
    "doctor",
    "doctor --deep",
    "import in.jsonl --key k",
    "export --key k",
    "search x --key k",
    "backup there",
    "vaults encrypt",
    "vaults find --key k",
    "vaults delete --key k --yes",
    "secrets rotate",
    "embedder show",
    "embedder use static",
]


@pytest.mark.parametrize("command", ON_DATA)
def test_a_misspelt_data_folder_is_not_made(run: Run, tmp_path: Path, command: str) -> None:
    (tmp_path / "in.jsonl").touch()
    missing = tmp_path / "daat"
    result = run("--data-dir", str(missing), *command.split())
    assert result.exit_code == 1
    assert f"{missing} is not there" in result.output
    assert "--data-dir" in result.output
    assert not missing.exists()


def test_a_restore_may_make_a_data_folder(run: Run, tmp_path: Path) -> None:
    run("keys", "create", "alice")
    assert run("backup", "there").exit_code == 0
    assert run("--data-dir", "new", "restore", "there").exit_code == 0
    assert list(ids(run("--data-dir", "new", "keys", "list").output)) == ["alice"]


def test_a_config_file_can_be_given(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MEMROUTER_DATA_DIR")
    file = tmp_path / "my.toml"
    file.write_text(f"data_dir = '{begun(tmp_path / 'fromfile')}'")
    assert run("--config", str(file), "keys", "create", "alice").exit_code == 0
    assert list(ids(run("--config", str(file), "keys", "list").output)) == ["alice"]


COMMANDS = [
    ["serve"],
    ["keys", "list"],
    ["keys", "create"],
    ["doctor"],
    ["search", "x", "--key", "k"],
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_wrong_setting_stops_every_command(
    run: Run, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    monkeypatch.setenv("MEMROUTER_PROT", "1")
    result = run(*command)
    assert result.exit_code == 1
    assert "MEMROUTER_PROT is not a setting" in result.output
    assert "Did you mean `MEMROUTER_PORT`?" in result.output
    assert "Traceback" not in result.output


WRONG = {
    "account_key": ({"ACCOUNT_KEY": "short"}, "", "MEMROUTER_ACCOUNT_KEY: not a memory key"),
    "account_key in a file": (
        {},
        "account_key = 'short'",
        "account_key in memrouter.toml: not a memory key",
    ),
    "secret_key": ({"SECRET_KEY": "short"}, "", "MEMROUTER_SECRET_KEY: needs at least"),
    "default_provider": ({"DEFAULT_PROVIDER": "nope"}, "", "MEMROUTER_DEFAULT_PROVIDER: 'nope'"),
    "allowed_upstreams": ({}, "allowed_upstreams = ['x y']", "allowed_upstreams in memrouter.toml"),
    "base_url": (
        {"PROVIDERS__OPENAI__BASE_URL": "ftp://x"},
        "",
        "MEMROUTER_PROVIDERS__OPENAI__BASE_URL: not an http or https URL",
    ),
    "base_url of an alias in a file": (
        {},
        "[providers.gemini]\nbase_url = 'ftp://x'",
        "providers.gemini.base_url in memrouter.toml: not an http",
    ),
    "a provider nobody knows": (
        {"PROVIDERS__LAB__MODELS": "a"},
        "",
        "MEMROUTER_PROVIDERS__LAB__MODELS: not a known provider",
    ),
}


@pytest.mark.parametrize(("env", "file", "told"), WRONG.values(), ids=WRONG)
def test_a_wrong_value_is_named_as_it_was_written(
    run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    env: dict[str, str],
    file: str,
    told: str,
) -> None:
    for name, value in {"PORT": "0", **env}.items():
        monkeypatch.setenv(f"MEMROUTER_{name}", value)
    (tmp_path / "memrouter.toml").write_text(file)
    result = run("serve")
    assert result.exit_code == 1
    assert told in result.output
    assert "Traceback" not in result.output


def test_a_secret_of_the_data_folder_is_no_setting(run: Run, tmp_path: Path) -> None:
    (tmp_path / "data" / "secret.key").write_text("short")
    result = run("keys", "list")
    assert "Error: secret_key: needs at least" in result.output


def test_a_hint_that_asks_ends_as_a_question(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEMROUTER_PROT", "1")
    assert "?." not in run("keys", "list").output


def test_a_folder_that_cannot_be_written_is_named(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file")
    result = run("--data-dir", "file", "keys", "list")
    assert result.exit_code == 1
    assert "cannot be written" in result.output
    assert "--data-dir" in result.output


def test_a_wrong_account_key_stops_the_start(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEMROUTER_ACCOUNT_KEY", "short")
    monkeypatch.setenv("MEMROUTER_PORT", "0")
    result = run("serve")
    assert result.exit_code == 1
    assert "MEMROUTER_ACCOUNT_KEY" in result.output
    assert "short" not in result.output
