"""Commands hand on what was typed. What they do is tested with memrouter.offline."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from memrouter import offline
from memrouter.cli import cli

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
