"""Keys: one for each user of an app, made and managed with the account key."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from memrouter.domain import AccountId, KeyId, KeyRecord
from memrouter.edge import auth, bodies, headers
from memrouter.edge.account_api import iso
from memrouter.edge.account_shapes import (
    DeletedKey,
    KeyAnswer,
    KeyChange,
    KeyList,
    MintedKey,
    NewKey,
    RevokedKey,
)
from memrouter.edge.callers import Caller, Callers
from memrouter.errors import BadRequest, Conflict, NotFound
from memrouter.ports import Clock, Directory, VaultStore

BODY_BYTES = 1 << 16
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False, "": False}


class KeysApi:
    """Endpoints for keys; only account keys may use them, each for its own account."""

    def __init__(
        self,
        callers: Callers,
        directory: Directory,
        store: VaultStore,
        clock: Clock,
        *,
        configured_key: str = "",
    ) -> None:
        """configured_key  the account key that the configuration sets, if it sets one"""
        self._callers = callers
        self._directory = directory
        self._store = store
        self._clock = clock
        self._configured = auth.digest(configured_key) if configured_key else None
        self._revoking = asyncio.Lock()

    def routes(self) -> list[Route]:
        """The endpoints, by path."""
        return [
            Route("/v1/keys", self.create_key, methods=["POST"]),
            Route("/v1/keys", self.list_keys, methods=["GET"]),
            Route("/v1/keys/{id}", self.show_key, methods=["GET"]),
            Route("/v1/keys/{id}", self.change_key, methods=["PATCH"]),
            Route("/v1/keys/{id}", self.delete_key, methods=["DELETE"]),
            Route("/v1/keys/{id}/rotate", self.rotate_key, methods=["POST"]),
            Route("/v1/keys/{id}/revoke", self.revoke_key, methods=["POST"]),
        ]

    async def create_key(self, request: Request) -> Response:
        """Mint a memory key in the caller's account, with a vault of its own."""
        caller = await self._account(request, "mint keys")
        asked = bodies.decode(await bodies.read(request, BODY_BYTES), NewKey, default=b"{}")
        vault = None
        if asked.user_id is not None:
            user = headers.identifier(asked.user_id, "user_id")
            if not user:
                raise BadRequest("user_id is empty", "Name a user, or leave it out")
            vault = await self._directory.user_vault(caller.account, user)
        key = auth.mint()
        record = await self._directory.add_key(
            caller.account,
            auth.digest(key),
            masked=auth.masked(key),
            name=asked.name,
            now=self._clock.now(),
            vault=vault,
            quota_tokens=asked.quota_tokens or None,
            rate_per_minute=asked.rate_per_minute or None,
        )
        return bodies.answer(_minted(key, record), 201)

    async def list_keys(self, request: Request) -> Response:
        """List the account's keys, oldest first; revoked ones are not in it."""
        caller = await self._account(request, "list keys")
        records = await self._directory.keys(caller.account)
        return bodies.answer(KeyList(keys=[_shown(record) for record in records]))

    async def show_key(self, request: Request) -> Response:
        """One key of the account."""
        caller = await self._account(request, "list keys")
        return bodies.answer(_shown(await self._key(caller.account, request)))

    async def change_key(self, request: Request) -> Response:
        """Rename a key, or set its limits."""
        caller = await self._account(request, "change keys")
        asked = bodies.decode(await bodies.read(request, BODY_BYTES), KeyChange, default=b"{}")
        changed = await self._directory.change_key(
            caller.account,
            _id(request),
            name=_given(asked.name),
            quota_tokens=_limit(asked.quota_tokens),
            rate_per_minute=_limit(asked.rate_per_minute),
        )
        return bodies.answer(_shown(changed or _missing(request)))

    async def rotate_key(self, request: Request) -> Response:
        """Give a key a new secret, shown once. Memory and limits stay; the old secret is dead."""
        caller = await self._account(request, "rotate keys")
        record = await self._key(caller.account, request)
        await self._refuse_configured(record, "rotated")
        key = auth.mint()
        rotated = await self._directory.rotate_key(
            caller.account, record.id, auth.digest(key), auth.masked(key), self._clock.now()
        )
        return bodies.answer(_minted(key, rotated or _missing(request)))

    async def revoke_key(self, request: Request) -> Response:
        """Revoke a key at once. Its memory stays in the account."""
        caller = await self._account(request, "revoke keys")
        record = await self._revoked(caller, request)
        revoked = RevokedKey(id=record.id, name=record.name, revoked_at=iso(self._clock.now()))
        return bodies.answer(revoked)

    async def delete_key(self, request: Request) -> Response:
        """Delete a key; with `?memory=true` everything that is stored in its vault, too."""
        caller = await self._account(request, "delete keys")
        with_memory = _memory(request)
        record = await self._revoked(caller, request)
        deleted = 0
        if with_memory:
            deleted = await self._store.destroy(record.vault)
        return bodies.answer(
            DeletedKey(
                id=record.id,
                deleted=True,
                memory="deleted" if with_memory else "kept",
                memories_deleted=deleted,
            )
        )

    async def _account(self, request: Request, what: str) -> Caller:
        caller = await self._callers.identify(bodies.head(request))
        caller.require_account(what)
        return caller

    async def _key(self, account: AccountId, request: Request) -> KeyRecord:
        return await self._directory.key_by_id(account, _id(request)) or _missing(request)

    async def _revoked(self, caller: Caller, request: Request) -> KeyRecord:
        """Revoke the key that a request names; as long as another account key is left."""
        async with self._revoking:  # two must not each take the other for the one that is left
            record = await self._key(caller.account, request)
            await self._refuse_configured(record, "revoked")
            if record.is_account:
                others = await self._directory.keys(caller.account)
                if not any(key.is_account and key.id != record.id for key in others):
                    raise Conflict(
                        "This is the last account key",
                        "Rotate it, or make another: memrouter keys create --account",
                    )
            if not await self._directory.revoke_key(caller.account, record.id, self._clock.now()):
                _missing(request)  # another process was faster
        return record

    async def _refuse_configured(self, record: KeyRecord, how: str) -> None:
        """Raise Conflict for the configured account key: the next start would revive it."""
        if self._configured is None or not record.is_account:
            return
        configured = await self._directory.key(self._configured)
        if configured is not None and configured.id == record.id:
            raise Conflict(
                f"The account key of the configuration cannot be {how} here",
                "Change MEMROUTER_ACCOUNT_KEY and restart: the one before is revoked then",
            )


