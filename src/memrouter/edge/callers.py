"""Who is calling: from a memory key to an account, its rights and a vault."""

from __future__ import annotations

from dataclasses import dataclass

from memrouter.domain import AccountId, KeyRecord, VaultId
from memrouter.edge.auth import Credentials, hash_key
from memrouter.errors import Forbidden, Unauthorized
from memrouter.ports import Directory


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """A known, unrevoked key, and what came with it."""

    key: KeyRecord
    credentials: Credentials

    @property
    def account(self) -> AccountId:
        return self.key.account

    def require_account(self, what: str) -> None:
        """Raise Forbidden unless this is an account key."""
        if not self.key.is_account:
            raise Forbidden(
                f"This memory key may not {what}",
                "Use the account key; keys that it minted open one user's memory only",
            )


class Callers:
    """Identifies callers. A wrong key costs the same work as a right one."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    async def identify(self, credentials: Credentials) -> Caller:
        """The caller with these credentials. Raises Unauthorized."""
        record = await self._directory.key(hash_key(credentials.key))
        if record is None or record.revoked is not None:
            raise Unauthorized(
                "Invalid memory key",
                "Send a key made by POST /v1/keys or `memrouter keys create`; "
                "a rotated or revoked key is dead",
            )
        return Caller(key=record, credentials=credentials)

    async def vault(self, caller: Caller, user: str) -> VaultId:
        """The vault of a user that an account key names; the key's own where it names none."""
        if not user:
            return caller.key.vault
        caller.require_account("name users")
        return await self._directory.user_vault(caller.account, user)
