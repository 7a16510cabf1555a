"""The only place that plugs things together; start and stop order."""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from starlette.routing import Route, Router

from memrouter import choice, start, switching
from memrouter.choice import Choice
from memrouter.config import Config, load
from memrouter.config import Embeddings as EmbeddingSettings
from memrouter.domain import Analysis, Scope
from memrouter.edge.access import MemoryParts
from memrouter.edge.account_api import AccountApi
from memrouter.edge.admission import Admission
from memrouter.edge.callers import Callers
from memrouter.edge.catalog import Catalog
from memrouter.edge.delivery import Delivery
from memrouter.edge.embeddings import Embeddings
from memrouter.edge.inference_api import InferenceApi
from memrouter.edge.keys_api import KeysApi
from memrouter.edge.limits import LimitedCallers, Limits
from memrouter.edge.memory_api import MemoryApi
from memrouter.edge.models_api import ModelsApi
from memrouter.edge.openapi import OpenApi
from memrouter.edge.ops_api import OpsApi
from memrouter.edge.provider_keys import ProviderKeys
from memrouter.edge.relay import Relay, RelaySettings
from memrouter.edge.routes import Edge
from memrouter.edge.targets import Targets
from memrouter.edge.usage import Meter
from memrouter.embed.hub import HubEmbedder
from memrouter.embed.onnx import OnnxEmbedder
from memrouter.embed.openai import OpenAIEmbedder
from memrouter.embed.static import StaticEmbedder
from memrouter.errors import ConfigError, VaultLocked
from memrouter.memory import analysis, scoring
from memrouter.memory.backlog import Backlog
from memrouter.memory.conversation import Window
from memrouter.memory.encoders import Encoders
from memrouter.memory.engine import Memory
from memrouter.memory.finder import Finder
from memrouter.memory.forgive import attempt
from memrouter.memory.historian import Historian
from memrouter.memory.retention import Retention
from memrouter.memory.settings import MemorySettings
from memrouter.ops import logs
from memrouter.ops.metrics import Metrics
from memrouter.ports import Clock, Directory, Embedder, Stored, Upstream, VaultStore
from memrouter.secrets import VAULT_KEYS, Sealer
from memrouter.store.sqlite.directory import SqliteDirectory
from memrouter.store.sqlite.files import Files
from memrouter.store.sqlite.vaults import SqliteVaultStore
from memrouter.switching import Load, Switching
from memrouter.tokens import estimate
from memrouter.upstream import providers
from memrouter.upstream.allowlist import Allowlist
from memrouter.upstream.client import HttpUpstream
from memrouter.upstream.posting import Poster
from memrouter.wire.table import FORMATS


