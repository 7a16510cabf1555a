"""The choice of an embedder, kept in files that processes share."""

from __future__ import annotations

from pathlib import Path

import pytest

from memrouter import choice
from memrouter.choice import STATIC, Choice, Progress
from memrouter.errors import ConfigError

CHANGES: dict[str, tuple[Choice, str, Choice]] = {
    "the same": (Choice(use="a"), "a", Choice(use="a")),
    "the first": (Choice(), "a", Choice(use="a", done=False)),
    "another": (Choice(use="a"), "b", Choice(use="b", before=("a",), done=False)),
    "back before it was done": (
        Choice(use="b", before=("a",), done=False),
        "a",
        Choice(use="a", before=("b",), done=False),
    ),
    "to none": (Choice(use="a"), STATIC, Choice(before=("a",), done=False)),
    "again and again": (
        Choice(use="c", before=("b", "a"), done=False),
        "d",
        Choice(use="d", before=("c", "b"), done=False),
    ),
}


@pytest.mark.parametrize(("before", "use", "after"), CHANGES.values(), ids=CHANGES)
def test_a_change(before: Choice, use: str, after: Choice) -> None:
    assert before.changed(use) == after
    assert after.finished() == Choice(use=use)


def test_what_was_chosen_is_kept(tmp_path: Path) -> None:
    assert choice.read(tmp_path) == Choice()
    chosen = Choice().changed("/models/é")
    choice.write(tmp_path, chosen)
    assert choice.read(tmp_path) == chosen
    assert (tmp_path / "embedder.json").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["embedder.json"]


def test_progress_is_told(tmp_path: Path) -> None:
    assert choice.progress(tmp_path) == Progress()
    choice.note(tmp_path, Progress(use="a", vaults=3, counted=1))
    assert choice.progress(tmp_path).vaults == 3


def test_a_broken_choice_is_said(tmp_path: Path) -> None:
    (tmp_path / "embedder.json").write_text("{")
    with pytest.raises(ConfigError, match=r"embedder\.json"):
        choice.read(tmp_path)


def test_one_leads_at_a_time(tmp_path: Path) -> None:
    with choice.leading(tmp_path) as first:
        with choice.leading(tmp_path) as second:
            assert (first, second) == (True, False)
        with choice.leading(tmp_path) as third:
            assert third is False
    with choice.leading(tmp_path) as later:
        assert later is True
