from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from memrouter.domain import VaultId
from memrouter.store.sqlite import backlog
from memrouter.store.sqlite.backlog import Marks
from memrouter.store.sqlite.files import Files

A, B, C = VaultId("a"), VaultId("b"), VaultId("c")

DIE = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from memrouter.store.sqlite.backlog import Marks
from memrouter.store.sqlite.files import Files
marks = Marks(Files(Path(sys.argv[1])))
marks.add("a")
marks.add("b")
marks.done("b")
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_opens_nothing_before_the_first_mark(tmp_path: Path) -> None:
    Marks(Files(tmp_path)).close()
    assert list(tmp_path.iterdir()) == []


def test_what_is_done_is_taken_away_at_the_end(tmp_path: Path) -> None:
    marks = Marks(Files(tmp_path))
    for vault in (A, B):
        marks.add(vault)
    marks.done(A)
    assert (marks.holds(A), marks.holds(B), marks.holds(C)) == (False, True, False)
    marks.add(A)
    marks.done(A)
    marks.done(C)
    marks.close()
    later = Marks(Files(tmp_path))
    assert later.orphans() == [B]
    later.done(B)
    later.close()
    last = Marks(Files(tmp_path))
    assert last.orphans() == []
    last.close()
    assert not list((tmp_path / "run").iterdir())


def test_work_that_came_after_it_was_done_keeps_its_mark(tmp_path: Path) -> None:
    marks = Marks(Files(tmp_path))
    marks.add(A)
    marks.done(A)
    marks.add(A)
    assert marks.holds(A)
    marks.close()
    later = Marks(Files(tmp_path))
    assert later.orphans() == [A]
    later.close()


def test_marks_are_taken_away_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backlog, "_MANY", 3)
    marks = Marks(Files(tmp_path))
    for vault in (A, B, C):
        marks.add(vault)
        marks.done(vault)
    other = Marks(Files(tmp_path))
    assert marks._database().all("marked", marks._owner) == []
    marks.close()
    other.close()


def test_a_process_that_was_killed_leaves_its_marks_to_the_next(tmp_path: Path) -> None:
    source = str(Path(__file__).parents[4] / "src")
    done = subprocess.run([sys.executable, "-c", DIE, str(tmp_path), source], check=False)
    assert done.returncode == -9
    marks, other = Marks(Files(tmp_path)), Marks(Files(tmp_path))
    assert marks.orphans() == [A, B]  # one too many, never one too few
    assert other.orphans() == []  # they are the first one's now, which lives
    marks.close()
    assert other.orphans() == [A, B]
    other.close()


def test_marks_of_a_process_that_lives_are_its_own(tmp_path: Path) -> None:
    one, two = Marks(Files(tmp_path)), Marks(Files(tmp_path))
    one.add(A)
    two.add(B)
    assert (one.orphans(), two.orphans()) == ([A], [B])
    one.close()
    assert sorted(two.orphans()) == [A, B]
    two.close()


def test_a_probe_leaves_nothing(tmp_path: Path) -> None:
    marks = Marks(Files(tmp_path))
    marks.probe()
    assert marks.orphans() == []
    marks.close()
