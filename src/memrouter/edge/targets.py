"""Which provider serves a request, with whose key."""

from __future__ import annotations

from memrouter.domain import Target
from memrouter.edge import headers
from memrouter.edge.asgi import Request
from memrouter.edge.auth import is_memory_key
from memrouter.edge.callers import Caller
from memrouter.upstream import target
from memrouter.upstream.providers import Providers


class Targets:
    """Finds the target of requests on /v1."""

    def __init__(self, providers: Providers) -> None:
        self._providers = providers

    async def of(self, request: Request, caller: Caller, model: str | None) -> Target:
        """Raises BadRequest or ProviderKeyMissing."""
        route = target.pick(
            self._providers, path=request.path, model=model, header_names=request.named
        )
        cut = headers.OUR_PARAMETERS
        if is_memory_key(request.parameters.get("key", "")):
            cut |= {"key"}
        query = headers.without(request.query, cut)
        return target.target(route, path=request.path, query=query, sent=caller.shown.sent)
