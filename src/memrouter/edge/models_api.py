"""Which models there are, of all the providers that a caller has a key for."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from urllib.parse import unquote

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from memrouter.edge import bodies
from memrouter.edge.account_api import iso
from memrouter.edge.account_shapes import Model, ModelList, ProviderModels
from memrouter.edge.callers import Caller, Callers
from memrouter.edge.catalog import Catalog, Shelf
from memrouter.edge.provider_keys import ProviderKeys
from memrouter.errors import BadRequest, NotFound
from memrouter.upstream import target
from memrouter.upstream.providers import Provider, Providers


class ModelsApi:
    """Endpoints for models."""

    def __init__(
        self,
        callers: Callers,
        providers: Providers,
        keys: ProviderKeys,
        catalog: Catalog,
        *,
        default_model: str = "",
    ) -> None:
        self._callers = callers
        self._providers = providers
        self._keys = keys
        self._catalog = catalog
        self._default_model = default_model

    def routes(self) -> list[Route]:
        """The endpoints, by path."""
        return [
            Route("/v1/models", self.list_models, methods=["GET"]),
            Route("/v1/models/{model:path}", self.show_model, methods=["GET"]),
        ]

    async def list_models(self, request: Request) -> Response:
        """The models of every provider that there is a key for."""
        shelves = await self._shelves(request)
        return bodies.answer(listed(shelves, self._default_model))

    async def show_model(self, request: Request) -> Response:
        """One model, by its name with or without its provider's."""
        name = unquote(request.path_params["model"])
        models = _models(await self._shelves(request))
        for model in models:
            if name in (model.id, model.id.partition("/")[2]):
                return bodies.answer(model)
        raise NotFound(
            f"There is no model {ascii(name)[1:-1][:100]}", "GET /v1/models lists what there is"
        )

    async def _shelves(self, request: Request) -> Sequence[Shelf]:
        caller = await self._callers.identify(bodies.head(request))
        usable = await self._usable(caller, request)
        return await asyncio.gather(
            *(self._catalog.shelf(provider, key) for provider, key in usable)
        )

    async def _usable(self, caller: Caller, request: Request) -> list[tuple[Provider, str]]:
        """Providers that the caller can use, each with the key to ask it with."""
        stored = await self._keys.all(caller.account)
        sent = self._sent(caller, request)
        usable = []
        for row in self._providers.rows:
            key = stored[row.name] or "" if row.name in stored else row.api_key
            if sent is not None and sent[0] == row.name:
                key = sent[1]
            if key or (row.configured and not row.needs_key):
                usable.append((row, key))
        return usable

    def _sent(self, caller: Caller, request: Request) -> tuple[str, str] | None:
        """The provider key that came along, and the provider that it must be for."""
        sent = caller.shown.sent
        key = sent.provider_key or sent.authorization or sent.x_api_key or sent.x_goog_api_key
        if not key:
            return None
        head = bodies.head(request)
        try:
            route = target.pick(
                self._providers, path="/v1/models", model=None, header_names=head.named
            )
        except BadRequest:  # the default provider is called by none of its dialects
            return None
        return route.provider.name, key


def listed(shelves: Iterable[Shelf], default: str) -> ModelList:
    """The answer: the same models in the three ways in which clients look for them."""
    shelves = [shelf for shelf in shelves if shelf.models]
    models = _models(shelves)
    times = [shelf.fetched for shelf in shelves if shelf.fetched is not None]
    return ModelList(
        providers=[
            ProviderModels(provider=s.provider, models=[m.name for m in s.models]) for s in shelves
        ],
        models=[model.id for model in models],
        default=default or None,
        catalog_updated=iso(max(times)) if times else None,
        data=models,
    )


def _models(shelves: Iterable[Shelf]) -> list[Model]:
    return [
        Model(id=f"{shelf.provider}/{m.name}", owned_by=shelf.provider, created=m.created)
        for shelf in shelves
        for m in shelf.models
    ]
