"""The whole router in this process, over SQLite, with a scripted provider on a socket."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import io
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from memrouter import app, start
from memrouter.config import Config, Provider
from memrouter.domain import Scope
from memrouter.edge import auth
from memrouter.embed.static import StaticEmbedder
from memrouter.errors import StoreError
from memrouter.testing.asgi import Answer, Client, running
from memrouter.testing.clock import FixedClock
from memrouter.testing.provider import ScriptedProvider, serving

PROVIDER_KEY = "sk-provider-canary"
CHAT = "/v1/chat/completions"


class Watched:
    """A store that knows how many of its calls are under way."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.calls = 0

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        if not inspect.iscoroutinefunction(found):
            return found

        async def counted(*args: Any, **named: Any) -> Any:
            self.calls += 1
            try:
                return await found(*args, **named)
            finally:
                self.calls -= 1

        return counted


@dataclass(slots=True, kw_only=True)
class World:
    """A running router, its parts, and how to ask it."""

    edge: Any
    parts: app.Parts
    store: Watched
    provider: ScriptedProvider
    clock: FixedClock
    account_key: str
    keys: list[str] = field(default_factory=list)

    async def key(self, name: str = "user") -> str:
        """A new memory key, with a vault of its own."""
        key = auth.mint()
        directory = self.parts.directory
        account = await directory.first_account()
        assert account is not None
        await directory.add_key(
            account, auth.digest(key), masked=auth.masked(key), name=name, now=self.clock.now()
        )
        self.keys.append(key)
        return key

    def client(self, key: str, **headers: str) -> Client:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        own = {"authorization": f"Bearer {key}", "content-type": "application/json"}
        return Client(self.edge, {**own, **named})

    async def ask(self, key: str, *texts: str | dict[str, Any], **more: Any) -> Answer:
        """One chat completion; texts are said in turn by user and assistant."""
        headers = more.pop("headers", {})
        path = more.pop("path", CHAT)
        body = {"model": "gpt-5.5", "messages": messages(texts), **more}
        return await self.client(key, **headers).post(path, body)

    async def stored(self, key: str, *, session: str = "") -> list[str]:
        """The texts of a key's vault, in their order; of one session, or of core."""
        record = await self.parts.directory.key(auth.digest(key))
        assert record is not None
        scope = Scope(vault=record.vault, session=session)
        return [m.text for m in await self.parts.store.memories(scope, limit=1000)]

    async def embedded(self) -> None:
        """Wait until all chunks have their vectors, and nothing of the store is under way."""
        store = self.parts.store
        for vault in [vault async for vault in store.vaults()]:
            with contextlib.suppress(StoreError):
                while (await store.stats(Scope(vault=vault))).pending:  # noqa: ASYNC110
                    await asyncio.sleep(0.005)
        while self.store.calls:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.005)

    async def vault_file(self, key: str) -> Path:
        """Where the memory of a key lies."""
        record = await self.parts.directory.key(auth.digest(key))
        assert record is not None
        [path] = self.parts.folder.glob(f"vaults/*/{record.vault}.db")
        return path


def messages(texts: Sequence[str | dict[str, Any]]) -> list[dict[str, Any]]:
    roles = ("user", "assistant")
    return [
        {"role": roles[i % 2], "content": t} if isinstance(t, str) else t
        for i, t in enumerate(texts)
    ]


@functools.cache
def shared_embedder(threads: int) -> StaticEmbedder:
    """The embedder of all routers here: to load it takes longer than most tests."""
    return StaticEmbedder(threads)


@asynccontextmanager
async def started(
    folder: Path,
    provider: ScriptedProvider,
    port: int,
    *,
    wrap: Any = None,
    settle: bool = True,
    **settings: Any,
) -> AsyncIterator[World]:
    """A router over a folder.

    wrap    changes its parts before they are plugged together
    settle  whether to wait for the backlog before it stops; see test_stop.py
    """
    config = Config(
        data_dir=str(folder),
        providers={
            name: Provider(base_url=f"http://127.0.0.1:{port}/{version}", api_key=PROVIDER_KEY)
            for name, version in {"openai": "v1", "anthropic": "v1", "google": "v1beta"}.items()
        },
        allowed_upstreams=(f"127.0.0.1:{port}",),
        **{"recall_timeout_s": 10.0, "commit_timeout_s": 10.0, **settings},
    )
    clock = FixedClock()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(app, "StaticEmbedder", shared_embedder)
        parts = replace(app.build(config, start.data_folder(config)), clock=clock)
    if wrap is not None:
        parts = wrap(parts)
    store: Any = Watched(parts.store)
    parts = replace(parts, store=store)
    edge = app.create_with(parts)
    async with running(edge):
        first = await start.ensure_account(config, parts.directory)
        world = World(
            edge=edge,
            parts=parts,
            store=store,
            provider=provider,
            clock=clock,
            account_key=first.new_key or "",
        )
        yield world
        if settle:
            await world.embedded()


@pytest.fixture(autouse=True)
def _quiet(logged: io.StringIO) -> None:
    """Logs as a router writes them: without the tracebacks of a library's defaults."""


@pytest.fixture(scope="session")
def served() -> Iterator[tuple[ScriptedProvider, int]]:
    provider = ScriptedProvider()
    with serving(provider) as port:
        yield provider, port


@pytest.fixture
def provider(served: tuple[ScriptedProvider, int]) -> ScriptedProvider:
    served[0].clear()
    served[0].script = served[0].keys = None
    return served[0]


@pytest.fixture
async def world(
    tmp_path: Path, provider: ScriptedProvider, served: tuple[ScriptedProvider, int]
) -> AsyncIterator[World]:
    async with started(tmp_path, provider, served[1]) as found:
        yield found


async def until(condition: Any, timeout_s: float = 10.0) -> None:
    """Wait until something holds."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            while not condition():  # noqa: ASYNC110 - any condition
                await asyncio.sleep(0.005)
    assert condition()
