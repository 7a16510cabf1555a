from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from memrouter.config import Config, Densities, Density, Embeddings, Provider, load
from memrouter.domain import Budget
from memrouter.errors import ConfigError


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a folder without a memrouter.toml."""
    monkeypatch.chdir(tmp_path)


def written(folder: Path, text: str | bytes, name: str = "memrouter.toml") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


# --- defaults ---


def test_without_anything_the_defaults_hold() -> None:
    config = load({})
    assert config == Config()
    assert (config.host, config.port, config.data_dir) == ("127.0.0.1", 8484, "data")
    assert config.max_body_bytes == 64 * 1024 * 1024
    assert config.recall_timeout_s == 0.25
    assert config.sticky_s == 3600
    assert config.zone().key == "UTC"


def test_densities_are_as_specified() -> None:
    assert Config().density.budgets() == {
        "low": Budget(memories=10, tokens=750),
        "default": Budget(memories=30, tokens=2_000),
        "high": Budget(memories=60, tokens=4_000),
        "xhigh": Budget(memories=120, tokens=8_000),
    }


def test_other_variables_are_not_looked_at() -> None:
    assert load({"PORT": "1", "HOME": "x", "memrouter_port": "2", "MEMROUTERPORT": "3"}) == Config()


def test_the_environment_is_not_changed() -> None:
    before = dict(os.environ)
    env = {"MEMROUTER_PORT": "9000"}
    load(env)
    assert env == {"MEMROUTER_PORT": "9000"}
    assert dict(os.environ) == before


# --- the environment ---

# variable → (value, setting, what it is then)
VARIABLES: dict[str, tuple[str, str, Any]] = {
    "MEMROUTER_DATA_DIR": ("/srv/m", "data_dir", "/srv/m"),
    "MEMROUTER_HOST": ("0.0.0.0", "host", "0.0.0.0"),
    "MEMROUTER_PORT": ("9000", "port", 9000),
    "MEMROUTER_ACCOUNT_KEY": ("mk_x", "account_key", "mk_x"),
    "MEMROUTER_SECRET_KEY": ("s1,s2", "secret_key", "s1,s2"),
    "MEMROUTER_DATABASE_URL": ("sqlite:///x", "database_url", "sqlite:///x"),
    "MEMROUTER_RECALL_TIMEOUT_S": ("0.1", "recall_timeout_s", 0.1),
    "MEMROUTER_STICKY_S": ("0", "sticky_s", 0.0),
    "MEMROUTER_TIMEZONE": ("Europe/Berlin", "timezone", "Europe/Berlin"),
    "MEMROUTER_LOG_FORMAT": ("text", "log_format", "text"),
    "MEMROUTER_ALLOWED_UPSTREAMS": (
        "a.example, b.example:8080 ,,",
        "allowed_upstreams",
        ("a.example", "b.example:8080"),
    ),
    "MEMROUTER_USER_HEADERS": ("X-User,x-b", "user_headers", ("x-user", "x-b")),
    "MEMROUTER_SESSION_HEADERS": ("", "session_headers", ()),
}


@pytest.mark.parametrize("name", VARIABLES)
def test_variables(name: str) -> None:
    value, setting, expected = VARIABLES[name]
    config = load({name: value})
    assert getattr(config, setting) == expected
    assert type(getattr(config, setting)) is type(expected)


def test_nested_names_are_joined_by_two_underscores() -> None:
    config = load(
        {
            "MEMROUTER_PROVIDERS__OPENAI__API_KEY": "sk-1",
            "MEMROUTER_PROVIDERS__MY_OWN__BASE_URL": "http://10.0.0.1:8000/v1",
            "MEMROUTER_PROVIDERS__MY_OWN__FORMAT": "anthropic",
            "MEMROUTER_PROVIDERS__MY_OWN__MODELS": "a, b*",
            "MEMROUTER_DENSITY__LOW__MEMORIES": "5",
            "MEMROUTER_DENSITY__LOW__TOKENS": "100",
            "MEMROUTER_INFINITE_CHAT__ENABLED": "true",
            "MEMROUTER_EMBEDDINGS__BIG__BASE_URL": "http://10.0.0.1/v1",
            "MEMROUTER_EMBEDDINGS__BIG__MODEL": "m",
            "MEMROUTER_EMBEDDINGS__BIG__DIMENSION": "1024",
        }
    )
    assert config.providers == {
        "openai": Provider(api_key="sk-1"),
        "my_own": Provider(
            base_url="http://10.0.0.1:8000/v1", format="anthropic", models=("a", "b*")
        ),
    }
    assert config.density == Densities(low=Density(memories=5, tokens=100))
    assert config.infinite_chat.enabled
    assert config.infinite_chat.threshold_tokens == 20_000
    assert config.embeddings == {
        "big": Embeddings(base_url="http://10.0.0.1/v1", model="m", dimension=1024)
    }


# --- the file ---

FILE = """
port = 9000
allowed_upstreams = ["a.example"]
user_headers = ["X-User"]

