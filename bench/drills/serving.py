"""The router as processes that a drill may kill, and the provider behind it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import aiohttp

from memrouter.testing.provider import ScriptedProvider, serving
from memrouter.testing.script import Answer, Prompt

ACCOUNT_KEY = "mk_drill-account-0123456789abcdefghijklmnop"
SECRET_KEY = "drill-secret-0123456789abcdefghijklmnopqrstuv"
HEARD = "Heard: "
"""The provider's answer is this and the question: a retried request gets the same answer."""
START_S = 90.0


class DrillError(Exception):
    """A drill cannot go on; says why."""


def answer(prompt: Prompt) -> Answer:
    """What the provider says."""
    return Answer(text=HEARD + prompt.question)


@contextlib.contextmanager
def provider() -> Iterator[int]:
    """A provider on loopback; the value is its port."""
    scripted = ScriptedProvider(answer)
    with serving(scripted) as port:
        yield port


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on at this moment."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


class Router:
    """One data folder and the processes that serve it."""

    def __init__(
        self, folder: Path, provider_port: int, *, workers: int = 1, **settings: str
    ) -> None:
        """folder   where data and log go
        settings    MEMROUTER_ settings, and with `env_` in front any other variable
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.data = folder / "data"
        self.log = folder / "router.log"
        self.port = free_port()
        self.starts = 0
        self._workers = workers
        self._process: subprocess.Popen[bytes] | None = None
        self._env = _environment(self.data, self.port, provider_port, settings)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Of the first process."""
        assert self._process is not None
        return self._process.pid

    def spawn(self) -> None:
        """Start the processes; returns at once."""
        self.starts += 1
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "memrouter.cli", "serve", "--workers", str(self._workers)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._env,
                start_new_session=True,
            )

    async def serves(self, http: aiohttp.ClientSession, seconds: float = START_S) -> None:
        """Wait until it answers. Raises DrillError if it does not."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self._process is None or self._process.poll() is not None:
                raise DrillError(f"the router has ended:\n{self.tail()}")
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                async with http.get(f"{self.url}/health") as got:
                    if got.status == 200:
                        return
            await asyncio.sleep(0.02)
        raise DrillError(f"the router does not serve within {seconds:.0f} s:\n{self.tail()}")

    def tail(self) -> str:
        """The end of its log."""
        return self.log.read_text("utf-8", "replace")[-3000:] if self.log.exists() else ""

    def kill(self) -> None:
        """SIGKILL to all its processes at once."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def kill_worker(self, dice: random.Random) -> bool:
        """SIGKILL to one of its workers; False if there is none."""
        workers = self._worker_pids()
        if workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(dice.choice(workers), signal.SIGKILL)
        return bool(workers)

    def stop(self, seconds: float = 30.0) -> int:
        """SIGTERM; returns the status it ended with."""
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(seconds)

    def _worker_pids(self) -> list[int]:
        assert self._process is not None
        found: list[int] = []
        for task in Path(f"/proc/{self._process.pid}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                found += [int(child) for child in task.read_text().split() if _works(child)]
        return found


def _works(pid: str) -> bool:
    return b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()


def _environment(
    data: Path, port: int, provider_port: int, settings: Mapping[str, str]
) -> dict[str, str]:
    env = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("MEMROUTER_") and not name.lower().endswith("_proxy")
    }
    ours = {
        "DATA_DIR": str(data),
        "PORT": str(port),
        "ACCOUNT_KEY": ACCOUNT_KEY,
        "SECRET_KEY": SECRET_KEY,
        "PROVIDERS__OPENAI__BASE_URL": f"http://127.0.0.1:{provider_port}/v1",
        "PROVIDERS__OPENAI__API_KEY": "sk-drill",
        # The drill is about what is stored: a slow machine must not count as a loss.
        "RECALL_TIMEOUT_S": "30",
        "COMMIT_TIMEOUT_S": "120",
    }
    for name, value in settings.items():
        if name.startswith("env_"):
            env[name.removeprefix("env_")] = value
        else:
            ours[name] = value
    return env | {f"MEMROUTER_{name}": value for name, value in ours.items()}


def http_client(patience_s: float = 180) -> aiohttp.ClientSession:
    """A client that waits as long as a drill needs, and no longer."""
    return aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=patience_s),
        connector=aiohttp.TCPConnector(limit=0, force_close=True),
        headers={"authorization": f"Bearer {ACCOUNT_KEY}"},
        trust_env=False,
    )
