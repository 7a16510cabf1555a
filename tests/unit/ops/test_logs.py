from __future__ import annotations

import io
import json
import logging
import re
import sys
from typing import Any

import pytest
import structlog

from memrouter.ops import logs

CANARY = "my dog is called Rex, my key is mk_secret"


def lines(logged: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in logged.getvalue().split("\n")[:-1]]


def test_a_line_is_one_json_object(logged: io.StringIO) -> None:
    logs.logger("memrouter.x").info("stored", turns=2, vault="v1")
    [line] = lines(logged)
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "stored",
        "level": "info",
        "module": "memrouter.x",
        "turns": 2,
        "vault": "v1",
    }


TOLD = {"request": "req_1", "status": 200, "ms": 1.25}


def test_the_line_of_a_request_is_a_line_like_any_other(logged: io.StringIO) -> None:
    logs.logger("memrouter.x").info("request", **TOLD)
    logs.line("memrouter.x", "request", TOLD)
    usual, quick = lines(logged)
    stamp = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?Z"
    assert all(re.fullmatch(stamp, line.pop("timestamp")) for line in (usual, quick))
    assert list(usual.items()) == list(quick.items())


@pytest.mark.parametrize(("level", "form", "shown"), [("info", "text", 1), ("warning", "json", 0)])
def test_the_line_of_a_request_is_shown_as_set_up(
    logged: io.StringIO, monkeypatch: pytest.MonkeyPatch, level: str, form: str, shown: int
) -> None:
    written = io.StringIO()
    monkeypatch.setattr(sys, "stderr", written)
    logs.set_up(level, form)
    logs.line("memrouter.x", "request", TOLD)
    assert written.getvalue().count("req_1") == shown
    assert not written.getvalue().startswith("{")


def fail() -> None:
    raise ValueError(CANARY)


def test_of_an_exception_type_and_place_are_told(logged: io.StringIO) -> None:
    log = logs.logger("x")
    try:
        fail()
    except ValueError as e:
        log.warning("given", exc_info=e)
        log.exception("current")
        log.warning("true", exc_info=True)
    told = lines(logged)
    assert [(line["event"], line["error"]) for line in told] == [
        ("given", "ValueError"),
        ("current", "ValueError"),
        ("true", "ValueError"),
    ]
    assert all("test_logs.py:" in line["at"] for line in told)
    assert CANARY not in logged.getvalue()


def test_an_exception_that_was_never_raised_has_no_place(logged: io.StringIO) -> None:
    logs.logger("x").warning("made", exc_info=ValueError(CANARY))
    [line] = lines(logged)
    assert line["error"] == "ValueError"
    assert "at" not in line


def test_no_exception_under_way_is_no_error(logged: io.StringIO) -> None:
    logs.logger("x").warning("none", exc_info=True)
    [line] = lines(logged)
    assert "error" not in line


def test_of_libraries_only_warnings_are_told_without_their_text(logged: io.StringIO) -> None:
    library = logging.getLogger("somelibrary")
    library.info("quiet")
    library.warning(f"cannot parse {CANARY}")
    try:
        fail()
    except ValueError:
        library.exception(CANARY)
    warned, failed = lines(logged)
    assert (warned["event"], warned["module"], warned["level"]) == (
        "library",
        "somelibrary",
        "warning",
    )
    assert warned["source"].startswith("test_logs:")
    assert (failed["level"], failed["error"]) == ("error", "ValueError")
    assert "Rex" not in logged.getvalue()


@pytest.mark.parametrize(
    "value",
    [{1: 2}, {"a", "b"}, b"\xff", object(), float("inf"), 1 << 70],
    ids=["int keys", "set", "bytes", "object", "infinity", "big integer"],
)
def test_whatever_is_logged_a_line_comes_out(logged: io.StringIO, value: object) -> None:
    logs.logger("x").info("odd", value=value)
    [line] = lines(logged)
    assert line["event"] == "odd"


@pytest.mark.parametrize("text", ["a\nb", "\u2028", "\ud800", "\x00"], ids=ascii)
def test_no_value_breaks_a_line(logged: io.StringIO, text: str) -> None:
    logs.logger("x").info("odd", value=text)
    assert logged.getvalue().count("\n") == 1
    [line] = lines(logged)
    assert line["event"] == "odd"


@pytest.mark.parametrize(
    ("level", "events"),
    {
        "debug": ["d", "i", "w", "e"],
        "info": ["i", "w", "e"],
        "warning": ["w", "e"],
        "error": ["e"],
    }.items(),
)
@pytest.mark.usefixtures("logged")  # puts the set-up back
def test_what_is_below_the_level_is_not_told(
    monkeypatch: pytest.MonkeyPatch, level: str, events: list[str]
) -> None:
    written = io.StringIO()
    monkeypatch.setattr(sys, "stderr", written)
    logs.set_up(level, "json")
    log = logs.logger("x")
    log.debug("d")
    log.info("i")
    log.warning("w")
    log.error("e")
    assert [line["event"] for line in lines(written)] == events


@pytest.mark.usefixtures("logged")
def test_the_readable_form_hides_as_much(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.StringIO()
    monkeypatch.setattr(sys, "stderr", written)
    logs.set_up("info", "text")
    try:
        fail()
    except ValueError:
        logs.logger("x").exception("failed", request="req_1")
    assert "failed" in written.getvalue()
    assert "req_1" in written.getvalue()
    assert "ValueError" in written.getvalue()
    assert "Rex" not in written.getvalue()


def test_importing_sets_nothing_up() -> None:
    assert not structlog.is_configured()
