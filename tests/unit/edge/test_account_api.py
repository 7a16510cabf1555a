from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from memrouter.edge.account_api import iso

TIMES = {
    "utc": (datetime(2026, 6, 5, 21, tzinfo=UTC), "2026-06-05T21:00:00.000Z"),
    "another zone": (
        datetime(2026, 6, 5, 23, tzinfo=timezone(timedelta(hours=2))),
        "2026-06-05T21:00:00.000Z",
    ),
    "milliseconds": (
        datetime(2026, 6, 5, 21, 0, 0, 123_999, tzinfo=UTC),
        "2026-06-05T21:00:00.123Z",
    ),
}


@pytest.mark.parametrize(("time", "written"), TIMES.values(), ids=TIMES)
def test_times_as_the_api_writes_them(time: datetime, written: str) -> None:
    assert iso(time) == written
