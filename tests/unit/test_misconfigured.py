"""What is wrong with settings is said by the names that were written; more in test_config.py."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
import pytest

from memrouter.misconfigured import Written, fault


class Inner(msgspec.Struct, forbid_unknown_fields=True):
    needed: int
    size: Annotated[float, msgspec.Meta(gt=0)] = 1.0


class Outer(msgspec.Struct, forbid_unknown_fields=True):
    name: str = ""
    inner: Inner | None = None
    tables: dict[str, Inner] = {}


# (values, those from variables, what is said, what the hint says)
CASES: dict[str, tuple[Any, set[tuple[str, ...]], str, str]] = {
    "nothing": ({"name": "x", "tables": {"a": {"needed": 1}}}, set(), "", ""),
    "in a file": ({"nmae": "x"}, set(), "nmae in x.toml is not a setting", "`name`?"),
    "by a variable": ({"nmae": "x"}, {("nmae",)}, "X_NMAE is not a setting", "`X_NAME`?"),
    "one of two in a table, by a variable": (
        {"tables": {"a": {"needed": 1, "size": "0"}}},
        {("tables", "a", "size")},
        "X_TABLES__A__SIZE is '0', but must be a number above 0",
        "settings.md",
    ),
    "one of two in a table, in a file": (
        {"tables": {"a": {"needed": "x", "size": 1}}},
        {("tables", "a", "size")},
        "tables.a.needed in x.toml is 'x', but must be a whole number",
        "settings.md",
    ),
    "missing, others by variables": (
        {"tables": {"a": {"size": 1}}},
        {("tables", "a", "size")},
        "X_TABLES__A__NEEDED is missing",
        "settings.md",
    ),
    "a long value is cut": (
        {"tables": {"a": {"needed": "9" * 100 + "x"}}},
        set(),
        f"tables.a.needed in x.toml is '{'9' * 39}, but must",
        "settings.md",
    ),
    "no table by name": ({"tables": 1}, set(), "tables in x.toml is a table by name", ""),
    "no table in a table": (
        {"tables": {"a": 1}},
        set(),
        "tables.a in x.toml has no value of its own, only settings in it: needed, size",
        "",
    ),
}


@pytest.mark.parametrize(("values", "variables", "told", "hint"), CASES.values(), ids=CASES)
def test_what_is_wrong(values: Any, variables: set[tuple[str, ...]], told: str, hint: str) -> None:
    named = {place: "X_" + "__".join(place).upper() for place in variables}
    message, todo = fault(values, Outer, Written(prefix="X_", variables=named, file="x.toml"))
    assert told in message
    assert bool(told) is bool(message)
    assert hint in todo
