"""The providers, a row each: where they answer, how they want to be paid, which models are theirs.

A provider answers in one or more dialects. The dialect decides the base URL and the header that
carries the key; everything else about a provider is the same whatever is spoken to it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol
from urllib.parse import urlsplit

from memrouter.errors import ConfigError

Dialect = Literal["openai", "anthropic", "gemini"]
"""What is spoken: OpenAI's API (chat and Responses alike), Anthropic's, Google's."""
KeyHeader = Literal["authorization", "x-api-key", "x-goog-api-key"]
"""The header a key goes in; in `authorization` as a bearer token."""

ENDPOINTS = ("/chat/completions", "/responses", "/messages", "/completions", "/embeddings")
"""Ends of paths that people paste into a base URL, and that we append ourselves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """One row: a provider, as the router calls it."""

    name: str
    origin: str
    """Scheme, host and port."""
    paths: Mapping[Dialect, str]
    """Dialect → path under the origin that endpoints are appended to; the native one first."""
    key_headers: Mapping[Dialect, KeyHeader] = field(default_factory=dict)
    """Where the key goes, if not as a bearer token."""
    aliases: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    """Host names by which /v3 URLs are recognised."""
    families: re.Pattern[str] | None = None
    """Models that are this provider's when nothing else says so."""
    models: tuple[str, ...] = ()
    """Models from the configuration; a trailing `*` stands for anything."""
    needs_key: bool = True
    responses: bool = True
    """Whether it serves OpenAI's Responses API, as far as is known."""
    api_key: str = field(default="", repr=False)
    """The key from the configuration."""
    configured: bool = False
    """Whether the configuration names it."""

    @property
    def native(self) -> Dialect:
        """What it speaks at home."""
        return next(iter(self.paths))

    def base(self, dialect: Dialect) -> str | None:
        """The URL that endpoints are appended to, no slash at its end; None if not spoken."""
        path = self.paths.get(dialect)
        return None if path is None else self.origin + path

    def key_header(self, dialect: Dialect) -> KeyHeader:
        return self.key_headers.get(dialect, "authorization")

    def lists(self, model: str) -> bool:
        """Whether the configuration says that `model` is served here."""
        return any(model.startswith(m[:-1]) if m.endswith("*") else model == m for m in self.models)


def _families(*starts: str) -> re.Pattern[str]:
    # A tag after a colon is how Ollama and OpenRouter name models of anyone: it places nothing.
    return re.compile(f"(?:{'|'.join(starts)})[^:]*", re.IGNORECASE)