def _id(request: Request) -> KeyId:
    return KeyId(request.path_params["id"])


def _missing(request: Request) -> Any:
    """Raise NotFound for the key that a request names."""
    raise NotFound(
        f"There is no key {ascii(_id(request))[1:-1][:60]} in this account",
        "GET /v1/keys lists what there is",
    )


def _memory(request: Request) -> bool:
    """Whether to delete the memory, too. In doubt nothing is done: raises BadRequest."""
    parameters = bodies.head(request).parameters
    unknown = sorted(parameters.keys() - {"memory", "key"})
    if unknown:
        raise BadRequest(f"Unknown parameter {unknown[0]!a}: nothing was deleted", "Use memory")
    said = parameters.get("memory", "").strip().lower()
    if said not in _BOOLEANS:
        raise BadRequest(f"memory is {ascii(said)[:40]}", "Allowed are true and false")
    return _BOOLEANS[said]


def _given(name: str | msgspec.UnsetType) -> str | None:
    return None if name is msgspec.UNSET else name


def _limit(value: int | msgspec.UnsetType | None) -> int | None:
    """For the directory, where None changes nothing and 0 lifts a limit."""
    return None if value is msgspec.UNSET else value or 0


def _shown(record: KeyRecord) -> KeyAnswer:
    return KeyAnswer(
        id=record.id,
        key=record.masked,
        name=record.name,
        account=record.is_account,
        created_at=iso(record.created),
        quota_tokens=record.quota_tokens,
        rate_per_minute=record.rate_per_minute,
    )


def _minted(key: str, record: KeyRecord) -> MintedKey:
    return MintedKey(
        key=key,
        name=record.name,
        created_at=iso(record.created),
        id=record.id,
        quota_tokens=record.quota_tokens,
        rate_per_minute=record.rate_per_minute,
    )
