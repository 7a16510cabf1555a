"""Every setting, its default and its meaning, read once at the start.

Sources, the later wins: defaults, `memrouter.toml`, environment variables. A variable's name is
`MEMROUTER_` and the path in upper case, joined by `__`: `MEMROUTER_PROVIDERS__OPENAI__API_KEY`.
An unknown name or a wrong value stops the start.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, cast
from zoneinfo import ZoneInfo

import msgspec

from memrouter.domain import Budget
from memrouter.errors import ConfigError
from memrouter.misconfigured import Place, Written, fault

PREFIX = "MEMROUTER_"
CONFIG_FILE = "memrouter.toml"

Positive = Annotated[float, msgspec.Meta(gt=0)]
NotNegative = Annotated[float, msgspec.Meta(ge=0)]
Count = Annotated[int, msgspec.Meta(ge=1)]
NotNegativeCount = Annotated[int, msgspec.Meta(ge=0)]
Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]
Names = tuple[str, ...]


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A group of settings."""


class Provider(Section, frozen=True):
    """One provider: a known one adjusted, or one of your own."""

    base_url: str = ""  # where it answers; default: the provider's own
    api_key: str = ""  # used where neither the request nor the account brings a key
    format: Literal["openai", "anthropic", "gemini"] = "openai"  # dialect of a provider of your own
    models: Names = ()  # listed by GET /v1/models when the provider itself lists none


class Embeddings(Section, frozen=True):
    """An OpenAI-compatible /embeddings endpoint, chosen by its name in requests."""

    base_url: str
    model: str
    dimension: Count
    api_key: str = ""
    floor: NotNegative = 0.33  # relevance under which nothing is injected


class Density(Section, frozen=True):
    """How much one recall may inject."""

    memories: Count
    tokens: Count

    def budget(self) -> Budget:
        return Budget(memories=self.memories, tokens=self.tokens)


class Densities(Section, frozen=True):
    """Density names, as requests may ask for them."""

    low: Density = Density(memories=10, tokens=750)
    default: Density = Density(memories=30, tokens=2_000)
    high: Density = Density(memories=60, tokens=4_000)
    xhigh: Density = Density(memories=120, tokens=8_000)

    def budgets(self) -> dict[str, Budget]:
        return {name: getattr(self, name).budget() for name in self.__struct_fields__}


class InfiniteChat(Section, frozen=True):
    """How long conversations are kept within bounds."""

    threshold_tokens: Count = 20_000  # below this every message is sent as it came
    recent_tokens: Count = 1_000  # the least that is kept of the newest turns
    block_tokens: Count = 8_000  # the cut moves by at most this much at a time: caches stay warm
    enabled: bool = False  # also on /v1, when a conversation or session id is given


class Config(Section, frozen=True):
    """All settings."""

    data_dir: str = "data"  # vaults, directory and keys live here
    host: str = "127.0.0.1"
    port: Port = 8484
    workers: Count = 1  # processes that serve the same data
    account_key: str = ""  # mk_ + 32 or more characters; made at the first start if empty
    encrypt_vaults: bool = False  # all that is stored, each vault under a key of its own
    secret_key: str = (
        ""  # encrypts stored keys, of providers and of vaults; several, comma-separated, to rotate
    )
    database_url: str = ""  # default: SQLite under data_dir

    providers: dict[str, Provider] = {}
    default_provider: str = "openai"  # serves models that no rule places
    default_model: str = ""  # named as `default` by GET /v1/models
    allowed_upstreams: Names = ()  # hosts or host:port that /v3 may call besides known providers
    embeddings: dict[str, Embeddings] = {}

    max_body_bytes: Count = 64 << 20  # larger requests are refused with 413
    max_requests: Count = 1_000  # served at once, a process; beyond it 503
    max_recalls: Count = 64  # at once, a process; beyond it requests go on without memory
    max_commits: Count = 1_000  # exchanges waiting to be stored, a process; beyond it no memory
    max_bodies_mb: Count = 512  # memory for bodies of requests, a process; beyond it 503
    connect_timeout_s: Positive = 10.0  # to reach a provider
    read_timeout_s: Positive = 600.0  # between two blocks of a provider's answer
    stop_timeout_s: NotNegative = 30.0  # how long running requests may go on after a stop signal
    commit_timeout_s: NotNegative = 5.0  # how long the end of an answer waits for its turn's commit

    recall_timeout_s: Positive = 0.25  # past this a request goes on without memory
    sticky_s: NotNegative = 3_600.0  # how long a provider's cache may be warm: blocks are replayed
    retention_days: NotNegativeCount = 0  # older memories are deleted; 0 keeps all for ever
    chunk_tokens: Annotated[int, msgspec.Meta(ge=16)] = 300  # a stored turn is split at this size
    timezone: str = "UTC"  # of the times shown in context blocks
    density: Densities = Densities()
    infinite_chat: InfiniteChat = InfiniteChat()

    user_headers: Names = ("x-openwebui-user-id",)  # name the user, for account keys on /v1
    session_headers: Names = ("x-openwebui-chat-id",)  # name the session, for account keys on /v1

    embedder: str = ""  # `static`, a folder, a name; empty: as `memrouter embedder use` chose
    embedder_threads: Count = 1
    open_vaults: Count = 1_024  # vault files held open at once, a process
    vector_cache_mb: Count = 24  # memory for vectors of recently used vaults, a process
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["json", "text"] = "json"

    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.timezone)


