"""A directory that lives in memory and passes the contract suite of its port."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

from memrouter.domain import AccountId, KeyId, KeyRecord, UsageRow, VaultId
from memrouter.errors import StoreError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)


class MemoryDirectory:
    """See ports.Directory; forgets everything with the process."""

    def __init__(self) -> None:
        self._accounts: list[AccountId] = []
        self._keys: dict[KeyId, KeyRecord] = {}
        self._hashes: dict[bytes, KeyId] = {}
        self._configured: set[KeyId] = set()
        self._people: dict[tuple[AccountId, str], VaultId] = {}
        self._sealed: dict[tuple[AccountId, str], bytes] = {}
        self._settings: dict[tuple[AccountId, str], str] = {}
        self._usage: dict[tuple[KeyId, date, str, bool], UsageRow] = {}

    async def key(self, hashed: bytes) -> KeyRecord | None:
        id = self._hashes.get(hashed)
        return None if id is None else self._keys[id]

    async def add_account(self) -> AccountId:
        self._accounts.append(AccountId(f"acc_{secrets.token_hex(8)}"))
        return self._accounts[-1]

    async def account_with_config_key(self, hashed: bytes, masked: str, now: datetime) -> AccountId:
        account = self._accounts[0] if self._accounts else await self.add_account()
        kept = None
        for id in sorted(self._configured):
            if self._hashes.get(hashed) != id and self._keys[id].revoked is None:
                kept = self._keys[id].vault
                await self.revoke_key(account, id, now)
        if hashed not in self._hashes:
            await self.add_key(
                account,
                hashed,
                masked=masked,
                name="account",
                now=now,
                is_account=True,
                vault=kept,
            )
        id = self._hashes[hashed]
        self._keys[id] = replace(self._keys[id], is_account=True, revoked=None)
        self._configured.add(id)
        return account

    async def first_account(self) -> AccountId | None:
        return self._accounts[0] if self._accounts else None

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
        if account not in self._accounts or hashed in self._hashes:
            raise StoreError("There is no such account, or this key is one already")
        record = KeyRecord(
            id=KeyId(f"key_{secrets.token_hex(8)}"),
            account=account,
            vault=vault or VaultId(secrets.token_hex(16)),
            name=_clean(name),
            is_account=is_account,
            created=_time(now),
            masked=masked,
            quota_tokens=quota_tokens,
            rate_per_minute=rate_per_minute,
        )
        self._keys[record.id] = record
        self._hashes[hashed] = record.id
        return record

    async def keys(self, account: AccountId) -> Sequence[KeyRecord]:
        held = [k for k in self._keys.values() if k.account == account and k.revoked is None]
        return sorted(held, key=lambda key: key.created)

    async def key_by_id(self, account: AccountId, id: KeyId) -> KeyRecord | None:
        record = self._keys.get(id)
        if record is None or record.account != account or record.revoked is not None:
            return None
        return record

    async def change_key(
        self,
        account: AccountId,
        id: KeyId,
        *,
        name: str | None = None,
        quota_tokens: int | None = None,
        rate_per_minute: int | None = None,
    ) -> KeyRecord | None:
        record = await self.key_by_id(account, id)
        if record is None:
            return None
        if name is not None:
            record = replace(record, name=_clean(name))
        if quota_tokens is not None:
            record = replace(record, quota_tokens=quota_tokens or None)
        if rate_per_minute is not None:
            record = replace(record, rate_per_minute=rate_per_minute or None)
        self._keys[id] = record
        return record

    async def rotate_key(
        self, account: AccountId, id: KeyId, hashed: bytes, masked: str, now: datetime
    ) -> KeyRecord | None:
        record = await self.key_by_id(account, id)
        if record is None:
            return None
        if hashed in self._hashes:
            raise StoreError("This key is one already")
        self._hashes = {secret: owner for secret, owner in self._hashes.items() if owner != id}
        self._hashes[hashed] = id
        self._configured.discard(id)
        self._keys[id] = replace(record, masked=masked)
        return self._keys[id]

    async def revoke_key(self, account: AccountId, id: KeyId, now: datetime) -> bool:
        record = await self.key_by_id(account, id)
        if record is None:
            return False
        self._keys[id] = replace(record, revoked=_time(now))
        self._configured.discard(id)
        return True

    async def user_vault(self, account: AccountId, user: str) -> VaultId:
        if account not in self._accounts:
            raise StoreError("There is no such account")
        return self._people.setdefault((account, user), VaultId(secrets.token_hex(16)))

    async def known_user(self, account: AccountId, user: str) -> VaultId | None:
        return self._people.get((account, user))

    async def vaults_of(self, account: AccountId) -> Sequence[VaultId]:
        own = {key.vault for key in self._keys.values() if key.account == account}
        return sorted(own | {v for (owner, _), v in self._people.items() if owner == account})

    async def set_provider_key(self, account: AccountId, provider: str, sealed: bytes) -> None:
        self._sealed[account, provider] = sealed

    async def provider_keys(self, account: AccountId) -> Mapping[str, bytes]:
        return {name: key for (owner, name), key in self._sealed.items() if owner == account}

    async def delete_provider_key(self, account: AccountId, provider: str) -> bool:
        return self._sealed.pop((account, provider), None) is not None

    async def reseal(self, again: Callable[[bytes], bytes]) -> int:
        self._sealed = {where: again(sealed) for where, sealed in self._sealed.items()}
        return len(self._sealed)

    async def add_usage(self, rows: Sequence[UsageRow]) -> None:
        for row in rows:
            where = (row.key, row.day, row.model, row.measured)
            held = self._usage.get(where)
            self._usage[where] = row if held is None else _sum(held, row)

    async def usage(self, key: KeyId, start: date, end: date) -> Sequence[UsageRow]:
        rows = [row for row in self._usage.values() if row.key == key and start <= row.day <= end]
        return sorted(rows, key=lambda row: (row.day, row.model, row.measured))

    async def get_setting(self, account: AccountId, name: str) -> str | None:
        return self._settings.get((account, name))

    async def set_setting(self, account: AccountId, name: str, value: str) -> None:
        self._settings[account, name] = _clean(value)

    async def close(self) -> None:
        """Nothing is held open."""


def _sum(one: UsageRow, other: UsageRow) -> UsageRow:
    return replace(
        one,
        requests=one.requests + other.requests,
        input_tokens=one.input_tokens + other.input_tokens,
        output_tokens=one.output_tokens + other.output_tokens,
        memory_tokens=one.memory_tokens + other.memory_tokens,
    )


def _clean(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def _time(time: datetime) -> datetime:
    return _EPOCH + (time - _EPOCH) // _MS * _MS
