"""The first start: the data folder, the account key, and what to show a newcomer."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from memrouter import __version__
from memrouter.config import Config
from memrouter.edge.auth import digest, masked, mint
from memrouter.errors import ConfigError
from memrouter.ports import Directory

_ACCOUNT_KEY = re.compile(r"mk_[A-Za-z0-9_-]{32,}")
KEYRING_FILE = "keyring.db"
SECRET_FILE = "secret.key"  # noqa: S105 - its name
_DATA = ("directory.db", "vaults", KEYRING_FILE)
"""Any of these is in a folder that has been served from, or restored into."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """What the first step of a start found or made."""

    new_key: str | None
    """An account key that was just made; to be shown once."""


def data_folder(config: Config) -> Path:
    """The data folder, made if need be, for its owner only. Raises ConfigError."""
    folder = Path(config.data_dir).expanduser()
    try:
        _make(folder)
        probe = folder / f".writable-{os.getpid()}"
        probe.touch(mode=0o600)
        probe.unlink()
    except OSError as e:
        raise ConfigError(
            f"The data folder {folder} cannot be written: {e.strerror}",
            "Choose another with MEMROUTER_DATA_DIR or --data-dir, or mend its mode",
        ) from None
    return folder


def refuse_missing(config: Config) -> None:
    """Raise ConfigError if there is nothing in the data folder yet.

    For what is done with data that are there: a misspelt folder would be made, and be empty.
    """
    folder = Path(config.data_dir).expanduser()
    there = os.path.lexists(folder)
    if there and not (folder.is_dir() and os.access(folder, os.R_OK | os.X_OK)):
        return  # data_folder says what is wrong with it
    if any((folder / name).exists() for name in _DATA):
        return
    found = "holds nothing of memrouter" if there else "is not there"
    raise ConfigError(
        f"The data folder {folder.absolute()} {found}",
        "Check --data-dir or MEMROUTER_DATA_DIR; `memrouter serve` and `restore` make a new one",
    )


def secret_key(config: Config, folder: Path) -> str:
    """What encrypts stored keys: configured, or made once and kept in the data folder."""
    if config.secret_key:
        return config.secret_key
    path = folder / SECRET_FILE
    if not path.exists():
        if (folder / KEYRING_FILE).exists():
            raise ConfigError(
                f"{folder} is encrypted, and its secret key is not there",
                f"Set MEMROUTER_SECRET_KEY, or put back {SECRET_FILE}; no other one opens it",
            )
        _make_secret(path)
    return path.read_text("ascii").strip()


def _make_secret(path: Path) -> None:
    """Write a new key whole, or not at all: what it has sealed can be opened by no other."""
    made = path.with_name(f".{path.name}-{os.getpid()}")
    made.unlink(missing_ok=True)  # of a process that was killed here
    with os.fdopen(os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(secrets.token_urlsafe(32))
        file.flush()
        os.fsync(file.fileno())
    with contextlib.suppress(FileExistsError):  # another process was faster: its key counts
        os.link(made, path)
    made.unlink()
    _sync(path.parent)


def _make(folder: Path) -> None:
    """Make a folder, and its name as durable as what will be in it."""
    if folder.is_dir():
        return
    if not folder.parent.exists():
        _make(folder.parent)
    folder.mkdir(mode=0o700, exist_ok=True)
    with contextlib.suppress(PermissionError):  # a folder above that is not ours to read
        _sync(folder.parent)


def _sync(folder: Path) -> None:
    """Put the names in a folder on the disk."""
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


async def ensure_account(config: Config, directory: Directory) -> Started:
    """Make sure there is an account with a key: the configured one, or one made now."""
    now = datetime.now(UTC)
    if config.account_key:
        key = checked_key(config.account_key)
        await directory.account_with_config_key(digest(key), masked(key), now)
        return Started(new_key=None)
    if await directory.first_account() is not None:
        return Started(new_key=None)
    account = await directory.add_account()
    key = mint()
    await directory.add_key(
        account, digest(key), masked=masked(key), name="account", now=now, is_account=True
    )
    return Started(new_key=key)


def checked_key(key: str) -> str:
    """An account key from the configuration. Raises ConfigError if it is not one."""
    if not _ACCOUNT_KEY.fullmatch(key):
        raise ConfigError(
            "not a memory key: mk_ and at least 32 of A-Z, a-z, 0-9, _ and -",
            "Make one: python3 -c \"import secrets; print('mk_' + secrets.token_urlsafe(32))\"",
            setting=("account_key",),
        )
    return key


def banner(config: Config, folder: Path, started: Started) -> str:
    """What a newcomer needs to see: where it serves, the key, and lines to paste."""
    host = "127.0.0.1" if config.host in {"0.0.0.0", "::"} else config.host  # noqa: S104
    host = f"[{host}]" if ":" in host else host
    base = f"http://{host}:{config.port}"
    head = f"memrouter {__version__} serves on {base}, data in {folder}"
    if started.new_key is None:
        return head
    key = started.new_key
    return f"""{head}

Your account key, shown only now:

    {key}

It mints a key for each of your users, and works as one itself. Paste one of these, in a shell
where the server was given a provider key (MEMROUTER_PROVIDERS__OPENAI__API_KEY=sk-…), or add
-H 'X-Provider-Key: sk-…':

  curl
    curl {base}/v1/chat/completions -H 'Authorization: Bearer {key}' \\
      -H 'Content-Type: application/json' \\
      -d '{{"model": "openai/gpt-5.5",
           "messages": [{{"role": "user", "content": "My name is Alice"}}]}}'

  OpenAI SDK
    from openai import OpenAI
    client = OpenAI(base_url="{base}/v1", api_key="{key}")

  Claude Code (needs MEMROUTER_PROVIDERS__ANTHROPIC__API_KEY; `:read` recalls without storing)
    export ANTHROPIC_BASE_URL={base} ANTHROPIC_API_KEY={key}
"""
