"""Who comes to which vault, and what is told of it."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any, cast

import pytest

from memrouter.domain import AccountId, KeyId, KeyRecord, Scope, UsageRow, VaultId
from memrouter.edge import access
from memrouter.edge.asgi import Request
from memrouter.edge.auth import Shown
from memrouter.edge.callers import Caller
from memrouter.edge.controls import Controls
from memrouter.edge.memory_shapes import SearchRequest
from memrouter.errors import BadRequest
from memrouter.testing.clock import FixedClock
from memrouter.upstream.target import Sent

RECORD = KeyRecord(
    id=KeyId("k"),
    account=AccountId("a"),
    vault=VaultId("v"),
    name="",
    is_account=False,
    created=datetime(2026, 6, 5, tzinfo=UTC),
    masked="mk_ab…wxyz",
)


class Parts:
    """What counting needs."""

    def __init__(self) -> None:
        self.clock = FixedClock()
        self.told: list[UsageRow] = []

    def on_used(self, row: UsageRow) -> None:
        self.told.append(row)


def test_usage_is_told_by_key_and_day() -> None:
    to = access.Access(
        head=Request(method="POST", path="/", query="", headers=()),
        caller=Caller(key=RECORD, shown=Shown(key="mk_x", mode=None, sent=Sent())),
        asked=cast("Controls", None),
        scope=Scope(vault=VaultId("v")),
        body={},
    )
    parts = Parts()
    access.count(cast("Any", parts), to, input_tokens=5, memory_tokens=7, model="m")
    assert parts.told == [
        UsageRow(
            key=KeyId("k"),
            day=date(2026, 6, 5),
            model="m",
            measured=False,
            requests=1,
            input_tokens=5,
            memory_tokens=7,
        )
    ]
    assert to.masked == "mk_ab…wxyz"


@pytest.mark.parametrize("body", [{}, {"query": 5}, {"query": ""}, {"query": "x", "limit": 0}])
def test_bodies_that_are_not_as_they_should_be(body: dict[str, Any]) -> None:
    with pytest.raises(BadRequest, match=r"limit|query") as caught:
        access.converted(body, SearchRequest)
    assert caught.value.hint == "See /openapi.json"