KNOWN: tuple[Provider, ...] = (
    Provider(
        name="openai",
        origin="https://api.openai.com",
        paths={"openai": "/v1"},
        hosts=("api.openai.com", "eu.api.openai.com", "us.api.openai.com"),
        # gpt-oss is open: whoever hosts it is named by a prefix or is the default.
        families=re.compile(
            r"(?:ft:)?(?:gpt-(?!oss)|chatgpt-|o[1-9](?:-|$)|codex-|computer-use-|text-embedding-"
            r"(?:3|ada)|omni-moderation|text-moderation|dall-e-|gpt-image-|sora-|whisper-1|tts-1"
            r"|davinci-|babbage-).*",
            re.IGNORECASE,
        ),
    ),
    Provider(
        name="anthropic",
        origin="https://api.anthropic.com",
        paths={"anthropic": "/v1", "openai": "/v1"},
        key_headers={"anthropic": "x-api-key"},
        hosts=("api.anthropic.com",),
        families=_families("claude-"),
        responses=False,
    ),
    Provider(
        name="google",
        aliases=("gemini",),
        origin="https://generativelanguage.googleapis.com",
        paths={"gemini": "/v1beta", "openai": "/v1beta/openai"},
        key_headers={"gemini": "x-goog-api-key"},
        hosts=("generativelanguage.googleapis.com",),
        families=_families("gemini-", "gemma-", "learnlm-", "imagen-", "veo-", "text-embedding-00"),
        responses=False,
    ),
    Provider(
        name="xai",
        aliases=("x-ai",),
        origin="https://api.x.ai",
        paths={"openai": "/v1"},
        hosts=("api.x.ai",),
        families=_families("grok-"),
    ),
    Provider(
        name="deepseek",
        origin="https://api.deepseek.com",
        paths={"openai": "/v1", "anthropic": "/anthropic/v1"},
        key_headers={"anthropic": "x-api-key"},
        hosts=("api.deepseek.com",),
        families=_families("deepseek-"),
        responses=False,
    ),
    Provider(
        name="mistral",
        origin="https://api.mistral.ai",
        paths={"openai": "/v1"},
        hosts=("api.mistral.ai", "codestral.mistral.ai"),
        families=_families(
            *("mistral-", "ministral-", "codestral-", "devstral-", "magistral-", "pixtral-"),
            *("voxtral-", "open-mistral-", "open-mixtral-", "open-codestral-"),
        ),
        responses=False,
    ),
    Provider(
        name="cerebras",
        origin="https://api.cerebras.ai",
        paths={"openai": "/v1"},
        hosts=("api.cerebras.ai",),
        responses=False,
    ),
    Provider(
        name="groq",
        origin="https://api.groq.com",
        paths={"openai": "/openai/v1"},
        hosts=("api.groq.com",),
    ),
    Provider(
        name="openrouter",
        origin="https://openrouter.ai",
        paths={"openai": "/api/v1", "anthropic": "/api/v1"},
        hosts=("openrouter.ai",),
    ),
    Provider(
        name="ollama",
        origin="http://127.0.0.1:11434",
        paths={"openai": "/v1", "anthropic": "/v1"},
        hosts=("ollama.com",),
        needs_key=False,
    ),
)
"""The table. Sources: the providers' own API references, 2026."""

OTHER_HOSTS = frozenset(
    {
        *("api.together.xyz", "api.together.ai", "api.fireworks.ai", "api.perplexity.ai"),
        *("api.deepinfra.com", "api.cohere.ai", "api.cohere.com", "integrate.api.nvidia.com"),
        *("api.sambanova.ai", "router.huggingface.co", "api.moonshot.ai", "api.moonshot.cn"),
        *("api.z.ai", "open.bigmodel.cn", "dashscope.aliyuncs.com", "api.minimax.io"),
        *("dashscope-intl.aliyuncs.com", "api.studio.nebius.com", "api.novita.ai"),
        *("api.hyperbolic.xyz", "inference.baseten.co", "models.github.ai", "api.ai21.com"),
    }
)
"""Hosts of further providers that /v3 may call; each speaks OpenAI's chat completions."""


class ProviderSettings(Protocol):
    """What the configuration says of one provider (`config.Provider`)."""

    @property
    def base_url(self) -> str: ...
    @property
    def api_key(self) -> str: ...
    @property
    def format(self) -> Dialect: ...
    @property
    def models(self) -> Sequence[str]: ...


class Providers:
    """All providers of one configuration, by name, host and model."""

    def __init__(self, rows: Sequence[Provider], default: Provider) -> None:
        self.rows = tuple(rows)
        self.default = default
        self._by_name = {n: row for row in rows for n in (row.name, *row.aliases)}
        self._by_host = {host: row for row in rows for host in row.hosts}

    def get(self, name: str) -> Provider | None:
        """The provider of this name or alias, in any case."""
        return self._by_name.get(name.lower())

    def at_host(self, host: str) -> Provider | None:
        """The provider whose API answers at `host` (lower case)."""
        return self._by_host.get(host)

    def listing(self, model: str, dialect: Dialect) -> Provider | None:
        """The provider that the configuration gives `model` to, if it speaks `dialect`."""
        rows = (row for row in self.rows if row.models and dialect in row.paths)
        return next((row for row in rows if row.lists(model)), None)

    def of_family(self, model: str) -> Provider | None:
        """The provider that makes `model`, going by its name."""
        rows = (row for row in self.rows if row.families)
        return next((r for r in rows if r.families and r.families.fullmatch(model)), None)

    @property
    def known_hosts(self) -> frozenset[str]:
        """Hosts that /v3 may call without further configuration."""
        return frozenset(self._by_host) | OTHER_HOSTS