class SystemClock:
    """The machine's clock. Implements ports.Clock."""

    def now(self) -> datetime:
        """See Clock.now."""
        return datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a configuration chooses."""

    config: Config
    folder: Path
    store: VaultStore
    directory: Directory
    embedder: Embedder
    upstream: Upstream
    providers: providers.Providers
    clock: Clock
    choice: Choice = field(default_factory=Choice)
    """Which embedder vaults are to have."""
    encoders: Encoders = field(default_factory=Encoders)
    """The encoders of that choice."""
    load: Load | None = None
    """Loads another encoder."""
    named: Mapping[str, tuple[Embedder, float]] = field(default_factory=dict)
    """Embedders that requests may ask for by name, and their floors."""

    @property
    def others(self) -> dict[str, tuple[Embedder, float]]:
        """The same by the names that vaults know them by."""
        return {embedder.name: (embedder, floor) for embedder, floor in self.named.values()}

    async def close(self) -> None:
        """Close what holds files and connections."""
        await self.upstream.close()
        await self.store.close()
        await self.directory.close()


def check(config: Config) -> None:
    """Raise ConfigError for what no parts can be made of; makes nothing."""
    table = providers.table(config.providers, config.default_provider)
    Allowlist(table.known_hosts, config.allowed_upstreams)


def open_directory(config: Config) -> Directory:
    """The directory of accounts and keys."""
    folder = start.data_folder(config)
    return SqliteDirectory(folder, open_files(config, folder))


def open_files(config: Config, folder: Path) -> Files:
    """What opens the files of the data folder. Raises ConfigError if SECRET_KEY does not."""
    sealer = Sealer(start.secret_key(config, folder), VAULT_KEYS)
    files = Files(folder, sealer, encrypt=config.encrypt_vaults)
    try:
        files.keyring.check()
    except VaultLocked as e:
        files.close()
        raise ConfigError(str(e), e.hint) from None
    return files


def build(config: Config, folder: Path) -> Parts:
    """Choose and make the parts; opens no connection yet."""
    files = open_files(config, folder)
    upstream = HttpUpstream(
        connect_timeout_s=config.connect_timeout_s, read_timeout_s=config.read_timeout_s
    )
    load = partial(encoder, config, folder, upstream)
    chosen = choice.read(folder)
    if config.embedder:
        chosen = chosen.changed(config.embedder)
    return Parts(
        config=config,
        folder=folder,
        store=SqliteVaultStore(
            folder,
            files=files,
            open_vaults=config.open_vaults,
            cache_bytes=config.vector_cache_mb << 20,
            analysis=Analysis(version=analysis.VERSION, terms=analysis.index_terms),
        ),
        directory=SqliteDirectory(folder, files),
        embedder=StaticEmbedder(config.embedder_threads),
        upstream=upstream,
        providers=providers.table(config.providers, config.default_provider),
        clock=SystemClock(),
        choice=chosen,
        encoders=switching.opened(chosen, load, strict=bool(config.embedder)),
        load=load,
        named={
            name: (_endpoint(setting, upstream), setting.floor)
            for name, setting in config.embeddings.items()
        },
    )


def encoder(config: Config, folder: Path, upstream: Upstream, name: str) -> Embedder:
    """A sentence encoder: an endpoint of the configuration, a folder, or a model of a hub.

    Raises EmbedderError.
    """
    if name in config.embeddings:
        return _endpoint(config.embeddings[name], upstream)
    path = Path(name).expanduser()
    if path.is_dir():
        return OnnxEmbedder(path, threads=config.embedder_threads)
    return HubEmbedder(name, folder / "models", threads=config.embedder_threads)


def _endpoint(setting: EmbeddingSettings, upstream: Upstream) -> Embedder:
    return OpenAIEmbedder(
        Poster(upstream),
        base_url=setting.base_url,
        api_key=setting.api_key,
        model=setting.model,
        dimension=setting.dimension,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembering:
    """What stores and recalls."""

    settings: MemorySettings
    finder: Finder
    historian: Historian
    memory: Memory


def remembering(parts: Parts, on_stored: Callable[[Scope, Stored], None]) -> Remembering:
    """Memory over these parts; on_stored is told of every write."""
    config = parts.config
    settings = MemorySettings(
        budgets=config.density.budgets(),
        zone=config.zone(),
        count=estimate,
        sticky_s=config.sticky_s,
        chunk_tokens=config.chunk_tokens,
    )
    finder = Finder(
        parts.store,
        parts.embedder,
        floor=scoring.FLOOR,
        others=parts.others,
        encoders=parts.encoders,
    )
    historian = Historian(parts.store, settings)
    memory = Memory(
        parts.store,
        finder,
        historian,
        parts.embedder,
        parts.clock,
        settings,
        encoders=parts.encoders,
        on_stored=on_stored,
    )
    return Remembering(settings=settings, finder=finder, historian=historian, memory=memory)


def backlog_of(
    parts: Parts,
    *,
    on_embedded: Callable[[int], None] = lambda count: None,
    on_waiting: Callable[[int], None] = lambda vaults: None,
) -> Backlog:
    """What gives stored chunks their vectors and encodings."""
    return Backlog(
        parts.store,
        parts.embedder,
        others={name: embedder for name, (embedder, _) in parts.others.items()},
        encoders=parts.encoders,
        on_embedded=on_embedded,
        on_waiting=on_waiting,
    )


def switching_of(parts: Parts, backlog: Backlog) -> Switching | None:
    """What follows the choice of an embedder; None for parts that cannot load one."""
    if parts.load is None:
        return None
    if parts.choice != choice.read(parts.folder):  # the configuration chose another
        choice.write(parts.folder, parts.choice)
    return Switching(parts.folder, parts.choice, parts.load, parts.store, backlog, parts.encoders)


def create() -> Edge:
    """The ASGI application, configured by the environment; each worker calls this once."""
    config = load(os.environ, _file(os.environ.get("MEMROUTER_CONFIG")))
    logs.set_up(config.log_level, config.log_format)
    return create_with(build(config, start.data_folder(config)))


def _file(name: str | None) -> Path | None:
    return Path(name) if name else None


def create_with(parts: Parts) -> Edge:
    """The ASGI application over these parts."""
    config = parts.config
    metrics = Metrics()
    backlog = backlog_of(parts, on_embedded=metrics.embedded.inc, on_waiting=metrics.backlog.set)

    def on_stored(scope: Scope, stored: Stored) -> None:
        if stored.pending:
            backlog.add(scope.vault)

    rooms = remembering(parts, on_stored)
    memory = rooms.memory
    meter = Meter(parts.directory, parts.clock)
    admission = Admission(
        max_requests=config.max_requests,
        max_recalls=config.max_recalls,
        max_bodies_bytes=config.max_bodies_mb << 20,
        on_shed=lambda what: metrics.shed.labels(what).inc(),
    )
    callers = LimitedCallers(
        parts.directory,
        Limits(meter, parts.clock),
        admission,
        user_headers=config.user_headers,
        session_headers=config.session_headers,
        bounds_by_default=config.infinite_chat.enabled,
    )
    allowed = Allowlist(parts.providers.known_hosts, config.allowed_upstreams)
    sealer = Sealer(start.secret_key(config, parts.folder))
    provider_keys = ProviderKeys(parts.directory, sealer)
    targets = Targets(parts.providers, allowed, provider_keys)
    delivery = Delivery(
        memory,
        parts.upstream,
        metrics,
        own_headers=callers.own_headers,
        commit_timeout_s=config.commit_timeout_s,
        on_served=meter.add_exchange,
    )
    embeddings = Embeddings(
        parts.store,
        parts.embedder,
        {name: embedder for name, (embedder, _) in parts.named.items()},
        parts.store.choose_embedder,
    )
    relay = Relay(
        callers,
        memory,
        embeddings,
        targets,
        delivery,
        metrics,
        admission,
        RelaySettings(
            window=Window(
                threshold_tokens=config.infinite_chat.threshold_tokens,
                recent_tokens=config.infinite_chat.recent_tokens,
                block_tokens=config.infinite_chat.block_tokens,
            ),
            max_body_bytes=config.max_body_bytes,
            recall_timeout_s=config.recall_timeout_s,
            max_commits=config.max_commits,
        ),
    )
    memory_parts = MemoryParts(
        callers=callers,
        store=parts.store,
        finder=rooms.finder,
        historian=rooms.historian,
        memory=memory,
        embeddings=embeddings,
        settings=rooms.settings,
        clock=parts.clock,
        max_body_bytes=config.max_body_bytes,
        on_used=meter.add,
    )
    catalog = Catalog(parts.upstream, parts.clock)
    retention = Retention(
        parts.store, parts.clock, config.retention_days, on_expired=metrics.expired.inc
    )
    life = _Life(parts, delivery, backlog, meter, catalog, retention)
    routes = [
        *OpsApi(parts.store, parts.embedder, backlog, metrics, lambda: life.stopping).routes(),
        *_account_routes(parts, provider_keys, meter, catalog),
        *InferenceApi(memory_parts).routes(),
        *MemoryApi(memory_parts).routes(),
    ]
    own = Router(
        routes=[*routes, *OpenApi(routes).routes()], redirect_slashes=False, lifespan=life.lived
    )
    return Edge(relay, targets, FORMATS, own, metrics)


def _account_routes(
    parts: Parts, keys: ProviderKeys, meter: Meter, catalog: Catalog
) -> list[Route]:
    """Endpoints that are open to keys over their limits, too."""
    config, directory, clock = parts.config, parts.directory, parts.clock
    callers = Callers(directory)
    key_routes = KeysApi(
        callers, directory, parts.store, clock, configured_key=config.account_key
    ).routes()
    account_routes = AccountApi(callers, directory, keys, parts.providers, meter, clock).routes()
    model_routes = ModelsApi(
        callers, parts.providers, keys, catalog, default_model=config.default_model
    ).routes()
    return [*key_routes, *account_routes, *model_routes]


_WARM_S = 5.0


def _settle_down() -> None:
    """Have the garbage collector look at what requests make, not at what was loaded for good.

    A request makes a few hundred objects, nearly all without cycles: with the usual thresholds a
    fifth of the time of a relayed request went into looking through them.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


