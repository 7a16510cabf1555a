"""Server processes: pinned to cores, paused while others are measured, read from /proc."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .options import BUILD, BenchError

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_CORES = sorted(os.sched_getaffinity(0))


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Which cores the contender has, and which the mock provider and the load generator."""

    contender: frozenset[int]
    rest: frozenset[int]


def layout(contender_cores: int = 1) -> Layout:
    """The first cores for the contender, one other for the rest; it is shared if none is left."""
    taken = _CORES[:contender_cores]
    other = _CORES[min(contender_cores, len(_CORES) - 1)]
    return Layout(contender=frozenset(taken), rest=frozenset({other}))


@contextlib.contextmanager
def pinned(cores: frozenset[int]) -> Iterator[None]:
    """Processes started inside run on `cores` only."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on at this moment."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@dataclass(frozen=True, kw_only=True)
class Usage:
    """What a process tree has used: CPU seconds so far, memory now and at most."""

    cpu_s: float
    rss_mb: float
    peak_mb: float

    def since(self, before: Usage) -> float:
        """CPU seconds used after `before`."""
        return self.cpu_s - before.cpu_s


def _tree(pid: int) -> Iterator[int]:
    yield pid
    with contextlib.suppress(OSError):
        for children in Path(f"/proc/{pid}/task").glob("*/children"):
            for child in children.read_text().split():
                yield from _tree(int(child))


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return sum(int(f) for f in fields[11:15]) * _TICK_S  # own and reaped children's


def _status_mb(pid: int, field: str) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) / 1024
    return 0.0


def usage(pid: int) -> Usage:
    """Sums over `pid` and all its descendants."""
    cpu_s = rss_mb = peak_mb = 0.0
    for one in _tree(pid):
        with contextlib.suppress(OSError):
            cpu_s += _cpu_s(one)
            rss_mb += _status_mb(one, "VmRSS")
            peak_mb += _status_mb(one, "VmHWM")
    return Usage(cpu_s=cpu_s, rss_mb=rss_mb, peak_mb=peak_mb)


class Server:
    """A running server in a process group of its own; stop() it, or leave it to `started`."""

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        *,
        port: int,
        cores: frozenset[int],
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.port = port
        self.spawned_at = time.perf_counter()
        self._log = BUILD / "logs" / f"{name.replace(' ', '-')}.log"
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("wb") as log, pinned(cores):
            self._process = subprocess.Popen(
                argv,
                env={**os.environ, **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Of the root of the process tree."""
        return self._process.pid

    def fail(self, why: str) -> BenchError:
        """An error with the end of this server's log."""
        tail = self._log.read_text(errors="replace")[-1500:]
        return BenchError(f"{self.name} {why}; the end of its log:\n{tail}")

    def check(self) -> None:
        """BenchError if the process has ended."""
        if self._process.poll() is not None:
            raise self.fail(f"ended with status {self._process.returncode}")

    def wait_for_port(self, timeout_s: float = 90) -> None:
        """Return once the port accepts connections."""
        until = time.monotonic() + timeout_s
        while time.monotonic() < until:
            self.check()
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            time.sleep(0.002)
        raise self.fail(f"did not listen within {timeout_s:.0f} s")

    def usage(self) -> Usage:
        """CPU and memory of the process tree."""
        self.check()
        return usage(self.pid)

    def pause(self) -> None:
        """Stop the whole group where it is, so that it takes nothing from the others."""
        os.killpg(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Undo `pause`."""
        os.killpg(self.pid, signal.SIGCONT)

    def settle(self, timeout_s: float) -> None:
        """Return once the tree has been idle for 0.2 s, at the latest after `timeout_s`."""
        until = time.monotonic() + timeout_s
        before = self.usage().cpu_s
        while time.monotonic() < until:
            time.sleep(0.2)
            now = self.usage().cpu_s
            if now - before <= 0.011:
                return
            before = now

    def stop(self) -> None:
        """End the group: politely, then not."""
        for how, patience_s in ((signal.SIGTERM, 10), (signal.SIGKILL, 5)):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, how)
                os.killpg(self.pid, signal.SIGCONT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(patience_s)
                return


@contextlib.contextmanager
def started(server: Server) -> Iterator[Server]:
    """Wait until `server` listens; stop it afterwards."""
    try:
        server.wait_for_port()
        yield server
    finally:
        server.stop()
