"""Provider keys: sealed in the directory, opened for whoever uses the account."""

from __future__ import annotations

import pytest

from memrouter.domain import AccountId
from memrouter.edge import provider_keys
from memrouter.edge.provider_keys import ProviderKeys, checked
from memrouter.errors import BadRequest
from memrouter.secrets import SealBroken, Sealer
from memrouter.testing.directory import MemoryDirectory

KEY = "sk-" + "x" * 40
SECRET = "a secret of some length"


class CountingSealer(Sealer):
    opened = 0

    def open(self, sealed: bytes) -> str:
        self.opened += 1
        return super().open(sealed)


class World:
    def __init__(self) -> None:
        self.directory = MemoryDirectory()
        self.sealer = CountingSealer(SECRET)
        self.keys = ProviderKeys(self.directory, self.sealer)
        self.account = AccountId("a")


@pytest.fixture
def world() -> World:
    return World()


async def test_a_key_is_stored_sealed_and_found(world: World) -> None:
    assert await world.keys.put(world.account, "openai", KEY) == "sk-xx…xxxx"
    assert await world.keys.find(world.account, "openai") == KEY
    sealed = await world.directory.provider_keys(world.account)
    assert KEY.encode() not in sealed["openai"]
    assert await world.keys.find(world.account, "anthropic") == ""
    assert await world.keys.find(AccountId("b"), "openai") == ""


async def test_a_key_takes_the_place_of_the_one_before(world: World) -> None:
    await world.keys.put(world.account, "openai", "sk-old")
    assert await world.keys.find(world.account, "openai") == "sk-old"
    await world.keys.put(world.account, "openai", "sk-new")
    assert await world.keys.find(world.account, "openai") == "sk-new"


async def test_a_deleted_key_is_not_found(world: World) -> None:
    await world.keys.put(world.account, "openai", KEY)
    assert await world.keys.delete(world.account, "openai")
    assert not await world.keys.delete(world.account, "openai")
    assert await world.keys.find(world.account, "openai") == ""


async def test_a_key_is_opened_once(world: World) -> None:
    await world.keys.put(world.account, "openai", KEY)
    for _ in range(10):
        await world.keys.find(world.account, "openai")
    assert world.sealer.opened == 1


async def test_few_are_held_open(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provider_keys, "_MOST_OPENED", 5)
    for i in range(20):
        await world.keys.put(AccountId(f"a{i}"), "openai", KEY)
        assert await world.keys.find(AccountId(f"a{i}"), "openai") == KEY
    assert len(world.keys._opened) <= 5


async def test_under_another_secret_it_cannot_be_opened(world: World) -> None:
    await world.keys.put(world.account, "openai", KEY)
    await world.keys.put(world.account, "anthropic", KEY)
    others = ProviderKeys(world.directory, Sealer("another secret of some length"))
    with pytest.raises(SealBroken):
        await others.find(world.account, "openai")
    await others.put(world.account, "openai", "sk-new")
    assert await others.all(world.account) == {"anthropic": None, "openai": "sk-new"}


CHECKED = {"sk-x": "sk-x", "  sk-x\n": "sk-x", "Bearer sk-x": "Bearer sk-x"}


@pytest.mark.parametrize("given", CHECKED)
def test_keys_as_they_are_pasted(given: str) -> None:
    assert checked(given) == CHECKED[given]


NO_KEYS = {
    "empty": "",
    "blank": " \n",
    "a memory key": "mk_" + "x" * 40,
    "a memory key as a bearer": "Bearer mk-abc",
    "two lines": "sk-x\r\nx-evil: 1",
    "a control character": "sk-\x00x",
    "not ASCII": "sk-ключ",
    "a lone surrogate": "sk-\ud800",
}


@pytest.mark.parametrize("given", NO_KEYS.values(), ids=NO_KEYS)
async def test_what_can_be_no_key(world: World, given: str) -> None:
    with pytest.raises(BadRequest) as raised:
        await world.keys.put(world.account, "openai", given)
    assert raised.value.hint
    if given.strip():
        assert given.strip() not in str(raised.value) + raised.value.hint
    assert not await world.directory.provider_keys(world.account)