class _Life:
    """Start and stop order: the backlog works while requests are served; commits end before it."""

    def __init__(
        self,
        parts: Parts,
        delivery: Delivery,
        backlog: Backlog,
        meter: Meter,
        catalog: Catalog,
        retention: Retention,
    ) -> None:
        self._retention = retention
        self._parts = parts
        self._delivery = delivery
        self._backlog = backlog
        self._meter = meter
        self._catalog = catalog
        self.stopping = False

    @asynccontextmanager
    async def lived(self, _app: Any) -> AsyncIterator[None]:
        """For the lifespan of the server."""
        # Loads what is loaded late. If it fails, requests go on without memory, and say so.
        await attempt(lambda: self._parts.embedder.query("What was said?", {}), _WARM_S, "warm up")
        _settle_down()
        switching = switching_of(self._parts, self._backlog)
        working = [asyncio.create_task(self._backlog.run())]
        if switching is not None:
            working.append(asyncio.create_task(switching.run()))
        forgetting = asyncio.create_task(self._retention.run())
        counting = asyncio.create_task(self._meter.run())
        try:
            yield
        finally:
            self.stopping = True
            await self._delivery.drain(max(1.0, self._parts.config.stop_timeout_s))
            for task in working:
                task.cancel()
            forgetting.cancel()
            self._meter.stop()
            await self._catalog.close()
            await asyncio.gather(*working, forgetting, counting, return_exceptions=True)
            await self._parts.close()
