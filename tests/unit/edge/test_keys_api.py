from __future__ import annotations

from typing import Any, cast

import pytest
from starlette.routing import Router

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


class World:
    """The account API, and one account."""

    def __init__(self) -> None:
        self.directory = MemoryDirectory()
        self.clock = FixedClock()
        self.store = MemoryVaultStore()
        api = KeysApi(Callers(self.directory), self.directory, self.store, self.clock)
        own = Router(api.routes(), redirect_slashes=False)
        nobody = cast("Any", None)
        self.edge = Edge(cast("Relay", nobody), cast("Targets", nobody), FORMATS, own, Metrics())

    async def mint(self, body: Any = b"", key: str = ACCOUNT_KEY) -> Answer:
        return await Client(self.edge).post("/v1/keys", body, authorization=f"Bearer {key}")


@pytest.fixture
async def world() -> World:
    world = World()
    account = await world.directory.add_account()
    await world.directory.add_key(
        account,
        auth.digest(ACCOUNT_KEY),
        masked=auth.masked(ACCOUNT_KEY),
        name="account",
        now=world.clock.now(),
        is_account=True,
    )
    return world


async def test_a_key_is_minted_as_the_seed_says(world: World) -> None:
    answer = await world.mint({"name": "user:42"})
    assert answer.status == 201
    minted = answer.json
    assert set(minted) >= {"key", "name", "created_at"}
    assert auth.KEY.fullmatch(minted["key"])
    assert minted["name"] == "user:42"
    assert minted["created_at"] == "2026-06-05T21:00:00.000Z"
    record = await world.directory.key(auth.digest(minted["key"]))
    assert record is not None
    assert (record.id, record.name, record.is_account) == (minted["id"], "user:42", False)
    assert record.account == await world.directory.first_account()
    assert minted["key"] not in record.masked


@pytest.mark.parametrize("body", [b"", b"{}", {"unknown": 1}], ids=repr)
async def test_a_name_is_not_needed(world: World, body: Any) -> None:
    assert (await world.mint(body)).json["name"] == "New Key"


async def test_every_key_has_a_vault_of_its_own(world: World) -> None:
    keys = [(await world.mint({"name": "same"})).json["key"] for _ in range(5)]
    records = [await world.directory.key(auth.digest(key)) for key in keys]
    assert len({record.vault for record in records if record}) == 5


async def test_a_minted_key_cannot_mint(world: World) -> None:
    key = (await world.mint()).json["key"]
    answer = await world.mint(key=key)
    assert answer.status == 403
    assert "may not mint keys" in answer.json["error"]
    assert answer.json["hint"]
    assert key not in answer.body.decode()


WRONG: dict[str, tuple[Any, int]] = {
    "no JSON": (b"{", 400),
    "no object": (b"[]", 400),
    "no string": ({"name": 1}, 400),
    "an empty name": ({"name": ""}, 400),
    "a long name": ({"name": "x" * 201}, 400),
    "null": ({"name": None}, 400),
    "a long body": (b'{"name": "' + b"x" * BODY_BYTES + b'"}', 413),
}


@pytest.mark.parametrize(("body", "status"), WRONG.values(), ids=WRONG)
async def test_bad_input_is_named_and_makes_no_key(world: World, body: Any, status: int) -> None:
    answer = await world.mint(body)
    assert answer.status == status
    assert answer.json["error"]
    assert answer.json["hint"]
    account = await world.directory.first_account()
    assert account is not None
    assert len(await world.directory.keys(account)) == 1


async def test_who_is_not_known_mints_nothing(world: World) -> None:
    answer = await world.mint(key="mk_" + "x" * 40)
    assert answer.status == 401
    assert answer.headers["www-authenticate"]
    assert answer.json["error"] == "Invalid Memory Key"
