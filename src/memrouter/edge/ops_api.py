"""What operators ask: health and metrics."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from memrouter import __version__
from memrouter.errors import MemrouterError
from memrouter.memory.backlog import Backlog
from memrouter.ops.metrics import Metrics
from memrouter.ports import Embedder, VaultStore

_CHECK_S = 2.0


class OpsApi:
    """Endpoints without authentication. They tell states and counts, of nobody in particular."""

    def __init__(
        self,
        store: VaultStore,
        embedder: Embedder,
        backlog: Backlog,
        metrics: Metrics,
        stopping: Callable[[], bool],
    ) -> None:
        self._store = store
        self._embedder = embedder
        self._backlog = backlog
        self._metrics = metrics
        self._stopping = stopping

    def routes(self) -> list[Route]:
        """The endpoints, by path."""
        return [
            Route("/health", self.health, methods=["GET"]),
            Route("/metrics", self.show_metrics, methods=["GET"]),
        ]

    async def health(self, _request: Request) -> Response:
        """200 as long as requests are served, with or without memory."""
        store = "ok"
        try:
            async with asyncio.timeout(_CHECK_S):
                await self._store.check()
        except (MemrouterError, TimeoutError) as e:
            store = f"failing: {type(e).__name__}"
        stopping = self._stopping()
        body = {
            "status": "stopping" if stopping else "ok" if store == "ok" else "degraded",
            "version": __version__,
            "store": store,
            "embedder": self._embedder.name,
            "backlog": self._backlog.waiting,
        }
        return JSONResponse(body, 503 if stopping else 200)

    async def show_metrics(self, _request: Request) -> Response:
        """Prometheus text format."""
        return Response(self._metrics.expose(), media_type=self._metrics.content_type)