[providers.openai]
api_key = "sk-file"

[density.high]
memories = 7
tokens = 70
"""


def test_a_file_here_is_read(tmp_path: Path) -> None:
    written(tmp_path, FILE)
    config = load({})
    assert config.port == 9000
    assert config.allowed_upstreams == ("a.example",)
    assert config.user_headers == ("x-user",)
    assert config.providers["openai"].api_key == "sk-file"
    assert config.density.high == Density(memories=7, tokens=70)


def test_a_named_file_is_read_and_not_the_one_here(tmp_path: Path) -> None:
    written(tmp_path, "port = 1111")
    named = written(tmp_path, "host = '::1'", "other.toml")
    config = load({"MEMROUTER_CONFIG": "whatever the caller made of it"}, named)
    assert (config.host, config.port) == ("::1", 8484)


def test_the_environment_wins(tmp_path: Path) -> None:
    written(tmp_path, FILE)
    config = load(
        {
            "MEMROUTER_PORT": "9001",
            "MEMROUTER_PROVIDERS__OPENAI__BASE_URL": "http://x/v1",
            "MEMROUTER_ALLOWED_UPSTREAMS": "b.example",
        }
    )
    assert config.port == 9001
    assert config.providers["openai"] == Provider(base_url="http://x/v1", api_key="sk-file")
    assert config.allowed_upstreams == ("b.example",)


# --- what stops the start ---

# environment → (what the error names, what the hint says)
WRONG: dict[str, tuple[dict[str, str], str, str]] = {
    "unknown": ({"MEMROUTER_PROT": "1"}, "MEMROUTER_PROT is not", "mean `MEMROUTER_PORT`?"),
    "unknown, like nothing": ({"MEMROUTER_XYZZY": "1"}, "MEMROUTER_XYZZY is not", "settings.md"),
    "unknown in a provider": (
        {"MEMROUTER_PROVIDERS__OPENAI__APIKEY": "1"},
        "MEMROUTER_PROVIDERS__OPENAI__APIKEY is not a setting",
        "Did you mean `MEMROUTER_PROVIDERS__OPENAI__API_KEY`?",
    ),
    "unknown density": (
        {"MEMROUTER_DENSITY__HUGE__TOKENS": "1"},
        "MEMROUTER_DENSITY__HUGE__TOKENS is not a setting",
        "settings.md",
    ),
    "one underscore": (
        {"MEMROUTER_DENSITY_LOW_TOKENS": "1"},
        "MEMROUTER_DENSITY_LOW_TOKENS is not",
        "`MEMROUTER_DENSITY__LOW__TOKENS`?",
    ),
    "three underscores": (
        {"MEMROUTER_DENSITY___LOW": "1"},
        "MEMROUTER_DENSITY___LOW is not",
        "`MEMROUTER_DENSITY__LOW`?",
    ),
    "a density": (
        {"MEMROUTER_DENSITY__DEFALT__TOKENS": "1"},
        "MEMROUTER_DENSITY__DEFALT__TOKENS is not",
        "`MEMROUTER_DENSITY__DEFAULT__TOKENS`?",
    ),
    "nothing behind the prefix": ({"MEMROUTER_": "1"}, "MEMROUTER_", "two underscores"),
    "nothing between": ({"MEMROUTER_DENSITY____LOW": "1"}, "DENSITY____LOW", "two underscores"),
    "nothing at the end": ({"MEMROUTER_DENSITY__": "1"}, "DENSITY__", "two underscores"),
    "no number": (
        {"MEMROUTER_PORT": "http"},
        "MEMROUTER_PORT is 'http', but must be a whole number from 0 to 65535",
        "settings.md",
    ),
    "no port": ({"MEMROUTER_PORT": "65536"}, "MEMROUTER_PORT is '65536'", "settings.md"),
    "a negative port": ({"MEMROUTER_PORT": "-1"}, "MEMROUTER_PORT is '-1'", "settings.md"),
    "no workers": (
        {"MEMROUTER_WORKERS": "0"},
        "MEMROUTER_WORKERS is '0', but must be a whole number, at least 1",
        "settings.md",
    ),
    "half a worker": ({"MEMROUTER_WORKERS": "1.5"}, "MEMROUTER_WORKERS is '1.5'", "settings.md"),
    "an empty number": ({"MEMROUTER_PORT": ""}, "MEMROUTER_PORT is ''", "settings.md"),
    "no time": (
        {"MEMROUTER_RECALL_TIMEOUT_S": "0"},
        "MEMROUTER_RECALL_TIMEOUT_S is '0', but must be a number above 0",
        "settings.md",
    ),
    "a negative time": (
        {"MEMROUTER_STICKY_S": "-1"},
        "MEMROUTER_STICKY_S is '-1', but must be a number, at least 0",
        "settings.md",
    ),
    "not a number": ({"MEMROUTER_RECALL_TIMEOUT_S": "nan"}, "RECALL_TIMEOUT_S is", "settings.md"),
    "a table as a value": (
        {"MEMROUTER_DENSITY": "high"},
        "MEMROUTER_DENSITY has no value of its own, only settings in it: low, default",
        "settings.md",
    ),
    "a value as a table": (
        {"MEMROUTER_PORT__X": "1"},
        "MEMROUTER_PORT__X is not a setting",
        "Did you mean `MEMROUTER_PORT`?",
    ),
    "both": (
        {"MEMROUTER_PORT": "1", "MEMROUTER_PORT__X": "1"},
        "MEMROUTER_PORT__X",
        "Remove one",
    ),
    "a log level": (
        {"MEMROUTER_LOG_LEVEL": "INFO"},
        "MEMROUTER_LOG_LEVEL is 'INFO', but must be debug, info, warning or error",
        "settings.md",
    ),
    "a provider's format": (
        {"MEMROUTER_PROVIDERS__X__FORMAT": "grpc"},
        "MEMROUTER_PROVIDERS__X__FORMAT is 'grpc', but must be openai, anthropic or gemini",
        "settings.md",
    ),
    "half a density": (
        {"MEMROUTER_DENSITY__LOW__TOKENS": "1"},
        "MEMROUTER_DENSITY__LOW__MEMORIES is missing: it must be a whole number, at least 1",
        "settings.md",
    ),
    "tiny chunks": ({"MEMROUTER_CHUNK_TOKENS": "15"}, "CHUNK_TOKENS is '15'", "settings.md"),
    "a time zone": ({"MEMROUTER_TIMEZONE": "Mars/Olympus"}, "MEMROUTER_TIMEZONE", "IANA"),
    "a path as a time zone": ({"MEMROUTER_TIMEZONE": "../../etc/passwd"}, "TIMEZONE", "IANA"),
    "no time zone": ({"MEMROUTER_TIMEZONE": ""}, "MEMROUTER_TIMEZONE", "IANA"),
    "a database": (
        {"MEMROUTER_DATABASE_URL": "postgresql://x/y"},
        "MEMROUTER_DATABASE_URL",
        "Leave it",
    ),
    "a boolean": (
        {"MEMROUTER_INFINITE_CHAT__ENABLED": "maybe"},
        "MEMROUTER_INFINITE_CHAT__ENABLED is 'maybe', but must be true or false",
        "settings.md",
    ),
}


@pytest.mark.parametrize(("env", "names", "hint"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_named(env: dict[str, str], names: str, hint: str) -> None:
    with pytest.raises(ConfigError) as wrong:
        load(env)
    assert names in str(wrong.value)
    assert hint in wrong.value.hint


FILES: dict[str, tuple[str | bytes, str, str]] = {
    "no TOML": ("port = ", "not valid TOML", "line"),
    "no UTF-8": (b"host = '\xff'", "not valid TOML", "line"),
    "unknown": ("prot = 1", "prot in m.toml is not a setting", "Did you mean `port`?"),
    "unknown table": (
        "[provider.openai]\napi_key = 'x'",
        "provider in m.toml is not a setting",
        "Did you mean `providers.openai.api_key`?",
    ),
    "another type": (
        "port = [1]",
        "port in m.toml is [1], but must be a whole number from 0 to 65535",
        "settings.md",
    ),
    "no list": (
        "allowed_upstreams = 'a'",
        "allowed_upstreams in m.toml is 'a', but must be a list of texts",
        "settings.md",
    ),
    "a value where a table is": ("density = 1", "density in m.toml has no value", "settings.md"),
    "a true that is no number": ("port = true", "port in m.toml is True", "settings.md"),
    "in a table by name": (
        "[embeddings.big]\nbase_url = 'http://x'\nmodel = 'm'",
        "embeddings.big.dimension in m.toml is missing",
        "settings.md",
    ),
    "no text": (
        "[providers.openai]\napi_key = 4711",
        "providers.openai.api_key in m.toml is none, but must be a text",
        "settings.md",
    ),
}


@pytest.mark.parametrize(("text", "names", "hint"), FILES.values(), ids=FILES)
def test_what_is_wrong_in_a_file_is_named(
    tmp_path: Path, text: str | bytes, names: str, hint: str
) -> None:
    with pytest.raises(ConfigError) as wrong:
        load({}, written(tmp_path, text, "m.toml"))
    assert names in str(wrong.value).replace(f"{tmp_path}/", "")
    assert hint in wrong.value.hint


def test_a_named_file_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"Cannot read .*none.toml: No such file"):
        load({}, tmp_path / "none.toml")
    with pytest.raises(ConfigError, match="Cannot read"):
        load({}, tmp_path)


SECRETS = {
    "MEMROUTER_PROVIDERS__OPENAI__API_KEYS": "sk-secret",
    "MEMROUTER_ACCOUNT_KEYS": "mk_secret",
    "MEMROUTER_SECRET_KEYS": "mk_secret",
    "MEMROUTER_PROVIDERS": "sk-secret",
    "MEMROUTER_PROVIDERS__OPENAI": "sk-secret",
    "MEMROUTER_EMBEDDINGS": "sk-secret",
    "MEMROUTER_SECRET_KEY__X": "mk_secret",
}


@pytest.mark.parametrize(("name", "value"), SECRETS.items())
def test_an_error_never_repeats_a_secret(name: str, value: str) -> None:
    with pytest.raises(ConfigError) as wrong:
        load({name: value})
    assert "secret" not in f"{wrong.value}{wrong.value.hint}".lower().replace("secret_key", "")


def test_every_setting_can_be_set_by_the_environment() -> None:
    """Each name survives a round trip: the default, written as a variable, is the default."""
    for name in Config.__struct_fields__:
        default = getattr(Config(), name)
        if isinstance(default, dict | msgspec.Struct):
            continue
        text = ",".join(default) if isinstance(default, tuple) else str(default)
        assert load({f"MEMROUTER_{name.upper()}": text}) == Config(), name
