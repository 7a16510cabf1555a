"""The shape of the tree: a unit-test file a module, files that can be read in one go."""

from __future__ import annotations

from pathlib import Path

from memrouter import native

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "memrouter"
UNIT = ROOT / "tests" / "unit"

TESTED_ELSEWHERE = {
    "app.py": "tests/integration: it plugs things together and decides nothing",
    "demo.py": "tests/acceptance runs it",
    "doctor.py": "tests/acceptance runs it",
    "edge/delivery.py": "tests/integration/test_streams.py, with a provider on a socket",
    "edge/relay.py": "tests/integration: it does nothing but call the rooms around it",
    "ports.py": "nothing but types and contracts",
    "store/sqlite/encoding.py": "tests/contract/test_vault_store_encodings.py",
    "store/sqlite/directory.py": "tests/contract/test_directory.py",
    "testing/asgi.py": "tests/integration calls everything by it",
    "testing/directory.py": "tests/contract/test_directory.py",
    "testing/faults.py": "tests/integration/test_faults.py shows each of them to the router",
    "testing/store.py": "tests/contract/test_vault_store.py",
    "testing/vault.py": "tests/contract/test_vault_store.py",
    **{
        f"testing/{name}.py": "tests/unit/testing/test_provider.py, with the real SDKs"
        for name in (
            *(f"dialects/{dialect}" for dialect in ("chat", "gemini", "messages", "responses")),
            *("dialects/parts", "endpoints", "exchange"),
        )
    },
    "upstream/client.py": "tests/integration/test_upstream_client.py, over sockets",
    "wire/format.py": "nothing but types and contracts",
    **{
        f"wire/{name}.py": "tests/unit/wire/test_formats.py and the tests of each format"
        for name in ("messages", "reading", "table")
    },
}
"""Module → where else it is tested, and why."""

STILL_TO_COME = {
    *(f"edge/{name}.py" for name in ("account_shapes", "catalog", "limits", "models_api")),
    *(f"edge/{name}.py" for name in ("openapi", "openapi_table", "provider_keys", "usage")),
    *(f"store/sqlite/{name}.py" for name in ("backlog", "pool", "segments", "signals")),
    *("store/sqlite/vault.py", "store/sqlite/writing.py", "upstream/posting.py"),
}
"""Modules that other tests reach, but none of their own yet: nothing may be added here."""

OF_SEVERAL = {
    "test_docs.py": "of the documents",
    "test_tree.py": "of the tree",
    "wire/test_corpus.py": "of all formats, with recorded traffic",
    "wire/test_formats.py": "of all formats, what they have in common",
}
"""Test file → what it is a test of, if not of one module."""

MOST_LINES = 450
MOST_LINES_OF_TABLES = 700
"""Tests are tables, which grow long before they grow hard to read."""


def _modules() -> set[str]:
    paths = (path for path in SOURCE.rglob("*.py*") if path.suffix in (".py", ".pyx"))
    paths = (path for path in paths if path.name != "__init__.py")
    return {str(path.relative_to(SOURCE)) for path in paths}


def _test_of(module: str) -> str:
    return str(Path(module).with_name(f"test_{Path(module).stem}.py"))


def _python_files(folder: str) -> list[Path]:
    found = (ROOT / folder).rglob("*.py")
    return [
        p for p in found if not any(part.startswith(".") for part in p.parts[len(ROOT.parts) :])
    ]


def test_every_module_has_its_tests() -> None:
    missing = {m for m in _modules() if not (UNIT / _test_of(m)).exists()}
    assert sorted(missing - set(TESTED_ELSEWHERE) - STILL_TO_COME) == []


def test_every_compiled_module_is_named() -> None:
    assert sorted(native.MODULES) == sorted(p.stem for p in (SOURCE / "native").glob("*.pyx"))


def test_every_exception_is_needed() -> None:
    needless = {m for m in TESTED_ELSEWHERE if (UNIT / _test_of(m)).exists()}
    assert sorted(needless | (set(TESTED_ELSEWHERE) - _modules())) == []


def test_every_unit_test_is_of_a_module() -> None:
    found = {str(path.relative_to(UNIT)) for path in UNIT.rglob("test_*.py")}
    assert sorted(found - set(OF_SEVERAL) - {_test_of(m) for m in _modules()}) == []


def test_every_file_can_be_read_in_one_go() -> None:
    limits = {"src": MOST_LINES, "bench": MOST_LINES, "tests": MOST_LINES_OF_TABLES}
    lengths = {
        str(path.relative_to(ROOT)): path.read_text("utf-8").count("\n")
        for folder, limit in limits.items()
        for path in _python_files(folder)
        if path.read_text("utf-8").count("\n") > limit
    }
    assert lengths == {}
