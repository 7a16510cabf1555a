"""Which models providers serve, by their own lists: fetched when asked for, then kept a while."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from time import perf_counter
from typing import Any

import orjson

from memrouter import __version__
from memrouter.domain import Target
from memrouter.edge.decoding import Decoder
from memrouter.errors import MemrouterError
from memrouter.ops.logs import logger
from memrouter.ports import Answer, Clock, Upstream
from memrouter.upstream.providers import Dialect, Provider
from memrouter.upstream.target import Sent, key_headers
from memrouter.wire.reading import count_in, text_in

log = logger(__name__)

TIMEOUT_S = 3.0
"""How long a provider may take for its list."""
FRESH_S = 600.0
"""How long a list is served before it is fetched again, behind the back of who asks then."""
RETRY_S = 30.0
"""How long a provider is left alone that did not answer."""

_LIMIT_BYTES = 16 << 20
_MOST_SHELVES = 256
_PAGES: dict[Dialect, str] = {
    "openai": "",
    "anthropic": "?limit=1000",
    "gemini": "?pageSize=1000",
}
_HEADERS = (
    ("accept", "application/json"),
    ("accept-encoding", "identity"),
    ("user-agent", f"memrouter/{__version__}"),
)
_ANTHROPIC_VERSION = ("anthropic-version", "2023-06-01")


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A model in a provider's list."""

    name: str
    created: int = 0
    """Unix time; 0 where the provider does not say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelf:
    """A provider's models."""

    provider: str
    models: tuple[Listed, ...]
    fetched: datetime | None = None
    """When the provider said so; None where only the configuration does."""


class Catalog:
    """Lists of models, each kept for the key that it was fetched with."""

    def __init__(
        self, upstream: Upstream, clock: Clock, now_s: Callable[[], float] = perf_counter
    ) -> None:
        self._upstream = upstream
        self._clock = clock
        self._now_s = now_s
        self._shelves: dict[tuple[str, bytes], tuple[Shelf, float]] = {}
        """(provider, digest of the key) → (models, until when they are fresh)."""
        self._fetching: dict[tuple[str, bytes], asyncio.Task[Shelf]] = {}

    async def shelf(self, provider: Provider, key: str) -> Shelf:
        """A provider's models; the configured ones if it does not tell. Never fails.

        key  to ask with; "" asks without one
        """
        place = (provider.name, hashlib.sha256(key.encode()).digest())
        held, fresh_until_s = self._shelves.get(place, (None, 0.0))
        if held is not None and self._now_s() < fresh_until_s:
            return held
        task = self._fetching.get(place)
        if task is None:
            task = asyncio.create_task(self._refresh(place, provider, key, held))
            self._fetching[place] = task
            task.add_done_callback(lambda _: self._fetching.pop(place, None))
        if held is not None and held.fetched is not None:
            return held  # old, but what it was; the new list is on its way
        return await asyncio.shield(task)

    async def close(self) -> None:
        """Stop asking."""
        tasks = list(self._fetching.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _refresh(
        self, place: tuple[str, bytes], provider: Provider, key: str, held: Shelf | None
    ) -> Shelf:
        models = await self._fetch(provider, key)
        fresh_s = FRESH_S if models is not None else RETRY_S
        if models is not None:
            shelf = Shelf(provider=provider.name, models=models, fetched=self._clock.now())
        else:
            shelf = held or _configured(provider)
        if len(self._shelves) >= _MOST_SHELVES:
            self._shelves.clear()
        self._shelves[place] = (shelf, self._now_s() + fresh_s)
        return shelf

    async def _fetch(self, provider: Provider, key: str) -> tuple[Listed, ...] | None:
        try:
            async with asyncio.timeout(TIMEOUT_S):
                answer = await self._upstream.send("GET", _target(provider, key), _HEADERS, b"")
                try:
                    status, body = answer.status, await _body(answer)
                finally:
                    await answer.close()
        except (MemrouterError, TimeoutError) as e:
            log.info("models not listed", provider=provider.name, exc_info=e)
            return None
        found = models_in(body) if status == 200 else None
        if found is None:
            log.info("models not listed", provider=provider.name, status=status)
        return found


def _target(provider: Provider, key: str) -> Target:
    dialect = provider.native
    headers = key_headers(provider, dialect, Sent(provider_key=key)) if key else ()
    if dialect == "anthropic":
        headers = (*headers, _ANTHROPIC_VERSION)
    return Target(
        provider=provider.name,
        url=f"{provider.base(dialect)}/models{_PAGES[dialect]}",
        headers=headers,
    )


async def _body(answer: Answer) -> bytes:
    codings = [value for name, value in answer.headers if name == b"content-encoding"]
    decoder = Decoder(codings[0] if codings else b"")
    body = bytearray()
    async for block in answer.blocks():
        body += decoder.decode(block)
        if len(body) > _LIMIT_BYTES:
            return b""
    return bytes(body)


def models_in(body: bytes) -> tuple[Listed, ...] | None:
    """The models in a list as any provider writes it; None if it is no such list."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    lists = [value] if isinstance(value, list) else _lists_in(value)
    if not lists:
        return None
    found: dict[str, Listed] = {}
    for item in lists[0]:
        name = (text_in(item, "id") or text_in(item, "name")).removeprefix("models/")
        if name:
            found.setdefault(name, Listed(name=name, created=count_in(item, "created")))
    return tuple(found.values())


def _lists_in(value: Any) -> list[list[Any]]:
    held = value if isinstance(value, dict) else {}
    return [held[name] for name in ("data", "models") if isinstance(held.get(name), list)]


def _configured(provider: Provider) -> Shelf:
    names = (name for name in provider.models if not name.endswith("*"))
    return Shelf(provider=provider.name, models=tuple(Listed(name=name) for name in names))
