"""The drills' own instruments: a disk that forgets must forget just what it may."""

from __future__ import annotations

import contextlib
import io
import random
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from bench.drills import audit, fuzz, shim, telling
from bench.drills.fuzz_targets import TARGETS
from bench.drills.journal import Disk, Record, read
from bench.drills.serving import DrillError
from bench.drills.soak import Sample, leaks
from bench.drills.writers import Ledger
from rich.console import Console

A, FOLDER = "/d/a", "/d"
MADE, WRITTEN = Record("C", A), Record("W", A, 0, b"x" * 1024)


def synced(path: str, number: int = 1) -> list[Record]:
    return [Record("B", path, number), Record("E", path, number)]


def states(*records: Record) -> set[bytes | None]:
    """What may be found at A after these; None where there is nothing."""
    found = set()
    for seed in range(200):
        disk = Disk()
        for record in records:
            disk.follow(record)
        found.add(disk.cut(random.Random(seed)).get(A))
    return found


def test_what_is_synced_with_its_name_is_there() -> None:
    assert states(MADE, WRITTEN, *synced(A), *synced(FOLDER, 2)) == {b"x" * 1024}


def test_without_a_sync_of_its_folder_a_file_may_be_gone() -> None:
    assert states(MADE, WRITTEN, *synced(A)) == {None, b"x" * 1024}


def test_without_a_sync_contents_may_be_gone_or_torn() -> None:
    seen = states(MADE, *synced(FOLDER), WRITTEN)
    assert {b"", b"x" * 512, b"x" * 1024} <= seen
    assert None not in seen


def test_a_sync_covers_what_was_written_before_it_began() -> None:
    late = Record("W", A, 0, b"y" * 1024)
    begun, ended = synced(A)
    seen = states(MADE, *synced(FOLDER, 9), WRITTEN, begun, late, ended)
    assert {b"x" * 1024, b"y" * 1024} <= seen
    assert b"" not in seen


def test_a_link_is_the_same_file_by_another_name() -> None:
    other = [Record("C", "/d/b"), Record("W", "/d/b", 0, b"z"), *synced("/d/b")]
    linked = [*other, Record("L", A, 0, b"/d/b"), Record("U", "/d/b")]
    assert states(*linked, *synced(FOLDER, 2)) == {b"z"}


def test_a_journal_is_read_back_but_for_an_unfinished_end() -> None:
    records = [MADE, WRITTEN, *synced(A), Record("A", "user", 0, b'["text"]')]
    packed = b"".join(record.packed() for record in records)
    assert list(read(packed)) == records
    assert list(read(packed[:-1])) == records[:-1]


def test_a_ledger_finds_what_is_lost_double_or_strange() -> None:
    ledger = Ledger("user", sent={"a", "b", "c"}, acknowledged={"a", "b"})
    assert ledger.faults(Counter({"a": 1, "b": 1, "c": 1})) == []
    assert ledger.faults(Counter({"a": 1, "b": 1})) == []
    assert ledger.faults(Counter({"a": 2, "d": 1})) == [
        "lost: b",
        "stored twice: a",
        "never sent: d",
    ]


def test_the_shim_compiles(tmp_path: Path) -> None:
    try:
        library = shim.compiled(tmp_path)
    except DrillError as e:
        pytest.skip(str(e)) if "no C compiler" in str(e) else pytest.fail(str(e))
    assert library.stat().st_size


@pytest.mark.parametrize("name", TARGETS)
def test_what_fuzzing_found_once_stays_mended(name: str) -> None:
    assert fuzz.kept(name).finds == {}


@pytest.mark.parametrize("name", TARGETS)
def test_odd_inputs_break_no_parser(name: str) -> None:
    found = fuzz.run(name, 150, seed=1, seconds=60.0)
    assert found.finds == {}


def test_fuzzing_finds_what_breaks_and_makes_it_small() -> None:
    def target(data: bytes) -> None:
        assert b"\xff" not in data, "no such byte"

    odd = b"x" * 50 + b"\xff" + b"y" * 50
    fault = fuzz.broken(target, odd, 1.0)
    assert "no such byte" in fault
    assert fuzz.smaller(target, odd, fault, 1.0) == b"\xff"


def test_fuzzing_sees_what_hangs() -> None:
    def target(_data: bytes) -> None:
        while True:
            pass

    assert fuzz.broken(target, b"", 0.05) == "hang"


AUDITS: dict[str, tuple[list[dict[str, Any]], int, str]] = {
    "nothing known": ([{"name": "a", "version": "1", "vulns": []}], 0, "1 packages: nothing known"),
    "no data": ([{"name": "a", "skip_reason": "not found"}], 0, "1 of 1 packages: no data"),
    "a vulnerability": (
        [
            {"name": "b", "skip_reason": "not found"},
            {"name": "a", "version": "1", "vulns": [{"id": "CVE-1", "fix_versions": ["2"]}]},
        ],
        1,
        "a 1: CVE-1, mended in ['2']",
    ),
}


@pytest.mark.parametrize(("report", "status", "said"), AUDITS.values(), ids=AUDITS)
def test_an_audit_fails_for_what_is_known_alone(
    report: list[dict[str, Any]], status: int, said: str
) -> None:
    judged, lines = audit.judged(report)
    assert judged == status
    assert said in "\n".join(lines)


GROWN: dict[str, tuple[dict[str, int], list[str]]] = {
    "nothing": ({}, []),
    "connections in the pool": ({"files": 4, "sockets": 4}, []),
    "files": ({"files": 30}, ["files: 60 after 2 minutes, 90 at the end"]),
    "memory": ({"rss_bytes": 50 << 20}, ["RSS: 120.0 MB, then 170.0 MB"]),
    "a request": ({"running": 1}, ["requests were under way while no client asked"]),
}


@pytest.mark.parametrize(("grown", "found"), GROWN.values(), ids=GROWN)
def test_a_soak_sees_what_grew(grown: dict[str, int], found: list[str]) -> None:
    base = {"rss_bytes": 120 << 20, "files": 60, "sockets": 5, "threads": 18, "running": 0}
    samples = [
        Sample(
            minute=minute,
            requests=100 * minute,
            **{n: v + (grown.get(n, 0) if minute > 2 else 0) for n, v in base.items()},
        )
        for minute in range(1, 7)
    ]
    assert leaks(samples, clients=8) == found


@pytest.mark.parametrize("keep", [False, True])
def test_the_folder_of_a_drill_goes_with_it(keep: bool) -> None:
    shown = io.StringIO()
    with (
        contextlib.suppress(DrillError),
        telling.folder("test", Console(file=shown, width=200), keep=keep) as folder,
    ):
        (folder / "file").touch()
        raise DrillError("it broke off")
    assert folder.exists() is keep
    assert (str(folder) in shown.getvalue()) is keep
    shutil.rmtree(folder, ignore_errors=True)


def test_counts_and_faults_are_shown_as_they_are() -> None:
    shown = io.StringIO()
    console = Console(file=shown, width=80)
    telling.show_counts("cuts", [("writes [bold]", 12)], console)
    telling.show_faults([f"lost: [red]turn {n}" for n in range(30)], console)
    said = shown.getvalue()
    assert "12" in said
    assert "lost: [red]turn 0\n" in said
    assert "turn 29" not in said
