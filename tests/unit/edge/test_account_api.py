"""What an account stores and used: provider keys, and usage of each key."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any, cast

import pytest
from starlette.routing import Router

from memrouter.domain import AccountId, KeyRecord, UsageRow
from memrouter.edge import auth
from memrouter.edge.account_api import BODY_BYTES, AccountApi, iso, period
from memrouter.edge.callers import Callers
from memrouter.edge.provider_keys import ProviderKeys
from memrouter.edge.relay import Relay
from memrouter.edge.routes import Edge
from memrouter.edge.targets import Targets
from memrouter.edge.usage import Meter
from memrouter.errors import BadRequest
from memrouter.ops.metrics import Metrics
from memrouter.secrets import Sealer
from memrouter.testing.asgi import Answer, Client
from memrouter.testing.clock import FixedClock
from memrouter.testing.directory import MemoryDirectory
from memrouter.upstream import providers
from memrouter.wire.table import FORMATS

ACCOUNT_KEY = "mk_" + "a" * 40
USERS_KEY = "mk_" + "u" * 40
STRANGERS_KEY = "mk_" + "s" * 40
PROVIDER_KEY = "sk-" + "p" * 40
STORED = "/v1/account/provider-keys"
TODAY = date(2026, 6, 5)


class World:
    """The account API; an account with a user, and another account."""

    def __init__(self) -> None:
        self.directory = MemoryDirectory()
        self.clock = FixedClock()
        self.meter = Meter(self.directory, self.clock)
        self.keys = ProviderKeys(self.directory, Sealer("a secret of some length"))
        api = AccountApi(
            Callers(self.directory),
            self.directory,
            self.keys,
            providers.table({}),
            self.meter,
            self.clock,
        )
        own = Router(api.routes(), redirect_slashes=False)
        nobody = cast("Any", None)
        self.edge = Edge(cast("Relay", nobody), cast("Targets", nobody), FORMATS, own, Metrics())

    async def started(self) -> World:
        self.account = await self.directory.add_account()
        self.own = await self._add(self.account, ACCOUNT_KEY, is_account=True)
        self.user = await self._add(self.account, USERS_KEY)
        other = await self.directory.add_account()
        self.stranger = await self._add(other, STRANGERS_KEY, is_account=True)
        return self

    async def _add(self, account: AccountId, key: str, *, is_account: bool = False) -> KeyRecord:
        return await self.directory.add_key(
            account,
            auth.digest(key),
            masked=auth.masked(key),
            name="a name",
            now=self.clock.now(),
            is_account=is_account,
        )

    async def send(self, method: str, path: str, body: Any = b"", key: str = ACCOUNT_KEY) -> Answer:
        return await Client(self.edge).send(method, path, body, {"authorization": f"Bearer {key}"})

    def use(self, record: KeyRecord, day: date, model: str = "openai/m", **more: Any) -> None:
        fields = {"measured": True, "requests": 1, **more}
        self.meter.add(UsageRow(key=record.id, day=day, model=model, **fields))


@pytest.fixture
async def world() -> World:
    return await World().started()


def assert_refused(answer: Answer, status: int) -> None:
    assert answer.status == status, answer.body
    assert set(answer.json) == {"error", "hint"}
    assert answer.json["error"]
    assert answer.json["hint"]


# --- provider keys ---


async def test_a_stored_key_is_shown_masked(world: World) -> None:
    stored = await world.send("PUT", f"{STORED}/openai", {"key": PROVIDER_KEY})
    shown = {"provider": "openai", "key": "sk-pp…pppp"}
    assert (stored.status, stored.json) == (200, shown)
    assert (await world.send("GET", f"{STORED}/openai")).json == shown
    assert (await world.send("GET", STORED)).json == {"provider_keys": [shown]}
    assert await world.keys.find(world.account, "openai") == PROVIDER_KEY
    assert await world.keys.find(world.stranger.account, "openai") == ""


async def test_the_key_before_is_replaced(world: World) -> None:
    for key in ("sk-one", "sk-two"):
        await world.send("PUT", f"{STORED}/openai", {"key": key})
    assert await world.keys.find(world.account, "openai") == "sk-two"


@pytest.mark.parametrize("alias", ["gemini", "GOOGLE", "Google"])
async def test_a_provider_goes_by_its_own_name(world: World, alias: str) -> None:
    stored = await world.send("PUT", f"{STORED}/{alias}", {"key": PROVIDER_KEY})
    assert stored.json["provider"] == "google"
    assert (await world.send("GET", f"{STORED}/google")).status == 200
    deleted = await world.send("DELETE", f"{STORED}/{alias}")
    assert deleted.json == {"provider": "google", "deleted": True}
    assert (await world.send("GET", STORED)).json == {"provider_keys": []}


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_a_key_that_is_not_stored(world: World, method: str) -> None:
    assert_refused(await world.send(method, f"{STORED}/openai"), 404)


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
@pytest.mark.parametrize("name", ["nobody", "api.openai.com", "%00", "x" * 2000])
async def test_a_provider_that_is_not_known(world: World, method: str, name: str) -> None:
    answer = await world.send(method, f"{STORED}/{name}", {"key": PROVIDER_KEY})
    assert_refused(answer, 404)
    assert "anthropic" in answer.json["hint"]


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
async def test_a_users_key_may_not_touch_provider_keys(world: World, method: str) -> None:
    await world.send("PUT", f"{STORED}/openai", {"key": PROVIDER_KEY})
    body = {"key": "sk-evil"}
    assert_refused(await world.send(method, f"{STORED}/openai", body, key=USERS_KEY), 403)
    assert_refused(await world.send("GET", STORED, key=USERS_KEY), 403)
    assert await world.keys.find(world.account, "openai") == PROVIDER_KEY


WRONG_KEYS: dict[str, tuple[Any, int]] = {
    "no body": (b"", 400),
    "no JSON": (b"{", 400),
    "no object": (b'"sk-x"', 400),
    "no key": ({}, 400),
    "null": ({"key": None}, 400),
    "a number": ({"key": 5}, 400),
    "empty": ({"key": ""}, 400),
    "blank": ({"key": " "}, 400),
    "a memory key": ({"key": USERS_KEY}, 400),
    "two lines": ({"key": "sk-x\r\nevil: 1"}, 400),
    "not ASCII": ({"key": "sk-ключ"}, 400),
    "a long key": ({"key": "x" * 8_193}, 400),
    "a long body": (b'{"key": "' + b"x" * BODY_BYTES + b'"}', 413),
}


@pytest.mark.parametrize(("body", "status"), WRONG_KEYS.values(), ids=WRONG_KEYS)
async def test_what_can_be_no_provider_key(world: World, body: Any, status: int) -> None:
    assert_refused(await world.send("PUT", f"{STORED}/openai", body), status)
    assert (await world.send("GET", STORED)).json == {"provider_keys": []}


async def test_a_key_under_another_secret_is_shown_as_such(world: World) -> None:
    sealed = Sealer("another secret of some length").seal(PROVIDER_KEY)
    await world.directory.set_provider_key(world.account, "openai", sealed)
    shown = {"provider": "openai", "key": None}
    assert (await world.send("GET", STORED)).json == {"provider_keys": [shown]}
    assert (await world.send("GET", f"{STORED}/openai")).json == shown


# --- usage ---


async def test_usage_is_summed_by_model_and_by_day(world: World) -> None:
    world.use(world.own, TODAY, input_tokens=10, output_tokens=2, memory_tokens=4)
    world.use(world.own, TODAY, input_tokens=7, measured=False)
    world.use(world.own, TODAY - timedelta(days=1), "google/g", input_tokens=5, requests=3)
    world.use(world.user, TODAY, input_tokens=1000)
    answer = await world.send("GET", "/v1/account/usage")
    assert answer.status == 200
    assert answer.json == {
        "key": auth.masked(ACCOUNT_KEY),
        "key_id": world.own.id,
        "name": "a name",
        "period": {"start": "2026-05-07", "end": "2026-06-05"},
        "total_requests": 5,
        "total_input_tokens": 22,
        "total_output_tokens": 2,
        "total_memory_tokens": 4,
        "measured_requests": 4,
        "by_model": {
            "google/g": {
                "requests": 3,
                "input_tokens": 5,
                "output_tokens": 0,
                "memory_tokens": 0,
                "measured_requests": 3,
            },
            "openai/m": {
                "requests": 2,
                "input_tokens": 17,
                "output_tokens": 2,
                "memory_tokens": 4,
                "measured_requests": 1,
            },
        },
        "daily": [
            {
                "requests": 3,
                "input_tokens": 5,
                "output_tokens": 0,
                "memory_tokens": 0,
                "measured_requests": 3,
                "date": "2026-06-04",
            },
            {
                "requests": 2,
                "input_tokens": 17,
                "output_tokens": 2,
                "memory_tokens": 4,
                "measured_requests": 1,
                "date": "2026-06-05",
            },
        ],
    }


async def test_no_usage(world: World) -> None:
    answer = (await world.send("GET", "/v1/account/usage", key=USERS_KEY)).json
    assert (answer["total_requests"], answer["by_model"], answer["daily"]) == (0, {}, [])


async def test_both_ends_of_a_period_count(world: World) -> None:
    for day in range(1, 10):
        world.use(world.own, date(2026, 1, day))
    path = "/v1/account/usage?start=2026-01-02&end=2026-01-04"
    answer = (await world.send("GET", path)).json
    assert answer["period"] == {"start": "2026-01-02", "end": "2026-01-04"}
    assert [d["date"] for d in answer["daily"]] == ["2026-01-02", "2026-01-03", "2026-01-04"]
    assert answer["total_requests"] == 3


async def test_an_account_key_sees_its_users_usage(world: World) -> None:
    world.use(world.user, TODAY, requests=7)
    own = await world.send("GET", "/v1/account/usage", key=USERS_KEY)
    named = await world.send("GET", f"/v1/account/usage?key={world.user.id}")
    assert own.json == named.json
    assert own.json["total_requests"] == 7
    assert own.json["key_id"] == world.user.id


async def test_whose_usage_nobody_else_sees(world: World) -> None:
    path = f"/v1/account/usage?key={world.own.id}"
    assert_refused(await world.send("GET", path, key=USERS_KEY), 403)
    assert_refused(await world.send("GET", path, key=STRANGERS_KEY), 404)
    assert_refused(await world.send("GET", "/v1/account/usage?key=key_none"), 404)
    itself = f"/v1/account/usage?key={world.user.id}"
    assert (await world.send("GET", itself, key=USERS_KEY)).status == 200


async def test_a_memory_key_in_the_query_only_authenticates(world: World) -> None:
    alone = await Client(world.edge).get(f"/v1/account/usage?key={USERS_KEY}:read")
    assert (alone.status, alone.json["key_id"]) == (200, world.user.id)
    assert_refused(await world.send("GET", f"/v1/account/usage?key={USERS_KEY}"), 400)


def day(text: str) -> date:
    return date.fromisoformat(text)


PERIODS = {
    "none": ({}, "2026-05-07", "2026-06-05"),
    "empty": ({"start": "", "end": " "}, "2026-05-07", "2026-06-05"),
    "both": ({"start": "2026-01-01", "end": "2026-02-01"}, "2026-01-01", "2026-02-01"),
    "a day": ({"start": "2026-01-01", "end": "2026-01-01"}, "2026-01-01", "2026-01-01"),
    "only the start": ({"start": "2025-12-31"}, "2025-12-31", "2026-06-05"),
    "only the end": ({"end": "2026-03-01"}, "2026-01-31", "2026-03-01"),
    "years": ({"start": "2020-02-29", "end": "2030-01-01"}, "2020-02-29", "2030-01-01"),
    "in the future": ({"start": "2027-01-01"}, "2027-01-01", "2027-01-01"),
    "the first day there is": ({"end": "0001-01-01"}, "0001-01-01", "0001-01-01"),
    "a time": ({"end": "2026-06-05T21:00:00Z"}, "2026-05-07", "2026-06-05"),
    "a time with milliseconds": ({"end": "2026-06-05T21:00:00.000Z"}, "2026-05-07", "2026-06-05"),
    "a time elsewhere": ({"start": "2026-06-05T01:00:00+02:00"}, "2026-06-04", "2026-06-05"),
    "a plus that became a space": (
        {"start": "2026-06-05T01:00:00 02:00"},
        "2026-06-04",
        "2026-06-05",
    ),
}


@pytest.mark.parametrize(("asked", "start", "end"), PERIODS.values(), ids=PERIODS)
def test_periods(asked: dict[str, str], start: str, end: str) -> None:
    assert period(asked, TODAY) == (day(start), day(end))


BAD_DATES = [
    *("yesterday", "2026-13-01", "2026-02-30", "2026-1-1", "20260101", "01.02.2026", "0", "-1"),
    *("1767225600", "2026-01-01Tnoon", "2026-W01-1", "२०२६-०१-०१", "NaN", "\x00"),
    *("0000-01-01", "9999-12-31T23:59:59-23:59", "2026-01-01T00:00:00+99:00", "x" * 5000),
]


@pytest.mark.parametrize("name", ["start", "end"])
@pytest.mark.parametrize("value", BAD_DATES)
def test_bad_dates(value: str, name: str) -> None:
    with pytest.raises(BadRequest, match=name) as raised:
        period({name: value}, TODAY)
    assert len(str(raised.value)) < 80
    assert raised.value.hint


def test_dates_the_wrong_way_round() -> None:
    with pytest.raises(BadRequest, match="after"):
        period({"start": "2026-02-01", "end": "2026-01-01"}, TODAY)


async def test_bad_dates_are_400(world: World) -> None:
    assert_refused(await world.send("GET", "/v1/account/usage?start=yesterday"), 400)
    assert_refused(
        await world.send("GET", "/v1/account/usage?start=2026-02-02&end=2026-02-01"), 400
    )


async def test_who_is_not_known_sees_nothing(world: World) -> None:
    for path in ("/v1/account/usage", STORED, f"{STORED}/openai"):
        assert_refused(await world.send("GET", path, key="mk_" + "x" * 40), 401)


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
