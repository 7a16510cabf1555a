"""Which provider serves a request, with whose key."""

from __future__ import annotations

from functools import lru_cache

from memrouter.domain import Target
from memrouter.edge import headers
from memrouter.edge.asgi import Request
from memrouter.edge.auth import is_memory_key
from memrouter.edge.callers import Caller
from memrouter.edge.provider_keys import ProviderKeys
from memrouter.upstream import target, v3
from memrouter.upstream.allowlist import Allowlist
from memrouter.upstream.providers import Provider, Providers
from memrouter.upstream.target import Route, Sent
from memrouter.upstream.v3 import V3Url

_NOTHING = Sent()
_ROUTES = 1_024
"""How many routes are known by path and model: clients ask for the same ones again and again."""
_LONG_CHARS = 300
"""Whoever sends longer ones fills no memory with them."""


class Targets:
    """Finds the targets of requests."""

    def __init__(
        self, providers: Providers, allowed: Allowlist, keys: ProviderKeys | None = None
    ) -> None:
        """keys  those that accounts have stored; None where none can be"""
        self._providers = providers
        self._allowed = allowed
        self._keys = keys
        self._routed = lru_cache(maxsize=_ROUTES)(self._route)

    def route(self, request: Request, model: str | None) -> Route:
        """The provider of a request on /v1. Raises BadRequest."""
        path, model = request.path, model or ""
        route = self._routed if len(path) + len(model) < _LONG_CHARS else self._route
        return route(path, model, target.TELLING.intersection(request.named))

    def _route(self, path: str, model: str, header_names: frozenset[str]) -> Route:
        return target.pick(self._providers, path=path, model=model, header_names=header_names)

    def url(self, request: Request) -> V3Url:
        """The provider's URL in a request on /v3. Raises BadRequest or UpstreamRefused."""
        return v3.parse(
            request.path.removeprefix("/v3"), request.query, self._providers, self._allowed
        )

    async def at_route(self, route: Route, path: str, request: Request, caller: Caller) -> Target:
        """Raises ProviderKeyMissing, or SealBroken if the account's key cannot be opened."""
        query = _theirs(request.query, request, headers.OUR_PARAMETERS)
        stored = await self._stored(route.provider, caller)
        return target.target(route, path=path, query=query, sent=caller.shown.sent, stored=stored)

    async def at_url(self, url: V3Url, request: Request, caller: Caller) -> Target:
        """Raises ProviderKeyMissing, or SealBroken if the account's key cannot be opened."""
        query = _theirs(url.query, request, headers.V3_PARAMETERS)
        stored = await self._stored(url.provider, caller) if url.provider else ""
        return v3.target(url, query=query, sent=caller.shown.sent, stored=stored)

    async def _stored(self, provider: Provider, caller: Caller) -> str:
        """The account's own key for a provider; "" if it has none, or the client brought one."""
        if self._keys is None or caller.shown.sent != _NOTHING:
            return ""
        return await self._keys.find(caller.account, provider.name)


def _theirs(query: str, request: Request, ours: frozenset[str]) -> str:
    """What of a query is the provider's: none of our parameters, no memory key."""
    if not query:
        return ""
    if is_memory_key(request.parameters.get("key", "")):
        ours |= {"key"}
    return headers.without(query, ours)
