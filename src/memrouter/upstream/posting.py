"""Small requests of our own to an endpoint that the configuration names."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from memrouter.domain import Target
from memrouter.ports import Upstream

LIMIT_BYTES = 64 << 20


class Poster:
    """Posts to endpoints for embeddings through the pool that requests go through."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream

    async def __call__(
        self, url: str, headers: Mapping[str, str], body: bytes, timeout_s: float
    ) -> tuple[int, bytes]:
        """Status and body of the answer. Raises UpstreamError, or TimeoutError after timeout_s."""
        target = Target(provider="embeddings", url=url)
        lower = [(name.lower(), value) for name, value in headers.items()]
        async with asyncio.timeout(timeout_s):
            answer = await self._upstream.send("POST", target, lower, body)
            blocks: list[bytes] = []
            async for block in answer.blocks():
                blocks.append(block)
                if sum(map(len, blocks)) > LIMIT_BYTES:
                    await answer.close()
                    break
            return answer.status, b"".join(blocks)
