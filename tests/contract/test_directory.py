"""The contract of ports.Directory: every sentence of its docstrings, on every implementation."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from typing import Any

import pytest

from memrouter.domain import AccountId, KeyId, KeyRecord, UsageRow, VaultId
from memrouter.errors import StoreError
from memrouter.ports import Directory

NOW = datetime(2026, 6, 5, 21, 0, 0, 123_000, tzinfo=UTC)
LATER = NOW + timedelta(days=1)


def hashed(key: str) -> bytes:
    return sha256(key.encode()).digest()


async def add(directory: Directory, account: AccountId, key: str, **options: Any) -> KeyRecord:
    options = {"masked": f"mk_{key}…", "name": key, "now": NOW, **options}
    return await directory.add_key(account, hashed(key), **options)


# --- accounts ---


async def test_the_first_account_is_the_oldest(directory: Directory) -> None:
    assert await directory.first_account() is None
    first = await directory.add_account()
    assert await directory.add_account() != first
    assert await directory.first_account() == first


async def test_a_configured_key_makes_the_first_account(directory: Directory) -> None:
    account = await directory.account_with_config_key(hashed("a"), "mk_a…", NOW)
    assert account == await directory.first_account()
    record = await directory.key(hashed("a"))
    assert record is not None
    assert (record.account, record.is_account, record.revoked) == (account, True, None)
    assert await directory.account_with_config_key(hashed("a"), "mk_a…", LATER) == account
    assert await directory.key(hashed("a")) == record


async def test_another_configured_key_revokes_the_one_before_it(directory: Directory) -> None:
    account = await directory.account_with_config_key(hashed("a"), "mk_a…", NOW)
    minted = await add(directory, account, "user")
    assert await directory.account_with_config_key(hashed("b"), "mk_b…", LATER) == account
    old = await directory.key(hashed("a"))
    assert old is not None
    assert old.revoked == LATER
    assert await directory.key(hashed("user")) == minted
    await directory.account_with_config_key(hashed("a"), "mk_a…", LATER)
    again, other = await directory.key(hashed("a")), await directory.key(hashed("b"))
    assert again is not None
    assert other is not None
    assert (again.revoked, again.id, other.revoked) == (None, old.id, LATER)


async def test_a_minted_key_may_become_the_configured_one(directory: Directory) -> None:
    account = await directory.add_account()
    minted = await add(directory, account, "user", is_account=True)
    assert await directory.account_with_config_key(hashed("user"), "mk_u…", NOW) == account
    assert await directory.key(hashed("user")) == minted


# --- keys ---


async def test_a_key_is_found_by_its_hash(directory: Directory) -> None:
    account = await directory.add_account()
    made = await add(
        directory, account, "a", name="Zoë \U0001f600", quota_tokens=9, rate_per_minute=8
    )
    assert made == KeyRecord(
        id=made.id,
        account=account,
        vault=made.vault,
        name="Zoë \U0001f600",
        is_account=False,
        created=NOW,
        masked="mk_a…",
        quota_tokens=9,
        rate_per_minute=8,
    )
    assert await directory.key(hashed("a")) == made
    assert await directory.key_by_id(account, made.id) == made
    assert await directory.key(hashed("b")) is None


async def test_each_key_has_a_vault_of_its_own_unless_one_is_given(directory: Directory) -> None:
    account = await directory.add_account()
    one, two = await add(directory, account, "1"), await add(directory, account, "2")
    same = await add(directory, account, "3", vault=one.vault)
    assert one.vault != two.vault
    assert same.vault == one.vault
    assert one.id != two.id != same.id


async def test_keys_of_an_account_that_are_not_revoked_oldest_first(directory: Directory) -> None:
    account, other = await directory.add_account(), await directory.add_account()
    third = await add(directory, account, "3", now=LATER)
    first, second = await add(directory, account, "1"), await add(directory, account, "2")
    await add(directory, other, "4")
    assert list(await directory.keys(account)) == [first, second, third]
    assert await directory.revoke_key(account, second.id, LATER)
    assert list(await directory.keys(account)) == [first, third]
    assert list(await directory.keys(AccountId("nobody"))) == []


CHANGES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "nothing": ({}, {}),
    "the name": ({"name": "new"}, {"name": "new"}),
    "the quota": ({"quota_tokens": 5}, {"quota_tokens": 5}),
    "no quota any more": ({"quota_tokens": 0}, {"quota_tokens": None}),
    "the rate": ({"rate_per_minute": 5}, {"rate_per_minute": 5}),
    "all": (
        {"name": "n", "quota_tokens": 1, "rate_per_minute": 0},
        {"name": "n", "quota_tokens": 1, "rate_per_minute": None},
    ),
}


@pytest.mark.parametrize(("change", "result"), CHANGES.values(), ids=CHANGES)
async def test_what_is_given_is_changed(
    directory: Directory, change: dict[str, Any], result: dict[str, Any]
) -> None:
    account = await directory.add_account()
    made = await add(directory, account, "a", quota_tokens=100, rate_per_minute=10)
    await directory.key(made_hash := hashed("a"))
    changed = await directory.change_key(account, made.id, **change)
    assert changed == replace(made, **result)
    assert await directory.key(made_hash) == changed


async def test_a_rotated_key_has_a_new_secret_and_is_the_same_otherwise(
    directory: Directory,
) -> None:
    account = await directory.add_account()
    made = await add(directory, account, "old", quota_tokens=5)
    assert await directory.key(hashed("old")) == made
    rotated = await directory.rotate_key(account, made.id, hashed("new"), "mk_new…", LATER)
    assert rotated == replace(made, masked="mk_new…")
    assert await directory.key(hashed("new")) == rotated
    assert await directory.key(hashed("old")) is None


async def test_a_revoked_key_is_known_as_such(directory: Directory) -> None:
    account = await directory.add_account()
    made = await add(directory, account, "a")
    assert await directory.key(hashed("a")) == made
    assert await directory.revoke_key(account, made.id, LATER) is True
    assert await directory.revoke_key(account, made.id, LATER) is False
    assert await directory.key(hashed("a")) == replace(made, revoked=LATER)
    assert await directory.key_by_id(account, made.id) is None
    assert await directory.change_key(account, made.id, name="x") is None
    assert await directory.rotate_key(account, made.id, hashed("b"), "mk_b…", LATER) is None
    assert await directory.key(hashed("b")) is None


async def test_keys_of_another_account_cannot_be_touched(directory: Directory) -> None:
    mine, yours = await directory.add_account(), await directory.add_account()
    key = await add(directory, yours, "a")
    assert await directory.key_by_id(mine, key.id) is None
    assert await directory.change_key(mine, key.id, name="x") is None
    assert await directory.rotate_key(mine, key.id, hashed("b"), "mk_b…", NOW) is None
    assert await directory.revoke_key(mine, key.id, NOW) is False
    assert await directory.key(hashed("a")) == key
    assert await directory.key_by_id(mine, KeyId("nothing")) is None


async def test_a_key_that_is_one_already_is_refused(directory: Directory) -> None:
    account = await directory.add_account()
    one, two = await add(directory, account, "1"), await add(directory, account, "2")
    with pytest.raises(StoreError):
        await add(directory, account, "1")
    with pytest.raises(StoreError):
        await directory.rotate_key(account, two.id, hashed("1"), "mk_1…", NOW)
    with pytest.raises(StoreError):
        await add(directory, AccountId("nobody"), "3")
    assert list(await directory.keys(account)) == [one, two]


# --- users ---


async def test_a_user_has_one_vault_ever_after(directory: Directory, elsewhere: Directory) -> None:
    account, other = await directory.add_account(), await directory.add_account()
    users = ["alice", "Alice", "", "bob\0", "\ud800", "日本", "x" * 5_000]
    made = [await directory.user_vault(account, user) for user in users]
    assert len(set(made)) == len(users)
    for where in (directory, elsewhere):
        assert [await where.user_vault(account, user) for user in users] == made
    assert await directory.user_vault(other, "alice") not in made


async def test_processes_that_meet_a_user_at_once_agree_on_the_vault(
    directory: Directory, elsewhere: Directory
) -> None:
    account = await directory.add_account()
    asked = [where.user_vault(account, "alice") for where in (directory, elsewhere) * 8]
    assert len(set(await asyncio.gather(*asked))) == 1


async def test_a_user_is_looked_for_without_being_made(directory: Directory) -> None:
    account = await directory.add_account()
    assert await directory.known_user(account, "ghost") is None
    assert await directory.known_user(account, "ghost") is None
    made = await directory.user_vault(account, "ghost")
    assert await directory.known_user(account, "ghost") == made
    assert await directory.known_user(await directory.add_account(), "ghost") is None


async def test_vaults_of_an_account_are_those_of_keys_and_users(directory: Directory) -> None:
    account, other = await directory.add_account(), await directory.add_account()
    assert list(await directory.vaults_of(account)) == []
    one, two = await add(directory, account, "1"), await add(directory, account, "2")
    await add(directory, account, "3", vault=one.vault)
    user = await directory.user_vault(account, "alice")
    await add(directory, other, "4")
    await directory.revoke_key(account, two.id, NOW)  # a vault outlives its key
    assert sorted(await directory.vaults_of(account)) == sorted([one.vault, two.vault, user])


# --- provider keys and settings ---


async def test_provider_keys_are_kept_by_account(directory: Directory) -> None:
    account, other = await directory.add_account(), await directory.add_account()
    assert dict(await directory.provider_keys(account)) == {}
    await directory.set_provider_key(account, "openai", b"old")
    await directory.set_provider_key(account, "openai", b"\0new")
    await directory.set_provider_key(account, "google", b"g")
    assert dict(await directory.provider_keys(account)) == {"openai": b"\0new", "google": b"g"}
    assert dict(await directory.provider_keys(other)) == {}
    assert await directory.delete_provider_key(other, "openai") is False
    assert await directory.delete_provider_key(account, "openai") is True
    assert await directory.delete_provider_key(account, "openai") is False
    assert dict(await directory.provider_keys(account)) == {"google": b"g"}


async def test_settings_are_kept_by_account(directory: Directory) -> None:
    account, other = await directory.add_account(), await directory.add_account()
    assert await directory.get_setting(account, "infinite") is None
    await directory.set_setting(account, "infinite", "on")
    await directory.set_setting(account, "infinite", "off")
    assert await directory.get_setting(account, "infinite") == "off"
    assert await directory.get_setting(other, "infinite") is None


# --- usage ---


def used(day: int, *, model: str = "m", measured: bool = True, tokens: int = 1) -> UsageRow:
    return UsageRow(
        key=KeyId("k"),
        day=date(2026, 6, day),
        model=model,
        measured=measured,
        requests=1,
        input_tokens=tokens,
        output_tokens=2 * tokens,
        memory_tokens=3 * tokens,
    )


async def test_usage_adds_up_by_day_model_and_source(directory: Directory) -> None:
    await directory.add_usage([used(2), used(1), used(2, measured=False), used(2, model="n")])
    await directory.add_usage([used(2, tokens=10), replace(used(2), key=KeyId("other"))])
    await directory.add_usage([])
    sums = replace(used(2, tokens=11), requests=2)
    rows = await directory.usage(KeyId("k"), date(2026, 6, 1), date(2026, 6, 2))
    assert [row.day.day for row in rows] == [1, 2, 2, 2]
    assert sorted(rows[1:], key=lambda row: (row.model, row.measured)) == [
        used(2, measured=False),
        sums,
        used(2, model="n"),
    ]
    assert rows[0] == used(1)
    assert list(await directory.usage(KeyId("nobody"), date(2026, 1, 1), date(2027, 1, 1))) == []


DAYS: dict[str, tuple[int, int, list[int]]] = {
    "both ends count": (2, 4, [2, 3, 4]),
    "one day": (3, 3, [3]),
    "none": (6, 9, []),
    "the wrong way round": (4, 2, []),
}


@pytest.mark.parametrize(("start", "end", "days"), DAYS.values(), ids=DAYS)
async def test_usage_of_some_days(
    directory: Directory, start: int, end: int, days: list[int]
) -> None:
    await directory.add_usage([used(day) for day in (5, 3, 1, 4, 2)])
    rows = await directory.usage(KeyId("k"), date(2026, 6, start), date(2026, 6, end))
    assert [row.day.day for row in rows] == days


# --- several processes ---


async def test_what_one_process_changes_the_others_see_at_once(
    directory: Directory, elsewhere: Directory
) -> None:
    account = await directory.add_account()
    assert await elsewhere.first_account() == account
    made = await add(directory, account, "a", vault=VaultId("v1"))
    for _ in range(2):
        assert await elsewhere.key(hashed("a")) == made
    await elsewhere.change_key(account, made.id, name="changed")
    assert await directory.key(hashed("a")) == replace(made, name="changed")
    await directory.rotate_key(account, made.id, hashed("b"), "mk_b…", NOW)
    assert await elsewhere.key(hashed("a")) is None
    assert await elsewhere.key(hashed("b")) is not None
    await elsewhere.revoke_key(account, made.id, LATER)
    revoked = await directory.key(hashed("b"))
    assert revoked is not None
    assert revoked.revoked == LATER
    await directory.set_provider_key(account, "openai", b"1")
    assert dict(await elsewhere.provider_keys(account)) == {"openai": b"1"}
    await elsewhere.delete_provider_key(account, "openai")
    assert dict(await directory.provider_keys(account)) == {}
    await directory.add_usage([used(1)])
    assert list(await elsewhere.usage(KeyId("k"), date(2026, 6, 1), date(2026, 6, 1))) == [used(1)]


async def test_provider_keys_are_sealed_anew(directory: Directory) -> None:
    one, two = await directory.add_account(), await directory.add_account()
    await directory.set_provider_key(one, "openai", b"a")
    await directory.set_provider_key(two, "openai", b"b")
    assert await directory.reseal(lambda sealed: sealed + b"!") == 2
    assert dict(await directory.provider_keys(one)) == {"openai": b"a!"}
    assert dict(await directory.provider_keys(two)) == {"openai": b"b!"}


async def test_if_one_cannot_be_sealed_anew_all_stay(directory: Directory) -> None:
    account = await directory.add_account()
    await directory.set_provider_key(account, "a", b"a")
    await directory.set_provider_key(account, "b", b"bad")

    def again(sealed: bytes) -> bytes:
        if sealed == b"bad":
            raise StoreError("bad")
        return b"changed"

    with pytest.raises(StoreError):
        await directory.reseal(again)
    assert dict(await directory.provider_keys(account)) == {"a": b"a", "b": b"bad"}
