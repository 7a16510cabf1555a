from __future__ import annotations

from memrouter.store.statements import statements


def test_statements_are_found_by_name_and_hold_no_mark() -> None:
    found = statements("vault")
    assert found["vault_id"] == "SELECT vault FROM meta"
    assert all(sql and "-- name" not in sql for sql in found.values())


def test_every_file_has_a_first_schema_and_transactions() -> None:
    for file in ("vault", "directory", "usage", "backlog"):
        assert {"schema_1", "begin", "commit", "rollback"} <= statements(file).keys()