def table(settings: Mapping[str, ProviderSettings], default: str = "openai") -> Providers:
    """The table with the configuration applied.

    settings  name or alias → what the configuration says; other names are providers of one's own
    default   the provider of models that no rule places
    raises    ConfigError that names the setting
    """
    rows = {row.name: row for row in KNOWN}
    names = {n: row.name for row in KNOWN for n in (row.name, *row.aliases)}
    for given, setting in settings.items():
        name = names.get(given.lower(), given.lower())
        known = rows.get(name)
        rows[name] = _adjusted(known, setting, given) if known else _own(name, setting, given)
    chosen = rows.get(names.get(default.lower(), default.lower()))
    if chosen is None:
        raise ConfigError(
            f"{default!r} is not a provider",
            f"Use one of {', '.join(rows)}, or configure its base_url",
            setting=("default_provider",),
        )
    return Providers(tuple(rows.values()), chosen)


def _adjusted(row: Provider, setting: ProviderSettings, given: str) -> Provider:
    row = replace(
        row,
        api_key=setting.api_key.strip(),
        models=tuple(setting.models),
        configured=True,
    )
    if not setting.base_url:
        return row
    origin, path = split_base(setting.base_url, given)
    if not path:
        return replace(row, origin=origin)
    home = row.paths[row.native]
    # Another dialect's path follows where it stands under the native one (Google's /openai).
    paths: dict[Dialect, str] = {
        dialect: path + usual[len(home) :] if usual.startswith(home) else usual
        for dialect, usual in row.paths.items()
    }
    return replace(row, origin=origin, paths=paths)


_OWN_PATHS: dict[Dialect, str] = {"openai": "/v1", "anthropic": "/v1", "gemini": "/v1beta"}
_OWN_HEADERS: dict[Dialect, KeyHeader] = {"anthropic": "x-api-key", "gemini": "x-goog-api-key"}


def _own(name: str, setting: ProviderSettings, given: str) -> Provider:
    if not setting.base_url:
        raise ConfigError(
            "not a known provider, so it needs a base_url",
            f"Set MEMROUTER_PROVIDERS__{name.upper()}__BASE_URL, or mend the name",
            setting=("providers", given),
        )
    origin, path = split_base(setting.base_url, given)
    return Provider(
        name=name,
        origin=origin,
        paths={setting.format: path or _OWN_PATHS[setting.format]},
        key_headers=_OWN_HEADERS,
        models=tuple(setting.models),
        api_key=setting.api_key.strip(),
        needs_key=False,  # many a server of one's own asks for none
        configured=True,
    )


def split_base(url: str, name: str) -> tuple[str, str]:
    """Origin and path of a base URL from the configuration; the path is "" if it has none."""
    setting = ("providers", name, "base_url")
    hint = "Give it as http://host:port or https://host/path"
    try:
        parts = urlsplit(url.strip())
        _ = parts.port  # raises if it is not a number within range
    except ValueError:
        raise ConfigError("not a URL", hint, setting=setting) from None
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ConfigError("not an http or https URL", hint, setting=setting)
    if parts.username is not None or parts.query or parts.fragment:
        raise ConfigError(
            "user, query and fragment cannot stand in it",
            "Put the key into api_key",
            setting=setting,
        )
    if any(c <= " " or c > "~" for c in parts.netloc + parts.path):
        raise ConfigError("has a character that must be percent-encoded", hint, setting=setting)
    path = parts.path.rstrip("/")
    for endpoint in ENDPOINTS:
        path = path.removesuffix(endpoint)
    return f"{parts.scheme}://{parts.netloc.lower()}", path