def load(env: Mapping[str, str], file: Path | None = None) -> Config:
    """Read the configuration.

    env   the environment; only names that start with MEMROUTER_ are looked at
    file  a TOML file; None for `memrouter.toml` here, if there is one
    raises ConfigError that names the setting, for anything unknown or wrong
    """
    values, written = _read(env, file)
    try:
        config = msgspec.convert(values, Config, strict=False)
    except msgspec.ValidationError as e:
        message, hint = fault(values, Config, written)
        raise ConfigError(message or f"Configuration: {e}", hint) from None
    return _checked(config, written)


def named(setting: Place, env: Mapping[str, str], file: Path | None = None) -> str:
    """The name by which a setting was written; its path if it was not."""
    values, written = _read(env, file)
    inner: Any = values
    for name in setting:
        if not isinstance(inner, dict) or name not in inner:
            return ".".join(setting)
        inner = inner[name]
    return written.of(setting)


def _read(env: Mapping[str, str], file: Path | None) -> tuple[dict[str, Any], Written]:
    """What was written, not checked yet, and by which names."""
    values = _from_file(file)
    variables: dict[Place, str] = {}
    for name, value in sorted(env.items()):
        if name.startswith(PREFIX) and name != PREFIX + "CONFIG":
            variables[_put(values, name, value)] = name
    return values, Written(prefix=PREFIX, variables=variables, file=str(file or CONFIG_FILE))


def _from_file(file: Path | None) -> dict[str, Any]:
    path = file or Path(CONFIG_FILE)
    if file is None and not path.exists():
        return {}
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as e:
        raise ConfigError(
            f"Cannot read {path}: {e.strerror}", "Check the path and its mode"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
        raise ConfigError(f"{path} is not valid TOML: {e}", "Mend the line it names") from None


_NAMED = ("providers", "embeddings")  # tables whose first level is named by the operator
_LISTS = ("allowed_upstreams", "user_headers", "session_headers", "models")


def _put(values: dict[str, Any], name: str, value: str) -> Place:
    """Put a variable's value where it belongs, and say where that is."""
    path = name.removeprefix(PREFIX).lower().split("__")
    if not all(path):
        raise ConfigError(f"{name} is not a setting", "Names are joined by two underscores")
    *parents, last = path
    table = values
    for parent in parents:
        table = table.setdefault(parent, {})
        if not isinstance(table, dict):
            raise ConfigError(f"{name}: {parent} is a value, not a table", "Remove one of the two")
    is_list = last in _LISTS
    table[last] = [v.strip() for v in value.split(",") if v.strip()] if is_list else value
    return tuple(path)


SECTIONS: tuple[type[Section], ...] = (Config, Provider, Embeddings, Density, InfiniteChat)


def _checked(config: Config, written: Written) -> Config:
    try:
        config.zone()
    except (KeyError, ValueError, OSError):
        raise ConfigError(
            f"{written.of(('timezone',))}: {config.timezone!r} is not known here",
            "Use an IANA name, as Europe/Berlin",
        ) from None
    if config.database_url and not config.database_url.startswith("sqlite:"):
        raise ConfigError(
            f"{written.of(('database_url',))}: this version has only the embedded SQLite store",
            "Leave it empty, or leave it out",
        )
    lower = cast("Any", msgspec.structs.replace)
    return cast(
        "Config",
        lower(
            config,
            user_headers=tuple(h.lower() for h in config.user_headers),
            session_headers=tuple(h.lower() for h in config.session_headers),
        ),
    )
