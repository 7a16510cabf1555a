"""Import, export and search of a vault without a server."""

from __future__ import annotations

import asyncio
import io
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from rich.console import Console

from memrouter import offline
from memrouter.app import open_directory
from memrouter.config import Config
from memrouter.edge import auth
from memrouter.errors import Forbidden, NotFound

NOW = datetime(2026, 6, 5, tzinfo=UTC)


class Desk:
    """A data folder with an account key and a user's key."""

    def __init__(self, folder: Path) -> None:
        self.config = Config(data_dir=str(folder))
        self.account_key, self.key = auth.mint(), auth.mint()
        self.id = asyncio.run(self._keys())
        self.shown = io.StringIO()
        self.console = Console(file=self.shown, width=200)

    async def _keys(self) -> str:
        directory = open_directory(self.config)
        account = await directory.add_account()
        for key, is_account in ((self.account_key, True), (self.key, False)):
            record = await directory.add_key(
                account, auth.digest(key), masked="", name="", now=NOW, is_account=is_account
            )
        await directory.close()
        return record.id

    def store(self, lines: bytes, key: str = "", user: str = "", session: str = "") -> bool:
        file = io.BytesIO(lines)
        return offline.store_file(self.config, key or self.key, user, session, file, self.console)

    def lines(self, key: str = "", user: str = "", session: str = "") -> list[dict[str, object]]:
        file = io.BytesIO()
        offline.write_file(self.config, key or self.key, user, session, file)
        return [json.loads(line) for line in file.getvalue().splitlines()]

    def found(self, query: str, session: str = "") -> str:
        self.shown.truncate(0)
        offline.show_found(self.config, self.key, "", session, query, 5, self.console)
        return self.shown.getvalue()


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_in_out_and_found(desk: Desk) -> None:
    lines = b'{"content":"My dog is called Rex.","timestamp":1733000000000}\n{"content":"tea"}\n'
    assert desk.store(lines)
    assert "Stored 2 new memories from 2 items\n" in desk.shown.getvalue()
    assert [line["content"] for line in desk.lines()] == ["My dog is called Rex.", "tea"]
    first = desk.found("What is my dog called?").splitlines()[1]
    assert "2024-11-30 20:53" in first
    assert "My dog is called Rex." in first
    assert desk.store(lines)  # again: nothing is stored twice
    assert len(desk.lines()) == 2
    assert "Stored 0 new memories from 2 items; 2 were there already" in desk.shown.getvalue()
    assert desk.store(lines + b'{"content":"coffee"}\n{"content":"coffee"}')
    assert "Stored 1 new memory from 4 items; 3 were there already" in desk.shown.getvalue()


def test_what_is_stored_is_shown_as_it_is(desk: Desk) -> None:
    desk.store(b'{"content":"[bold]turnips[/] \\u001b[31mred"}')
    shown = desk.found("turnips")
    assert "[bold]turnips[/]" in shown
    assert "\x1b" not in shown


def test_sessions(desk: Desk) -> None:
    desk.store(b'{"content":"tea"}\n{"content":"coffee","session_id":"line"}', session="s")
    assert [line["content"] for line in desk.lines(session="s")] == ["tea"]
    assert len(desk.lines()) == 2
    assert "tea" in desk.found("tea", "s")
    assert "tea" not in desk.found("tea")


def test_bad_lines_are_named(desk: Desk) -> None:
    assert not desk.store(b'{"content":"tea"}\n[bold]\n' + b"[]\n" * 150)
    shown = desk.shown.getvalue()
    assert "line 2: Not" in shown
    assert "and 51 more" in shown
    assert "Stored 1 new memory from 152 items\n" in shown


def test_files_may_be_longer_than_uploads(desk: Desk) -> None:
    rows = [
        {"content": f"Item {n}", "timestamp": 1733000000000 + n, "conversation_id": "c"}
        for n in range(12_000)
    ]
    assert desk.store("\n".join(map(json.dumps, rows)).encode())
    stored = desk.lines()
    assert [line["content"] for line in stored] == [row["content"] for row in rows]
    assert stored[-1]["position"] == 11_999


def test_whose_vault(desk: Desk) -> None:
    desk.store(b'{"content":"by the key"}')
    desk.store(b'{"content":"by its id"}', key=desk.id)
    desk.store(b'{"content":"by the key and a mode"}', key=f"{desk.key}:read")
    assert len(desk.lines()) == 3
    desk.store(b'{"content":"of ann"}', key=desk.account_key, user="ann")
    assert [line["content"] for line in desk.lines(desk.account_key, "ann")] == ["of ann"]
    assert desk.lines(desk.account_key) == []


@pytest.mark.parametrize("key", ["key_unknown", "mk_" + "x" * 40])
def test_an_unknown_key(desk: Desk, key: str) -> None:
    with pytest.raises(NotFound) as caught:
        desk.lines(key)
    assert "keys list" in caught.value.hint


def test_a_misspelt_user_is_not_made(desk: Desk) -> None:
    for _ in range(2):
        with pytest.raises(NotFound, match="no such user"):
            desk.lines(key=desk.account_key, user="nobody")


def test_a_minted_key_has_no_users(desk: Desk) -> None:
    with pytest.raises(Forbidden):
        desk.lines(user="ann")


def test_an_empty_data_folder(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        offline.write_file(Config(data_dir=str(tmp_path)), "key_1", "", "", io.BytesIO())
