"""Limits: how many requests a minute, how many tokens a month, and what is possible over them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from memrouter.domain import AccountId, KeyId, KeyRecord, UsageRow, VaultId
from memrouter.edge import auth
from memrouter.edge.admission import Admission
from memrouter.edge.asgi import Request
from memrouter.edge.limits import Buckets, LimitedCallers, Limits
from memrouter.edge.usage import Meter
from memrouter.errors import QuotaExhausted, RateLimited
from memrouter.testing.clock import FixedClock
from memrouter.testing.directory import MemoryDirectory

RECORD = KeyRecord(
    id=KeyId("key_1"),
    account=AccountId("a"),
    vault=VaultId("v"),
    name="n",
    is_account=False,
    created=datetime(2026, 6, 5, tzinfo=UTC),
    masked="mk_…",
)


class World:
    def __init__(self) -> None:
        self.seconds = 1000.0
        self.directory = MemoryDirectory()
        self.clock = FixedClock()
        self.buckets = Buckets(lambda: self.seconds)
        self.meter = Meter(self.directory, self.clock, now_s=lambda: self.seconds)
        self.limits = Limits(self.meter, self.clock, self.buckets)

    def use(self, tokens: int) -> None:
        day = self.clock.now().date()
        self.meter.add(
            UsageRow(key=RECORD.id, day=day, model="m", measured=True, output_tokens=tokens)
        )

    def passed(self, rate: int, tries: int) -> int:
        return sum(self.buckets.take(RECORD.id, rate) == 0 for _ in range(tries))


@pytest.fixture
def world() -> World:
    return World()


# --- requests a minute ---


@pytest.mark.parametrize("rate", [1, 2, 60, 1000])
def test_a_minutes_requests_pass_at_once_and_no_more(world: World, rate: int) -> None:
    assert world.passed(rate, rate + 5) == rate


@pytest.mark.parametrize(("rate", "seconds", "more"), [(60, 1, 1), (60, 30, 30), (2, 30, 1)])
def test_the_bucket_fills_up_again(world: World, rate: int, seconds: float, more: int) -> None:
    world.passed(rate, rate)
    world.seconds += seconds * 0.98
    assert world.passed(rate, rate) == more - 1
    world.seconds += seconds * 0.03
    assert world.passed(rate, rate) == 1


def test_it_never_holds_more_than_a_minutes(world: World) -> None:
    world.passed(10, 3)
    world.seconds += 1e6
    assert world.passed(10, 100) == 10


def test_who_waits_as_told_may_pass(world: World) -> None:
    world.passed(7, 7)
    wait_s = world.buckets.take(RECORD.id, 7)
    assert wait_s == pytest.approx(60 / 7)
    world.seconds += wait_s + 0.001
    assert world.buckets.take(RECORD.id, 7) == 0


def test_refused_requests_cost_nothing(world: World) -> None:
    world.passed(60, 60)
    assert world.passed(60, 1000) == 0
    world.seconds += 1.01
    assert world.passed(60, 5) == 1


def test_a_new_rate_counts_at_once(world: World) -> None:
    assert world.passed(100, 100) == 100
    assert world.passed(1, 1) == 0
    world.seconds += 60
    assert world.passed(1, 5) == 1


def test_every_key_has_a_bucket_of_its_own(world: World) -> None:
    assert world.passed(1, 2) == 1
    assert world.buckets.take(KeyId("another"), 1) == 0


def test_full_buckets_are_forgotten_a_few_at_a_time(world: World) -> None:
    for i in range(100):
        world.buckets.take(KeyId(f"key_{i}"), 5)
    world.seconds += 61
    world.buckets.take(KeyId("key_0"), 5)
    for i in range(60):
        before = len(world.buckets._levels)
        world.buckets.take(KeyId(f"new_{i}"), 5)
        assert before - 1 <= len(world.buckets._levels) <= before + 1
    assert set(world.buckets._levels) == {"key_0", *(f"new_{i}" for i in range(60))}


def test_buckets_in_use_are_not_forgotten(world: World) -> None:
    world.passed(2, 2)
    for i in range(500):
        world.seconds += 0.1
        world.buckets.take(KeyId(f"new_{i}"), 5)
    assert world.passed(2, 5) == 1
    assert len(world.buckets._levels) == 501


# --- admission ---

NO_LIMITS = RECORD
RATED = replace(RECORD, rate_per_minute=2)
QUOTED = replace(RECORD, quota_tokens=100)


async def test_without_limits_everything_passes(world: World) -> None:
    world.use(10**9)
    for _ in range(1000):
        await world.limits.admit(NO_LIMITS, spends=True)
    assert not world.buckets._levels
    assert not world.meter._months


async def test_over_the_rate_is_429_and_says_when(world: World) -> None:
    for _ in range(2):
        await world.limits.admit(RATED, spends=False)
    with pytest.raises(RateLimited, match="2 requests a minute") as raised:
        await world.limits.admit(RATED, spends=False)
    assert raised.value.status == 429
    assert raised.value.retry_after_s == pytest.approx(30)
    assert RATED.id in raised.value.hint


@pytest.mark.parametrize(("used", "passes"), [(0, True), (99, True), (100, False), (500, False)])
async def test_a_used_up_quota_is_402_until_the_next_month(
    world: World, used: int, passes: bool
) -> None:
    world.use(used)
    if passes:
        await world.limits.admit(QUOTED, spends=True)
        return
    with pytest.raises(QuotaExhausted, match=f"{used} of 100") as raised:
        await world.limits.admit(QUOTED, spends=True)
    assert raised.value.status == 402
    assert "2026-07-01" in raised.value.hint
    await world.limits.admit(QUOTED, spends=False)  # what costs nothing is possible
    world.clock.set(datetime(2026, 7, 1, tzinfo=UTC))
    await world.limits.admit(QUOTED, spends=True)


async def test_a_raised_quota_counts_at_once(world: World) -> None:
    world.use(100)
    with pytest.raises(QuotaExhausted):
        await world.limits.admit(QUOTED, spends=True)
    await world.limits.admit(replace(QUOTED, quota_tokens=101), spends=True)


@pytest.mark.parametrize(
    ("day", "first"),
    [((2026, 1, 31), "2026-02-01"), ((2026, 12, 31), "2027-01-01"), ((2028, 2, 29), "2028-03-01")],
)
async def test_when_it_starts_anew(world: World, day: tuple[int, int, int], first: str) -> None:
    world.clock.set(datetime(*day, tzinfo=UTC))
    world.use(100)
    with pytest.raises(QuotaExhausted) as raised:
        await world.limits.admit(QUOTED, spends=True)
    assert first in raised.value.hint


async def test_callers_are_identified_and_held_to_their_limits(world: World) -> None:
    key = "mk_" + "k" * 40
    account = await world.directory.add_account()
    record = await world.directory.add_key(
        account,
        auth.digest(key),
        masked="mk_…",
        name="n",
        now=world.clock.now(),
        quota_tokens=10,
        rate_per_minute=4,
    )
    callers = LimitedCallers(world.directory, world.limits, Admission(), user_headers=("x-user",))
    assert callers.own_headers == ("x-user",)

    def asked(method: str) -> Request:
        fields: dict[str, Any] = {"method": method, "path": "/v1/x", "query": ""}
        return Request(**fields, headers=[("x-api-key", key)])

    assert (await callers.identify(asked("POST"))).key == record
    day = world.clock.now().date()
    world.meter.add(UsageRow(key=record.id, day=day, model="m", measured=True, input_tokens=10))
    with pytest.raises(QuotaExhausted):
        await callers.identify(asked("POST"))
    for method in ("GET", "DELETE"):
        assert (await callers.identify(asked(method))).key == record
    with pytest.raises(RateLimited):
        await callers.identify(asked("GET"))
