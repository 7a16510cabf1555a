from __future__ import annotations

from dataclasses import dataclass

import pytest

from memrouter.config import Provider as Settings
from memrouter.errors import ConfigError
from memrouter.upstream.providers import KNOWN, Dialect, ProviderSettings, table

BASES: dict[str, tuple[str, Dialect, str]] = {
    "openai": ("openai", "openai", "https://api.openai.com/v1"),
    "anthropic": ("anthropic", "anthropic", "https://api.anthropic.com/v1"),
    "anthropic, as openai": ("anthropic", "openai", "https://api.anthropic.com/v1"),
    "google": ("google", "gemini", "https://generativelanguage.googleapis.com/v1beta"),
    "google, as openai": (
        "google",
        *("openai", "https://generativelanguage.googleapis.com/v1beta/openai"),
    ),
    "gemini is google": ("gemini", "gemini", "https://generativelanguage.googleapis.com/v1beta"),
    "xai": ("xai", "openai", "https://api.x.ai/v1"),
    "x-ai is xai": ("x-ai", "openai", "https://api.x.ai/v1"),
    "deepseek": ("deepseek", "openai", "https://api.deepseek.com/v1"),
    "deepseek, as anthropic": ("deepseek", "anthropic", "https://api.deepseek.com/anthropic/v1"),
    "mistral": ("mistral", "openai", "https://api.mistral.ai/v1"),
    "cerebras": ("cerebras", "openai", "https://api.cerebras.ai/v1"),
    "groq": ("groq", "openai", "https://api.groq.com/openai/v1"),
    "openrouter": ("openrouter", "openai", "https://openrouter.ai/api/v1"),
    "openrouter, as anthropic": ("openrouter", "anthropic", "https://openrouter.ai/api/v1"),
    "ollama": ("ollama", "openai", "http://127.0.0.1:11434/v1"),
    "in capitals": ("OpenAI", "openai", "https://api.openai.com/v1"),
}


@pytest.mark.parametrize(("name", "dialect", "base"), BASES.values(), ids=BASES)
def test_bases(name: str, dialect: Dialect, base: str) -> None:
    provider = table({}).get(name)
    assert provider is not None
    assert provider.base(dialect) == base


def test_a_dialect_that_is_not_spoken_has_no_base() -> None:
    openai = table({}).get("openai")
    assert openai is not None
    assert openai.base("anthropic") is None


# provider, base_url from the configuration, dialect → base
OVERRIDES: dict[str, tuple[str, str, Dialect, str]] = {
    "no path": ("openai", "http://127.0.0.1:9000", "openai", "http://127.0.0.1:9000/v1"),
    "slash": ("openai", "http://127.0.0.1:9000/", "openai", "http://127.0.0.1:9000/v1"),
    "path": ("openai", "http://127.0.0.1:9000/v1", "openai", "http://127.0.0.1:9000/v1"),
    "other path": ("openai", "https://gw.example/a/b/", "openai", "https://gw.example/a/b"),
    "endpoint pasted": (
        "openai",
        *("https://gw.example/v1/chat/completions", "openai", "https://gw.example/v1"),
    ),
    "anthropic": ("anthropic", "http://h:1", "anthropic", "http://h:1/v1"),
    "anthropic, path": ("anthropic", "http://h:1/v1", "anthropic", "http://h:1/v1"),
    "anthropic, endpoint": ("anthropic", "http://h:1/v1/messages", "anthropic", "http://h:1/v1"),
    "anthropic, as openai": ("anthropic", "http://h:1/x", "openai", "http://h:1/x"),
    "google": ("google", "http://h:1", "gemini", "http://h:1/v1beta"),
    "google, as openai": ("google", "http://h:1", "openai", "http://h:1/v1beta/openai"),
    "google, path": ("google", "http://h:1/v1", "gemini", "http://h:1/v1"),
    "google, path, as openai": ("google", "http://h:1/v1", "openai", "http://h:1/v1/openai"),
    "by alias": ("gemini", "http://h:1", "gemini", "http://h:1/v1beta"),
    "groq": ("groq", "http://h:1", "openai", "http://h:1/openai/v1"),
    "deepseek": ("deepseek", "http://h:1/v1", "anthropic", "http://h:1/anthropic/v1"),
    "upper case": ("openai", "HTTP://HOST:1/V1", "openai", "http://host:1/V1"),
    "spaces around": ("openai", " http://h:1 ", "openai", "http://h:1/v1"),
    "ipv6": ("openai", "http://[::1]:9000", "openai", "http://[::1]:9000/v1"),
}


@pytest.mark.parametrize(("name", "url", "dialect", "base"), OVERRIDES.values(), ids=OVERRIDES)
def test_configured_bases(name: str, url: str, dialect: Dialect, base: str) -> None:
    provider = table({name: Settings(base_url=url)}).get(name)
    assert provider is not None
    assert provider.base(dialect) == base
    assert provider.configured


BAD_BASES = {
    "no scheme": "127.0.0.1:9000",
    "other scheme": "ftp://host",
    "no host": "http:///v1",
    "user": "https://user:pass@host/v1",
    "query": "https://host/v1?key=a",
    "fragment": "https://host/v1#a",
    "port": "https://host:port/v1",
    "port too large": "https://host:70000/v1",
    "space": "https://host/a b",
    "not ascii": "https://hôst/v1",
}


