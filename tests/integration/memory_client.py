"""The memory API as one key sees it."""

from __future__ import annotations

import json
from typing import Any

from memrouter.testing.asgi import Answer

from .conftest import World

SESSION = {"x_session_id": "conversation_abc"}
UPLOAD = (
    b'{"content": "User prefers dark mode", "role": "user", "timestamp": 1733000000000}\n'
    b'{"content": "The meeting is scheduled for Friday at 3pm"}\n'
    b'{"content": "Customer is interested in the enterprise plan", "role": "assistant"}\n'
)


class Api:
    """Calls the endpoints under /v1/memory; headers with underscores for hyphens."""

    def __init__(self, world: World, key: str) -> None:
        self.world = world
        self.key = key

    async def __call__(self, method: str, path: str, body: Any = b"", **headers: Any) -> Any:
        """The decoded answer; its status is checked: `status`, or 200."""
        status = headers.pop("status", 200)
        answer = await self.raw(method, path, body, **headers)
        assert answer.status == status, answer.body
        return answer.json

    async def raw(self, method: str, path: str, body: Any = b"", **headers: str) -> Answer:
        client = self.world.client(self.key, **headers)
        return await client.send(method, f"/v1/memory{path}", body)

    async def say(self, *texts: str, **headers: str) -> Any:
        """Ingest turns, the user's first."""
        roles = ("user", "assistant")
        said = [{"role": roles[i % 2], "content": t} for i, t in enumerate(texts)]
        return await self("POST", "/ingest", {"messages": said}, status=202, **headers)

    async def texts(self, **headers: str) -> list[str]:
        """What is stored, in order."""
        page = await self("GET", "", **headers)
        return [memory["content"] for memory in page["memories"]]

    async def exported(self, **headers: str) -> list[dict[str, Any]]:
        answer = await self.raw("GET", "/export", **headers)
        assert answer.status == 200
        return [json.loads(line) for line in answer.body.splitlines()]
