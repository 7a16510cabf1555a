"""Keys: making one for each user of an app."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from memrouter.edge import auth, bodies
from memrouter.edge.callers import Callers
from memrouter.ports import Clock, Directory

BODY_BYTES = 1 << 16
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


class NewKey(msgspec.Struct, kw_only=True):
    """What `POST /v1/keys` is asked for."""

    name: Name = "New Key"


class MintedKey(msgspec.Struct, kw_only=True):
    """A key that was just made; it is not shown again."""

    key: str
    id: str
    name: str
    created_at: str


class AccountApi:
    """Endpoints for account keys."""

    def __init__(self, callers: Callers, directory: Directory, clock: Clock) -> None:
        self._callers = callers
        self._directory = directory
        self._clock = clock

    def routes(self) -> list[Route]:
        """The endpoints, by path."""
        return [Route("/v1/keys", self.create_key, methods=["POST"])]

    async def create_key(self, request: Request) -> Response:
        """Mint a memory key in the caller's account, with a vault of its own."""
        caller = await self._callers.identify(bodies.head(request))
        caller.require_account("mint keys")
        asked = bodies.decode(await bodies.read(request, BODY_BYTES), NewKey, default=b"{}")
        key = auth.mint()
        record = await self._directory.add_key(
            caller.account,
            auth.digest(key),
            masked=auth.masked(key),
            name=asked.name,
            now=self._clock.now(),
        )
        minted = MintedKey(key=key, id=record.id, name=record.name, created_at=iso(record.created))
        return bodies.answer(minted, 201)


def iso(time: datetime) -> str:
    """A time as the API writes it: 2026-06-05T21:00:00.000Z."""
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
