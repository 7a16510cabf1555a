"""Keys: made, listed, changed, rotated, revoked, deleted; by account keys, each for its own."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any, cast

import pytest
from starlette.routing import Router

from memrouter.domain import AccountId, KeyId, KeyRecord, NewTurn, Scope
from memrouter.edge import auth
from memrouter.edge.callers import Callers
from memrouter.edge.keys_api import BODY_BYTES, KeysApi
from memrouter.edge.relay import Relay
from memrouter.edge.routes import Edge
from memrouter.edge.targets import Targets
from memrouter.ops.metrics import Metrics
from memrouter.testing.asgi import Answer, Client
from memrouter.testing.clock import FixedClock
from memrouter.testing.directory import MemoryDirectory
from memrouter.testing.store import MemoryVaultStore
from memrouter.wire.table import FORMATS

ACCOUNT_KEY = "mk_" + "a" * 40
STRANGERS_KEY = "mk_" + "s" * 40
NOW = datetime(2026, 6, 5, 21, tzinfo=UTC)


class World:
    """The keys API, and two accounts."""

    def __init__(self, configured_key: str = "") -> None:
        self.directory = MemoryDirectory()
        self.clock = FixedClock(NOW)
        self.store = MemoryVaultStore()
        api = KeysApi(
            Callers(self.directory),
            self.directory,
            self.store,
            self.clock,
            configured_key=configured_key,
        )
        own = Router(api.routes(), redirect_slashes=False)
        nobody = cast("Any", None)
        self.edge = Edge(cast("Relay", nobody), cast("Targets", nobody), FORMATS, own, Metrics())
        self.account = AccountId("")

    async def add_account(self, key: str) -> AccountId:
        account = await self.directory.add_account()
        await self.add(account, key, is_account=True)
        return account

    async def add(self, account: AccountId, key: str, *, is_account: bool = False) -> KeyRecord:
        return await self.directory.add_key(
            account,
            auth.digest(key),
            masked=auth.masked(key),
            name="account",
            now=self.clock.now(),
            is_account=is_account,
        )

    async def send(self, method: str, path: str, body: Any = b"", key: str = ACCOUNT_KEY) -> Answer:
        headers = {"authorization": f"Bearer {key}"}
        return await Client(self.edge).send(method, path, body, headers)

    async def mint(self, body: Any = b"", key: str = ACCOUNT_KEY) -> Answer:
        return await self.send("POST", "/v1/keys", body, key)

    async def record(self, key: str) -> KeyRecord:
        record = await self.directory.key(auth.digest(key))
        assert record is not None
        return record

    async def remembered(self, record: KeyRecord, *texts: str) -> None:
        turns = [NewTurn(role="user", text=t, created=NOW, pieces=()) for t in texts]
        await self.store.remember(record.vault, turns, now=NOW)

    async def memories(self, record: KeyRecord) -> int:
        return (await self.store.stats(Scope(vault=record.vault))).memories


@pytest.fixture
async def world() -> World:
    world = World()
    world.account = await world.add_account(ACCOUNT_KEY)
    await world.add_account(STRANGERS_KEY)
    return world


# --- minting ---


async def test_a_key_is_minted_as_the_seed_says(world: World) -> None:
    answer = await world.mint({"name": "user:42"})
    assert answer.status == 201
    minted = answer.json
    assert list(minted)[:3] == ["key", "name", "created_at"]
    assert auth.KEY.fullmatch(minted["key"])
    assert minted["name"] == "user:42"
    assert minted["created_at"] == "2026-06-05T21:00:00.000Z"
    record = await world.record(minted["key"])
    assert (record.id, record.name, record.is_account) == (minted["id"], "user:42", False)
    assert record.account == world.account
    assert (record.quota_tokens, record.rate_per_minute) == (None, None)
    assert minted["key"] not in record.masked


@pytest.mark.parametrize("body", [b"", b"{}", {"unknown": 1}], ids=repr)
async def test_a_name_is_not_needed(world: World, body: Any) -> None:
    assert (await world.mint(body)).json["name"] == "New Key"


async def test_every_key_has_a_vault_of_its_own(world: World) -> None:
    keys = [(await world.mint({"name": "same"})).json["key"] for _ in range(5)]
    records = [await world.record(key) for key in keys]
    assert len({record.vault for record in records}) == 5


async def test_a_key_for_a_user_opens_the_users_vault(world: World) -> None:
    vault = await world.directory.user_vault(world.account, "user-7")
    keys = [(await world.mint({"user_id": " user-7 "})).json["key"] for _ in range(2)]
    assert {(await world.record(key)).vault for key in keys} == {vault}
    stranger = (await world.mint({"user_id": "user-7"}, key=STRANGERS_KEY)).json["key"]
    assert (await world.record(stranger)).vault != vault


LIMITS: dict[str, tuple[dict[str, Any], tuple[int | None, int | None]]] = {
    "both": ({"quota_tokens": 1000, "rate_per_minute": 60}, (1000, 60)),
    "one": ({"quota_tokens": 1}, (1, None)),
    "zero is none": ({"quota_tokens": 0, "rate_per_minute": 0}, (None, None)),
    "null is none": ({"quota_tokens": None, "rate_per_minute": None}, (None, None)),
    "the most": ({"quota_tokens": 1 << 53}, (1 << 53, None)),
}


@pytest.mark.parametrize(("body", "limits"), LIMITS.values(), ids=LIMITS)
async def test_a_key_is_minted_with_limits(
    world: World, body: dict[str, Any], limits: tuple[int | None, int | None]
) -> None:
    minted = (await world.mint(body)).json
    assert (minted["quota_tokens"], minted["rate_per_minute"]) == limits
    record = await world.record(minted["key"])
    assert (record.quota_tokens, record.rate_per_minute) == limits


WRONG_LIMITS: dict[str, dict[str, Any]] = {
    "negative": {"quota_tokens": -1},
    "a fraction": {"rate_per_minute": 0.5},
    "text": {"quota_tokens": "100"},
    "a boolean": {"rate_per_minute": True},
    "beyond integers": {"quota_tokens": 1 << 63},
    "huge": {"quota_tokens": 10**30},
}
WRONG: dict[str, tuple[Any, int]] = {
    "no JSON": (b"{", 400),
    "no object": (b"[]", 400),
    "no UTF-8": (b'{"name": "\xff"}', 400),
    "a lone surrogate": (b'{"name": "\\ud800"}', 400),
    "no string": ({"name": 1}, 400),
    "an empty name": ({"name": ""}, 400),
    "a long name": ({"name": "x" * 201}, 400),
    "null": ({"name": None}, 400),
    "an empty user": ({"user_id": ""}, 400),
    "a blank user": ({"user_id": "  "}, 400),
    "a long user": ({"user_id": "x" * 257}, 400),
    "a user of control characters": ({"user_id": "a\x00b"}, 400),
    "deep nesting": (b"[" * 60_000, 400),
    "a long body": (b'{"name": "' + b"x" * BODY_BYTES + b'"}', 413),
    **{name: (body, 400) for name, body in WRONG_LIMITS.items()},
}


def assert_refused(answer: Answer, status: int) -> None:
    assert answer.status == status, answer.body
    assert set(answer.json) == {"error", "hint"}
    assert answer.json["error"]
    assert answer.json["hint"]


@pytest.mark.parametrize(("body", "status"), WRONG.values(), ids=WRONG)
async def test_bad_input_is_named_and_makes_no_key(world: World, body: Any, status: int) -> None:
    assert_refused(await world.mint(body), status)
    assert len(await world.directory.keys(world.account)) == 1


async def test_who_is_not_known_mints_nothing(world: World) -> None:
    answer = await world.mint(key="mk_" + "x" * 40)
    assert_refused(answer, 401)
    assert answer.headers["www-authenticate"]
    assert answer.json["error"] == "Invalid Memory Key"


# --- who may ---

ENDPOINTS = {
    "mint": ("POST", "/v1/keys"),
    "list": ("GET", "/v1/keys"),
    "show": ("GET", "/v1/keys/{id}"),
    "change": ("PATCH", "/v1/keys/{id}"),
    "rotate": ("POST", "/v1/keys/{id}/rotate"),
    "revoke": ("POST", "/v1/keys/{id}/revoke"),
    "delete": ("DELETE", "/v1/keys/{id}"),
}
OF_ONE_KEY = {name: place for name, place in ENDPOINTS.items() if "{id}" in place[1]}


@pytest.mark.parametrize(("method", "path"), ENDPOINTS.values(), ids=ENDPOINTS)
async def test_a_minted_key_may_not_even_look(world: World, method: str, path: str) -> None:
    minted = (await world.mint()).json
    answer = await world.send(method, path.format(id=minted["id"]), key=minted["key"])
    assert_refused(answer, 403)
    assert minted["key"] not in answer.body.decode()
    assert (await world.record(minted["key"])).revoked is None
    assert len(await world.directory.keys(world.account)) == 2


@pytest.mark.parametrize(("method", "path"), OF_ONE_KEY.values(), ids=OF_ONE_KEY)
async def test_a_key_of_another_account_is_not_there(world: World, method: str, path: str) -> None:
    minted = (await world.mint({"name": "secret-name"})).json
    theirs = await world.send(method, path.format(id=minted["id"]), key=STRANGERS_KEY)
    nobodys = await world.send(method, path.format(id="key_none"), key=STRANGERS_KEY)
    for answer in (theirs, nobodys):
        assert_refused(answer, 404)
        assert "secret-name" not in answer.body.decode()
    record = await world.record(minted["key"])
    assert (record.name, record.revoked) == ("secret-name", None)


@pytest.mark.parametrize(("method", "path"), OF_ONE_KEY.values(), ids=OF_ONE_KEY)
async def test_a_revoked_key_is_not_there(world: World, method: str, path: str) -> None:
    id = (await world.mint()).json["id"]
    await world.send("POST", f"/v1/keys/{id}/revoke")
    assert_refused(await world.send(method, path.format(id=id)), 404)


@pytest.mark.parametrize("id", ["%00", "a%2Fb", "x" * 3000, "%F0%9F%98%80", "'--"], ids=repr)
async def test_odd_ids_are_not_there(world: World, id: str) -> None:
    assert_refused(await world.send("GET", f"/v1/keys/{id}"), 404)


# --- list, show, change ---


async def test_the_list_shows_no_key(world: World) -> None:
    minted = (await world.mint({"name": "user:42", "rate_per_minute": 5})).json
    answer = await world.send("GET", "/v1/keys")
    assert answer.status == 200
    assert minted["key"] not in answer.body.decode()
    own, user = answer.json["keys"]
    assert (own["account"], user["account"]) == (True, False)
    assert user == {
        "id": minted["id"],
        "key": auth.masked(minted["key"]),
        "name": "user:42",
        "account": False,
        "created_at": "2026-06-05T21:00:00.000Z",
        "quota_tokens": None,
        "rate_per_minute": 5,
    }
    assert (await world.send("GET", f"/v1/keys/{minted['id']}")).json == user


CHANGES: dict[str, tuple[dict[str, Any], tuple[str, int | None, int | None]]] = {
    "nothing": ({}, ("old", 100, 10)),
    "the name": ({"name": "new"}, ("new", 100, 10)),
    "a limit": ({"quota_tokens": 7}, ("old", 7, 10)),
    "zero lifts": ({"rate_per_minute": 0}, ("old", 100, None)),
    "null lifts": ({"quota_tokens": None}, ("old", None, 10)),
    "all": ({"name": "n", "quota_tokens": 1, "rate_per_minute": 2}, ("n", 1, 2)),
}


@pytest.mark.parametrize(("body", "after"), CHANGES.values(), ids=CHANGES)
async def test_what_is_left_out_stays(
    world: World, body: Any, after: tuple[str, int | None, int | None]
) -> None:
    minted = (await world.mint({"name": "old", "quota_tokens": 100, "rate_per_minute": 10})).json
    answer = await world.send("PATCH", f"/v1/keys/{minted['id']}", body)
    assert answer.status == 200
    said = answer.json
    assert (said["name"], said["quota_tokens"], said["rate_per_minute"]) == after
    record = await world.record(minted["key"])
    assert (record.name, record.quota_tokens, record.rate_per_minute) == after


WRONG_CHANGES: dict[str, Any] = {
    "no name": {"name": None},
    "an empty name": {"name": ""},
    "no JSON": b"{",
    "no object": b"1",
    **WRONG_LIMITS,
}


@pytest.mark.parametrize("body", WRONG_CHANGES.values(), ids=WRONG_CHANGES)
async def test_a_wrong_change_changes_nothing(world: World, body: Any) -> None:
    minted = (await world.mint({"name": "old"})).json
    if isinstance(body, dict):
        body = {"name": "new", **body}
    assert_refused(await world.send("PATCH", f"/v1/keys/{minted['id']}", body), 400)
    assert (await world.record(minted["key"])).name == "old"


# --- rotate, revoke, delete ---


async def test_a_rotated_key_keeps_its_memory(world: World) -> None:
    minted = (await world.mint({"name": "user", "quota_tokens": 9})).json
    before = await world.record(minted["key"])
    answer = await world.send("POST", f"/v1/keys/{minted['id']}/rotate")
    assert answer.status == 200
    rotated = answer.json
    assert rotated["key"] != minted["key"]
    after = await world.record(rotated["key"])
    assert after.vault == before.vault
    assert (after.id, after.name, after.quota_tokens) == (before.id, "user", 9)
    assert await world.directory.key(auth.digest(minted["key"])) is None


async def test_a_revoked_key_opens_nothing_and_keeps_its_memory(world: World) -> None:
    minted = (await world.mint({"name": "user"})).json
    record = await world.record(minted["key"])
    await world.remembered(record, "I like tea.")
    answer = await world.send("POST", f"/v1/keys/{minted['id']}/revoke")
    assert answer.json == {
        "id": minted["id"],
        "name": "user",
        "revoked_at": "2026-06-05T21:00:00.000Z",
    }
    assert (await world.mint(key=minted["key"])).status == 401
    assert await world.memories(record) == 1


DELETIONS = {
    "": ("kept", 0),
    "?memory=false": ("kept", 0),
    "?memory=0": ("kept", 0),
    "?memory=": ("kept", 0),
    "?memory=true": ("deleted", 2),
    "?memory=TRUE": ("deleted", 2),
    "?memory=1": ("deleted", 2),
}


@pytest.mark.parametrize("query", DELETIONS)
async def test_a_key_is_deleted_with_its_memory_or_without(world: World, query: str) -> None:
    minted = (await world.mint()).json
    record = await world.record(minted["key"])
    other = await world.record((await world.mint()).json["key"])
    await world.remembered(record, "one", "two")
    await world.remembered(other, "three")
    answer = await world.send("DELETE", f"/v1/keys/{minted['id']}{query}")
    memory, deleted = DELETIONS[query]
    assert answer.json == {
        "id": minted["id"],
        "deleted": True,
        "memory": memory,
        "memories_deleted": deleted,
    }
    assert (await world.mint(key=minted["key"])).status == 401
    assert await world.memories(record) == 2 - deleted
    assert await world.memories(other) == 1


@pytest.mark.parametrize("query", ["memory=yes!", "memory=2", "memories=true", "memory=true&x=1"])
async def test_in_doubt_nothing_is_deleted(world: World, query: str) -> None:
    minted = (await world.mint()).json
    record = await world.record(minted["key"])
    await world.remembered(record, "one")
    assert_refused(await world.send("DELETE", f"/v1/keys/{minted['id']}?{query}"), 400)
    assert (await world.record(minted["key"])).revoked is None
    assert await world.memories(record) == 1


# --- the account key itself ---

ENDS = {"revoke": ("POST", "/v1/keys/{id}/revoke"), "delete": ("DELETE", "/v1/keys/{id}")}


@pytest.mark.parametrize(("method", "path"), ENDS.values(), ids=ENDS)
async def test_the_last_account_key_stays(world: World, method: str, path: str) -> None:
    await world.mint()
    id = (await world.record(ACCOUNT_KEY)).id
    assert_refused(await world.send(method, path.format(id=id)), 409)
    another = "mk_" + "b" * 40
    await world.add(world.account, another, is_account=True)
    assert (await world.send(method, path.format(id=id))).status == 200
    assert (await world.mint()).status == 401
    assert (await world.mint(key=another)).status == 201


async def test_two_account_keys_that_revoke_each_other_do_not_both_go(world: World) -> None:
    another = "mk_" + "b" * 40
    other = await world.add(world.account, another, is_account=True)
    own = await world.record(ACCOUNT_KEY)
    answers = await asyncio.gather(
        world.send("POST", f"/v1/keys/{other.id}/revoke"),
        world.send("POST", f"/v1/keys/{own.id}/revoke", key=another),
    )
    assert sorted(answer.status for answer in answers) in ([200, 401], [200, 409])
    assert any(key.is_account for key in await world.directory.keys(world.account))


async def test_an_account_key_rotates_itself(world: World) -> None:
    id = (await world.record(ACCOUNT_KEY)).id
    key = (await world.send("POST", f"/v1/keys/{id}/rotate")).json["key"]
    assert (await world.mint()).status == 401
    assert (await world.mint(key=key)).status == 201


CONFIGURED = {**ENDS, "rotate": ("POST", "/v1/keys/{id}/rotate")}


@pytest.mark.parametrize(("method", "path"), CONFIGURED.values(), ids=CONFIGURED)
async def test_the_configured_key_is_changed_in_the_configuration(method: str, path: str) -> None:
    """The next start would bring it back, and nobody would expect that."""
    world = World(configured_key=ACCOUNT_KEY)
    account = await world.add_account(ACCOUNT_KEY)
    another = "mk_" + "b" * 40
    other = await world.add(account, another, is_account=True)
    id = (await world.record(ACCOUNT_KEY)).id
    answer = await world.send(method, path.format(id=id), key=another)
    assert_refused(answer, 409)
    assert "MEMROUTER_ACCOUNT_KEY" in answer.json["hint"]
    assert (await world.mint()).status == 201
    assert (await world.send(method, path.format(id=KeyId(other.id)))).status == 200