@pytest.mark.parametrize("url", BAD_BASES.values(), ids=BAD_BASES)
def test_bad_bases(url: str) -> None:
    with pytest.raises(ConfigError, match=r"providers\.openai\.base_url") as caught:
        table({"openai": Settings(base_url=url)})
    assert "pass" not in str(caught.value)


OWN: dict[str, tuple[Settings, Dialect, str]] = {
    "openai": (Settings(base_url="http://h:1"), "openai", "http://h:1/v1"),
    "openai, path": (Settings(base_url="http://h:1/api"), "openai", "http://h:1/api"),
    "anthropic": (
        Settings(base_url="http://h:1", format="anthropic"),
        *("anthropic", "http://h:1/v1"),
    ),
    "gemini": (Settings(base_url="http://h:1", format="gemini"), "gemini", "http://h:1/v1beta"),
}


@pytest.mark.parametrize(("settings", "dialect", "base"), OWN.values(), ids=OWN)
def test_providers_of_ones_own(settings: Settings, dialect: Dialect, base: str) -> None:
    provider = table({"Mine": settings}).get("mine")
    assert provider is not None
    assert provider.native == dialect
    assert provider.base(dialect) == base
    assert not provider.needs_key


def test_a_provider_of_ones_own_needs_a_base_url() -> None:
    with pytest.raises(ConfigError, match="opneai") as caught:
        table({"opneai": Settings(api_key="sk")})
    assert "MEMROUTER_PROVIDERS__OPNEAI__BASE_URL" in caught.value.hint


def test_the_default_must_be_known() -> None:
    assert table({}, "GROQ").default.name == "groq"
    assert table({"mine": Settings(base_url="http://h")}, "mine").default.name == "mine"
    with pytest.raises(ConfigError, match="default_provider"):
        table({}, "nobody")


FAMILIES = {
    "gpt-5.5": "openai",
    "gpt-4o-2024-08-06": "openai",
    "GPT-5": "openai",
    "chatgpt-4o-latest": "openai",
    "o1": "openai",
    "o3-mini": "openai",
    "o4-mini-2025-04-16": "openai",
    "codex-mini-latest": "openai",
    "ft:gpt-4o:org::id": "openai",
    "text-embedding-3-small": "openai",
    "whisper-1": "openai",
    "dall-e-3": "openai",
    "gpt-oss-120b": None,
    "gpt-oss:20b": None,
    "omni": None,
    "o1x": None,
    "claude-opus-4.8": "anthropic",
    "claude-sonnet-4-5-20250929": "anthropic",
    "gemini-3.5-flash": "google",
    "gemma-3-27b-it": "google",
    "gemma3:27b": None,
    "text-embedding-004": "google",
    "grok-4": "xai",
    "deepseek-chat": "deepseek",
    "deepseek-r1:7b": None,
    "mistral-large-latest": "mistral",
    "codestral-2508": "mistral",
    "open-mixtral-8x22b": "mistral",
    "mistral:7b": None,
    "llama-3.3-70b-versatile": None,
    "qwen3-coder": None,
    "": None,
}


@pytest.mark.parametrize(("model", "name"), FAMILIES.items(), ids=FAMILIES)
def test_families(model: str, name: str | None) -> None:
    provider = table({}).of_family(model)
    assert (provider.name if provider else None) == name


def test_configured_models_are_placed() -> None:
    providers = table(
        {
            "mine": Settings(base_url="http://h", models=("exact", "qwen*")),
            "claudes": Settings(base_url="http://h", format="anthropic", models=("exact",)),
        }
    )
    found = {
        (m, d): p.name if (p := providers.listing(m, d)) else None
        for m in ("exact", "qwen3:8b", "exactly")
        for d in ("openai", "anthropic")
    }
    assert found == {
        ("exact", "openai"): "mine",
        ("exact", "anthropic"): "claudes",
        ("qwen3:8b", "openai"): "mine",
        ("qwen3:8b", "anthropic"): None,
        ("exactly", "openai"): None,
        ("exactly", "anthropic"): None,
    }


def test_hosts() -> None:
    providers = table({})
    at = providers.at_host("api.anthropic.com")
    assert at is not None
    assert at.name == "anthropic"
    assert providers.at_host("evil.example") is None
    assert {"api.openai.com", "api.together.xyz"} <= providers.known_hosts
    assert "127.0.0.1" not in providers.known_hosts


def test_names_are_told_apart() -> None:
    names = [n for row in KNOWN for n in (row.name, *row.aliases)]
    assert len(names) == len(set(names)) == 12
    hosts = [host for row in KNOWN for host in row.hosts]
    assert len(hosts) == len(set(hosts))


def test_a_key_is_not_shown() -> None:
    provider = table({"openai": Settings(api_key="sk-secret")}).get("openai")
    assert provider is not None
    assert provider.api_key == "sk-secret"
    assert "sk-secret" not in repr(provider)


def test_the_configuration_fits() -> None:
    _: ProviderSettings = Settings()

    @dataclass(frozen=True)
    class Other:
        base_url: str = ""
        api_key: str = ""
        format: Dialect = "openai"
        models: tuple[str, ...] = ()

    assert table({"openai": Other()}).default.name == "openai"
