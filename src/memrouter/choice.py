"""Which embedder was chosen for a data folder, how far its vaults are, and who leads the change.

All of it is in files, so that a command and a server, or several workers, need not talk.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import msgspec

from memrouter.errors import ConfigError

STATIC = "static"
"""The name of the default embedder on its own."""
_FILE = "embedder.json"
_RUNNING = "run"

Kind = TypeVar("Kind", bound=msgspec.Struct)


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """What vaults are to have. Kept in the data folder."""

    use: str = STATIC
    before: tuple[str, ...] = ()
    """What vaults may still have, the newest first."""
    done: bool = True
    """Whether every vault has what it is to have."""

    def changed(self, use: str) -> Choice:
        """The choice after another was made; the same if it is the same."""
        if use == self.use:
            return self
        before = tuple(name for name in (self.use, *self.before) if name not in (STATIC, use))
        return Choice(use=use, before=before[:2], done=False)

    def finished(self) -> Choice:
        """The choice once every vault has it."""
        return Choice(use=self.use)


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far the change is; kept in the data folder while a process works on it."""

    use: str = ""
    vaults: int = 0
    counted: int = 0
    """Vaults whose chunks are counted: once all are, `chunks` is what there is to do."""
    chunks: int = 0
    encoded: int = 0
    error: str = ""
    """Why it does not go on, for now."""


def read(folder: Path) -> Choice:
    """What was chosen; the default embedder if nothing was. Raises ConfigError."""
    return _read(folder / _FILE, Choice)


def write(folder: Path, choice: Choice) -> None:
    """Keep a choice: whole, or not at all. Raises OSError."""
    _write(folder / _FILE, choice)


def progress(folder: Path) -> Progress:
    """How far the change was when this was last noted."""
    return _read(folder / _RUNNING / _FILE, Progress)


def note(folder: Path, state: Progress) -> None:
    """Note how far the change is. Raises OSError."""
    (folder / _RUNNING).mkdir(mode=0o700, exist_ok=True)
    _write(folder / _RUNNING / _FILE, state)


@contextmanager
def leading(folder: Path) -> Iterator[bool]:
    """Whether this process is the one to work on the change; no other is, as long as this lasts."""
    (folder / _RUNNING).mkdir(mode=0o700, exist_ok=True)
    path = folder / _RUNNING / "embedder.lock"
    opened = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(opened)


def _read(path: Path, kind: type[Kind]) -> Kind:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        return kind()
    except (OSError, msgspec.MsgspecError) as e:
        raise ConfigError(
            f"{path} cannot be read: {type(e).__name__}",
            "Delete it, and choose again with `memrouter embedder use`",
        ) from None


def _write(path: Path, content: msgspec.Struct) -> None:
    made = path.with_name(f".{path.name}-{os.getpid()}")
    with os.fdopen(os.open(made, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(msgspec.json.encode(content))
        file.flush()
        os.fsync(file.fileno())
    made.replace(path)
