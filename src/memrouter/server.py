"""Runs the app: sockets, workers, signals. The first start happens here, before any worker."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import resource
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

# One thread a library: the event loop and the embedder's pool are the threads there are. These
# must be set before numpy and the tokenizer are loaded.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# Memory that one thread has freed serves the others, too: 70 MB less with hundreds of open vaults.
# Workers read it as they start; this process has started, so it is told in `serve`.
_ARENAS = 2
os.environ.setdefault("MALLOC_ARENA_MAX", str(_ARENAS))

import uvicorn  # noqa: E402
from uvicorn.supervisors import Multiprocess  # noqa: E402

from memrouter import start  # noqa: E402
from memrouter.app import check, open_directory  # noqa: E402
from memrouter.config import Config  # noqa: E402
from memrouter.edge.connection import Connection  # noqa: E402
from memrouter.errors import ConfigError  # noqa: E402
from memrouter.ops import logs  # noqa: E402

_FILES = 65_536
_M_ARENA_MAX = -8


def serve(config: Config, show: Callable[[str], None]) -> None:
    """Serve until a stop signal. Raises ConfigError before anything is served."""
    check(config)
    _check_address(config.host, config.port)
    os.umask(0o077)  # what libraries write into the data folder is its owner's alone, too
    folder = start.data_folder(config)
    allow_files()
    _share_arenas()
    logs.set_up(config.log_level, config.log_format)
    started = asyncio.run(_first_step(config))
    start.secret_key(config, folder)  # made here, before several workers look for it
    show(start.banner(config, folder, started))
    options: dict[str, Any] = {
        "app": "memrouter.app:create",
        "factory": True,
        "host": config.host,
        "port": config.port,
        "workers": config.workers,
        "loop": "uvloop",
        "http": Connection,
        "ws": "none",
        "lifespan": "on",
        "log_config": None,
        "access_log": False,
        "server_header": False,
        "proxy_headers": False,  # whose address a request has is nothing to us
        "date_header": False,
        "timeout_keep_alive": 75,
        "timeout_graceful_shutdown": max(1, round(config.stop_timeout_s)),
        "backlog": 2048,
    }
    if config.workers == 1:
        uvicorn.run(**options)
        return
    _share_metrics(folder)
    shared = uvicorn.Config(**options)
    _Workers(shared, [shared.bind_socket()]).run()


class _Workers(Multiprocess):
    """Processes that take connections from one socket."""

    def terminate_all(self) -> None:
        """Stop the workers, and take no more connections.

        As long as the socket is open here, the system takes connections that no worker will answer:
        who asks for the server's health while it stops would wait until it has stopped.
        """
        super().terminate_all()
        for one in self.sockets:
            one.close()


def _check_address(host: str, port: int) -> None:
    """Raise ConfigError if nobody can listen there, before a key is shown that nobody can use."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, kind, protocol, _, address in found[:1]:
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
    except OSError as e:
        raise ConfigError(
            f"Cannot listen on {host}:{port}: {(e.strerror or 'no such address').lower()}",
            "Choose another with --host and --port, or MEMROUTER_HOST and MEMROUTER_PORT",
        ) from None


def allow_files() -> None:
    """Take as many file handles as the system allows us: each open vault has a few of its own."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(hard, _FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _share_arenas() -> None:
    """Do what MALLOC_ARENA_MAX says where the C library is glibc; others have no such setting."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, _ARENAS)


async def _first_step(config: Config) -> start.Started:
    directory = open_directory(config)
    try:
        return await start.ensure_account(config, directory)
    finally:
        await directory.close()


def _share_metrics(folder: Path) -> None:
    """Let workers add up their metrics in files; what an earlier run left there goes."""
    shared = folder / "run" / "metrics"
    shutil.rmtree(shared, ignore_errors=True)
    shared.mkdir(parents=True)
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(shared)
