"""Starting memrouter and talking to its memory API."""

from __future__ import annotations

import contextlib
import http.client
import json
import shutil
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from .options import BenchError, Options
from .processes import Server, free_port

ACCOUNT_KEY = "mk_bench-account-0123456789abcdefghijklmnop"
SECRET_KEY = "bench-secret-0123456789abcdefghijklmnopqrstuv"


def environment(data: Path, port: int, mock_port: int) -> dict[str, str]:
    """The configuration of a memrouter whose only provider is the mock."""
    return {
        "MEMROUTER_DATA_DIR": str(data),
        "MEMROUTER_PORT": str(port),
        "MEMROUTER_ACCOUNT_KEY": ACCOUNT_KEY,
        "MEMROUTER_SECRET_KEY": SECRET_KEY,
        "MEMROUTER_PROVIDERS__OPENAI__BASE_URL": f"http://127.0.0.1:{mock_port}/v1",
        "MEMROUTER_PROVIDERS__OPENAI__API_KEY": "sk-test",
    }


def serve(
    options: Options,
    name: str,
    data: Path,
    mock_port: int,
    cores: frozenset[int],
    *,
    workers: int = 1,
) -> Server:
    """Start memrouter on `data`; the caller waits until it listens."""
    argv = list(options.memrouter)
    if not shutil.which(argv[0]):
        raise BenchError(f"{argv[0]} does not exist; install memrouter or give --memrouter")
    if workers > 1:
        argv += options.workers_flag.format(n=workers).split()
    port = free_port()
    data.mkdir(parents=True, exist_ok=True)
    return Server(name, argv, port=port, cores=cores, env=environment(data, port, mock_port))


class MissingError(BenchError):
    """This memrouter has no such endpoint."""


class Api:
    """A keep-alive client of the memory API; it repeats a request whose connection was closed."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)

    def call(self, method: str, path: str, key: str, body: bytes | None = None) -> Any:
        """The decoded answer; BenchError unless it is a 2xx."""
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        for attempt in (1, 2):
            try:
                self._connection.request(method, path, body, headers)
                response = self._connection.getresponse()
                content = response.read()
                break
            except (http.client.RemoteDisconnected, ConnectionError):
                self._connection.close()
                if attempt == 2:
                    raise
        if response.status == 404:
            raise MissingError(f"{method} {path}: {response.status} {content[:300]!r}")
        if response.status // 100 != 2:
            raise BenchError(f"{method} {path}: {response.status} {content[:300]!r}")
        return json.loads(content)

    def mint(self, name: str) -> str:
        """A new memory key."""
        body = json.dumps({"name": name}).encode()
        return str(self.call("POST", "/v1/keys", ACCOUNT_KEY, body)["key"])

    def upload(self, key: str, lines: Iterable[bytes]) -> int:
        """Upload JSONL lines; returns how many were stored, BenchError if one was not."""
        body = b"".join(lines)
        answer = self.call("POST", "/v1/memory/upload", key, body)
        stored, failed = int(answer["stats"]["stored"]), int(answer["stats"]["failed"])
        if failed:
            raise BenchError(f"upload: {failed} lines failed: {answer}")
        return stored

    def fill(self, key: str, lines: Iterable[bytes]) -> None:
        """Store JSONL lines as memories: uploaded, or else as histories of chats."""
        given = list(lines)
        try:
            self.upload(key, given)
        except MissingError:
            for i in range(0, len(given), 100):
                turns = [json.loads(line) for line in given[i : i + 100]]
                messages = [{"role": t["role"], "content": t["content"]} for t in turns]
                last = {"role": "user", "content": f"That was part {i // 100 + 1}."}
                body = {"model": "openai/gpt-5.5", "messages": [*messages, last]}
                sent = json.dumps(body).encode()
                self.call("POST", "/v1/chat/completions", f"{key}:write", sent)

    def pending(self, key: str) -> int:
        """Chunks of the key's vault that have no vector yet."""
        return int(self.call("GET", "/v1/memory/stats", key)["pending"])

    def memories(self, key: str) -> int:
        """Chunks that the key's vault holds."""
        return int(self.call("GET", "/v1/memory/stats", key)["memories"])

    def wait_embedded(self, key: str, timeout_s: float) -> None:
        """Return once the key's vault has no pending chunks."""
        until = time.monotonic() + timeout_s
        while self.pending(key):
            if time.monotonic() > until:
                raise BenchError(f"still {self.pending(key)} chunks pending after {timeout_s} s")
            time.sleep(0.02)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


@contextlib.contextmanager
def api(port: int) -> Iterator[Api]:
    """An `Api` that is closed at the end."""
    client = Api(port)
    try:
        yield client
    finally:
        client.close()
