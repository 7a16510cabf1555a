"""The embedded directory of accounts, keys, users, provider keys, usage: ports.Directory."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path
from typing import Any, TypeVar

from memrouter.domain import AccountId, KeyId, KeyRecord, UsageRow, VaultId
from memrouter.store.sqlite.database import Database
from memrouter.store.sqlite.files import Files
from memrouter.store.sqlite.vault import millis, moment, storable
from memrouter.store.statements import statements

T = TypeVar("T")

_CACHED_KEYS = 10_000


class SqliteDirectory:
    """See ports.Directory. Used by one event loop; other processes may use the same folder."""

    def __init__(self, folder: Path, files: Files | None = None) -> None:
        """Open the directory in this data folder. Raises StoreError."""
        self._files = files = files or Files(folder)
        path, sql = folder / "directory.db", statements("directory")
        self._writer = files.open(path, sql, cache_kb=4_096)
        self._reader = files.open(path, sql, cache_kb=4_096)
        self._usage = files.open(folder / "usage.db", statements("usage"))
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="directory")
        self._version = -1
        self._fresh = False
        self._keys: dict[bytes, KeyRecord] = {}
        self._people: dict[tuple[AccountId, str], VaultId] = {}
        self._sealed: dict[AccountId, Mapping[str, bytes]] = {}

    # --- what every request asks: microseconds, so without leaving the event loop ---

    async def key(self, hashed: bytes) -> KeyRecord | None:
        self._refresh()
        found = self._keys.get(hashed)
        if found is None:
            row = self._reader.one("key_by_hash", hashed)
            if row is None:
                return None
            if len(self._keys) >= _CACHED_KEYS:
                self._keys.clear()
            found = self._keys[hashed] = _record(row)
        return found

    async def provider_keys(self, account: AccountId) -> Mapping[str, bytes]:
        self._refresh()
        if account not in self._sealed:
            self._sealed[account] = dict(self._reader.all("provider_keys", account))
        return self._sealed[account]

    async def user_vault(self, account: AccountId, user: str) -> VaultId:
        self._refresh()
        found = self._people.get((account, user))
        if found is None:
            name = user.encode("utf-8", "surrogatepass")
            row = self._reader.one("person", account, name)
            found = VaultId(row[0]) if row else await self._add_person(account, name)
            if len(self._people) >= _CACHED_KEYS:
                self._people.clear()
            self._people[account, user] = found
        return found

    async def known_user(self, account: AccountId, user: str) -> VaultId | None:
        row = self._reader.one("person", account, user.encode("utf-8", "surrogatepass"))
        return VaultId(row[0]) if row else None

    # --- accounts and keys ---

    async def add_account(self) -> AccountId:
        id = AccountId(f"acc_{secrets.token_hex(8)}")
        await self._change(lambda db: db.one("add_account", id))
        return id

    async def first_account(self) -> AccountId | None:
        row = self._reader.one("first_account")
        return AccountId(row[0]) if row else None

    async def account_with_config_key(self, hashed: bytes, masked: str, now: datetime) -> AccountId:
        def work(db: Database) -> AccountId:
            row = db.one("first_account")
            account = AccountId(row[0]) if row else AccountId(f"acc_{secrets.token_hex(8)}")
            if row is None:
                db.one("add_account", account)
            kept = None  # another key is the same account's: its memory stays
            for id, other, vault in db.all("configured_key", account):
                if other != hashed:
                    kept = VaultId(vault)
                    db.one("revoke_key", millis(now), account, id)
            if db.one("key_by_hash", hashed) is None:
                _insert(db, account, hashed, masked, "account", now, is_account=True, vault=kept)
            db.one("configure_key", hashed)
            return account

        return await self._change(work)

    async def add_key(
        self,
        account: AccountId,
        hashed: bytes,
        *,
        masked: str,
        name: str,
        now: datetime,
        is_account: bool = False,
        vault: VaultId | None = None,
        quota_tokens: int | None = None,
        rate_per_minute: int | None = None,
    ) -> KeyRecord:
        limits = (quota_tokens, rate_per_minute)
        return await self._change(
            lambda db: _insert(
                db, account, hashed, masked, name, now, is_account=is_account, vault=vault,
                limits=limits,
            )
        )  # fmt: skip

    async def keys(self, account: AccountId) -> Sequence[KeyRecord]:
        return [_record(row) for row in self._reader.all("keys", account)]

    async def key_by_id(self, account: AccountId, id: KeyId) -> KeyRecord | None:
        row = self._reader.one("key_by_id", account, id)
        return None if row is None else _record(row)

    async def change_key(
        self,
        account: AccountId,
        id: KeyId,
        *,
        name: str | None = None,
        quota_tokens: int | None = None,
        rate_per_minute: int | None = None,
    ) -> KeyRecord | None:
        changes = {
            "change_name": None if name is None else storable(name),
            "change_quota": quota_tokens,
            "change_rate": rate_per_minute,
        }

        def work(db: Database) -> None:
            for statement, value in changes.items():
                if value is not None:
                    db.one(statement, value, account, id)

        await self._change(work)
        return await self.key_by_id(account, id)

    async def rotate_key(
        self, account: AccountId, id: KeyId, hashed: bytes, masked: str, now: datetime
    ) -> KeyRecord | None:
        await self._change(lambda db: db.one("rotate_key", hashed, masked, account, id))
        return await self.key_by_id(account, id)

    async def revoke_key(self, account: AccountId, id: KeyId, now: datetime) -> bool:
        def work(db: Database) -> bool:
            db.one("revoke_key", millis(now), account, id)
            return db.changed() > 0

        return await self._change(work)

    async def vaults_of(self, account: AccountId) -> Sequence[VaultId]:
        return [VaultId(row[0]) for row in self._reader.all("vaults_of", account)]

    # --- provider keys and settings ---

    async def set_provider_key(self, account: AccountId, provider: str, sealed: bytes) -> None:
        await self._change(lambda db: db.one("set_provider_key", account, provider, sealed))

    async def delete_provider_key(self, account: AccountId, provider: str) -> bool:
        def work(db: Database) -> bool:
            db.one("delete_provider_key", account, provider)
            return db.changed() > 0

        return await self._change(work)

    async def get_setting(self, account: AccountId, name: str) -> str | None:
        row = self._reader.one("get_setting", account, name)
        return str(row[0]) if row else None

    async def set_setting(self, account: AccountId, name: str, value: str) -> None:
        await self._change(lambda db: db.one("set_setting", account, name, storable(value)))

    # --- usage ---

    async def add_usage(self, rows: Sequence[UsageRow]) -> None:
        def work() -> None:
            with self._usage.transaction():
                self._usage.many("add_usage", [_usage_values(row) for row in rows])

        await self._in_thread(work)

    async def usage(self, key: KeyId, start: date, end: date) -> Sequence[UsageRow]:
        days = (start.isoformat(), end.isoformat())
        rows = await self._in_thread(lambda: self._usage.all("usage", key, *days))
        return [_usage_row(row) for row in rows]

    async def close(self) -> None:
        self._pool.shutdown()
        for database in (self._reader, self._writer, self._usage):
            database.close()
        self._files.close()

    async def reseal(self, again: Callable[[bytes], bytes]) -> int:
        def work(db: Database) -> int:
            rows = db.all("all_provider_keys")
            for account, provider, sealed in rows:
                db.one("set_provider_key", account, provider, again(sealed))
            return len(rows)

        count = await self._change(work)
        await self._in_thread(self._writer.shrink)
        return count

    def _refresh(self) -> None:
        """Forget what is cached if any process wrote since: a revoked key is dead at once.

        Asked once a turn of the event loop: what came in before it began is all that it serves.
        """
        if self._fresh:
            return
        row = self._reader.one("data_version")
        version = int(row[0]) if row else -1
        if version != self._version:
            self._keys.clear()
            self._people.clear()
            self._sealed.clear()
            self._version = version
        self._fresh = True
        asyncio.get_running_loop().call_soon(self._grow_old)

    def _grow_old(self) -> None:
        self._fresh = False

    async def _add_person(self, account: AccountId, name: bytes) -> VaultId:
        def work(db: Database) -> VaultId:
            db.one("add_person", account, name, new_vault())
            row = db.one("person", account, name)
            assert row is not None
            return VaultId(row[0])

        return await self._change(work)

    async def _change(self, work: Callable[[Database], T]) -> T:
        def run() -> T:
            with self._writer.transaction():
                return work(self._writer)

        try:
            return await self._in_thread(run)
        finally:
            self._fresh = False

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)


def new_vault() -> VaultId:
    """The id of a new vault."""
    return VaultId(secrets.token_hex(16))


def _insert(
    db: Database,
    account: AccountId,
    hashed: bytes,
    masked: str,
    name: str,
    now: datetime,
    *,
    is_account: bool,
    vault: VaultId | None = None,
    limits: tuple[int | None, int | None] = (None, None),
) -> KeyRecord:
    record = KeyRecord(
        id=KeyId(f"key_{secrets.token_hex(8)}"),
        account=account,
        vault=vault or new_vault(),
        name=storable(name),
        is_account=is_account,
        created=moment(millis(now)),
        masked=masked,
    )
    db.one(
        "add_key",
        *(record.id, hashed, account, record.vault, record.name, masked, int(is_account), 0),
        *(millis(now), *limits),
    )
    return replace(record, quota_tokens=limits[0], rate_per_minute=limits[1])


def _record(row: tuple[Any, ...]) -> KeyRecord:
    id, account, vault, name, is_account, created, masked, revoked, quota, rate = row
    return KeyRecord(
        id=id,
        account=account,
        vault=vault,
        name=name,
        is_account=bool(is_account),
        created=moment(created),
        masked=masked,
        revoked=None if revoked is None else moment(revoked),
        quota_tokens=quota,
        rate_per_minute=rate,
    )


def _usage_values(row: UsageRow) -> tuple[Any, ...]:
    return (
        *(row.key, row.day.isoformat(), row.model, int(row.measured), row.requests),
        *(row.input_tokens, row.output_tokens, row.memory_tokens),
    )


def _usage_row(row: tuple[Any, ...]) -> UsageRow:
    key, day, model, measured, requests, sent, received, memory = row
    return UsageRow(
        key=key,
        day=date.fromisoformat(day),
        model=model,
        measured=bool(measured),
        requests=requests,
        input_tokens=sent,
        output_tokens=received,
        memory_tokens=memory,
    )
