"""Who is calling, and which memory is theirs."""

from __future__ import annotations

from dataclasses import dataclass

from memrouter.domain import AccountId, Json, KeyRecord, Scope, VaultId
from memrouter.edge import auth, controls
from memrouter.edge.asgi import Request
from memrouter.edge.controls import Controls
from memrouter.errors import Forbidden
from memrouter.ports import Directory

_SEEN_LIMIT = 200
_USER_HEADER = "x-sm-user-id"


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """A known, unrevoked key, and what came with it."""

    key: KeyRecord
    shown: auth.Shown

    @property
    def account(self) -> AccountId:
        return self.key.account

    def require_account(self, what: str) -> None:
        """Raise Forbidden unless this is an account key."""
        if not self.key.is_account:
            raise Forbidden(
                f"This memory key may not {what}",
                "Use the account key; a key that it minted opens one user's memory only",
            )


class Callers:
    """Identifies callers and finds their vaults."""

    def __init__(
        self,
        directory: Directory,
        *,
        user_headers: tuple[str, ...] = (),
        session_headers: tuple[str, ...] = (),
        bounds_by_default: bool = False,
    ) -> None:
        """The headers are those by which an account key may name user and session on /v1."""
        self._bounds_by_default = bounds_by_default
        self._directory = directory
        self._user_headers = user_headers
        self._session_headers = session_headers

    @property
    def own_headers(self) -> tuple[str, ...]:
        """Configured headers that no provider may see."""
        return (*self._user_headers, *self._session_headers)

    async def identify(self, request: Request) -> Caller:
        """The caller of a request. Raises Unauthorized."""
        shown = auth.find(request.headers, request.parameters, v3=request.surface == "v3")
        return Caller(key=await auth.authenticate(self._directory, shown), shown=shown)

    def session_headers(self, caller: Caller) -> tuple[str, ...]:
        """Further headers that may name the session, for this caller."""
        return self._session_headers if caller.key.is_account else ()

    async def scope(
        self,
        caller: Caller,
        request: Request,
        asked: Controls,
        thread: str | None = None,
        *,
        body: Json | None = None,
    ) -> Scope:
        """Where the caller's request reads and writes.

        thread  an agent's own id of its conversation, which counts if ours is not given
        body    of the request, whose `user` counts on /v3
        raises  BadRequest for an absurd id, Forbidden if a minted key names a user
        """
        conversation = asked.conversation or (thread or "")[:_SEEN_LIMIT]
        return Scope(
            vault=await self.vault(caller, self._user(caller, request, body)),
            session=asked.session,
            conversation=conversation,
        )

    def _user(self, caller: Caller, request: Request, body: Json | None) -> str:
        if request.surface == "v1":
            names = (*self._user_headers, _USER_HEADER)
            return controls.user_id(request.named, names=names) if caller.key.is_account else ""
        user = controls.user_id(
            request.named,
            names=(_USER_HEADER,),
            body=body if caller.key.is_account else None,  # to providers it means something else
            from_url=request.parameters.get("userId", ""),
        )
        if user and not caller.key.is_account:
            caller.require_account("name users")
        return user

    async def wants_bounds(self, caller: Caller) -> bool:
        """Whether the account keeps its conversations on /v1 within bounds (Infinite Chat)."""
        if self._bounds_by_default:
            return True
        return await self._directory.get_setting(caller.account, "infinite_chat") == "on"

    async def vault(self, caller: Caller, user: str) -> VaultId:
        """The vault of a user that an account key names; the key's own where it names none."""
        if not user:
            return caller.key.vault
        caller.require_account("name users")
        return await self._directory.user_vault(caller.account, user)
