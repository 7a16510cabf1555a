"""Commands hand on what was typed. What they do is tested with memrouter.offline."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from memrouter import custody, offline, reembedding
from memrouter.cli import cli


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path) -> None:
    """A data folder in which there was something once."""
    (tmp_path / "vaults").mkdir()


TYPED: dict[str, tuple[list[str], str, dict[str, Any]]] = {
    "import": (
        ["import", "-", "--key", "k"],
        "store_file",
        {"key": "k", "user": "", "session": ""},
    ),
    "import for a user": (
        ["import", "-", "--key", "k", "--user", "ann", "--session", "s"],
        "store_file",
        {"key": "k", "user": "ann", "session": "s"},
    ),
    "export": (["export", "--key", "k"], "write_file", {"key": "k", "user": "", "session": ""}),
    "search": (
        ["search", "--key", "k", "what a day"],
        "show_found",
        {"key": "k", "query": "what a day", "limit": 10},
    ),
    "search for more": (
        ["search", "--key", "k", "--limit", "3", "x"],
        "show_found",
        {"limit": 3, "query": "x"},
    ),
}
CUSTODY: dict[str, tuple[list[str], str, dict[str, Any], Any]] = {
    "vaults encrypt": (["vaults", "encrypt"], "convert", {"encrypt": True}, True),
    "vaults decrypt": (["vaults", "decrypt"], "convert", {"encrypt": False}, True),
    "vaults find": (["vaults", "find", "--key", "k"], "find_vault", {"key": "k", "user": ""}, "5f"),
    "vaults delete": (
        ["vaults", "delete", "--key", "k", "--user", "ann", "--yes"],
        "delete_vault",
        {"key": "k", "user": "ann"},
        3,
    ),
    "backup": (["backup", "there"], "back_up", {"target": Path("there")}, True),
    "restore": (
        ["restore", ".", "--vault", "5f", "--force"],
        "put_back",
        {"source": Path(), "vault": "5f", "force": True},
        True,
    ),
    "doctor --deep": (["doctor", "--deep"], "examine_deeply", {"repair": False}, True),
    "doctor --repair": (["doctor", "--repair"], "examine_deeply", {"repair": True}, True),
    "secrets rotate": (["secrets", "rotate"], "rotate", {}, (2, 1)),
}


@pytest.mark.parametrize(("typed", "called", "given", "answer"), CUSTODY.values(), ids=CUSTODY)
def test_what_is_typed_of_a_data_folder_is_handed_on(
    typed: list[str],
    called: str,
    given: dict[str, Any],
    answer: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[dict[str, Any]] = []

    def take(*values: Any, **named: Any) -> Any:
        calls.append({**inspect.signature(real).bind(*values, **named).arguments})
        return answer

    real = getattr(custody, called)
    monkeypatch.setattr(custody, called, take)
    done = CliRunner().invoke(cli, ["--data-dir", str(tmp_path), *typed])
    assert (done.exit_code, done.exception) == (0, None)
    (call,) = calls
    assert {name: call[name] for name in given} == given


def test_a_vault_is_deleted_only_after_a_yes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(custody, "delete_vault", None)
    typed = ["--data-dir", str(tmp_path), "vaults", "delete", "--key", "k"]
    done = CliRunner().invoke(cli, typed, input="n\n")
    assert done.exit_code == 1


EMBEDDERS: dict[str, tuple[list[str], str, dict[str, Any]]] = {
    "use": (["use", "./models/e5"], "use", {"name": "./models/e5", "wait": True}),
    "use, not waiting": (["use", "static", "--no-wait"], "use", {"name": "static", "wait": False}),
    "show": (["show"], "show", {}),
}
NAMES = {
    "store_file": ("config", "key", "user", "session", "file", "console"),
    "write_file": ("config", "key", "user", "session", "file"),
    "show_found": ("config", "key", "user", "session", "query", "limit", "console"),
}


@pytest.mark.parametrize(("typed", "called", "given"), TYPED.values(), ids=TYPED)
def test_what_is_typed_is_handed_on(
    typed: list[str],
    called: str,
    given: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: dict[str, Any] = {}

    def call(*values: Any) -> bool:
        seen.update(zip(NAMES[called], values, strict=True))
        return True

    monkeypatch.setattr(offline, called, call)
    result = CliRunner().invoke(cli, ["--data-dir", str(tmp_path), *typed], input="")
    assert result.exit_code == 0, result.output
    assert {name: seen[name] for name in given} == given
    assert seen["config"].data_dir == str(tmp_path)


@pytest.mark.parametrize(("typed", "called", "given"), EMBEDDERS.values(), ids=EMBEDDERS)
def test_what_is_typed_of_embedders_is_handed_on(
    typed: list[str],
    called: str,
    given: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
    monkeypatch.setattr(reembedding, called, lambda *args, **named: seen.append((args, named)))
    result = CliRunner().invoke(cli, ["--data-dir", str(tmp_path), "embedder", *typed])
    assert result.exit_code == 0, result.output
    ((config, *rest), named) = seen[0]
    assert config.data_dir == str(tmp_path)
    assert {**named, **({"name": rest[0]} if "name" in given else {})} == given


def test_an_import_with_failures_ends_with_status_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(offline, "store_file", lambda *_: False)
    result = CliRunner().invoke(cli, ["--data-dir", str(tmp_path), "import", "-", "--key", "k"])
    assert result.exit_code == 1


@pytest.mark.parametrize("command", ["import", "export", "search"])
def test_a_key_is_needed(command: str) -> None:
    result = CliRunner().invoke(cli, [command, "-"])
    assert result.exit_code == 2
    assert "--key" in result.output
    assert "memrouter keys list" in CliRunner().invoke(cli, [command, "--help"]).output
