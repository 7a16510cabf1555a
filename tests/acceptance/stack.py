"""The router as a process, pointed at a scripted provider."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import httpx2
import msgspec
import openai

from memrouter.testing.exchange import Recorded

T = TypeVar("T")

START_S = 30.0
"""Long enough for a first start on a loaded machine."""

TELLING_CHARS = 16
"""Shorter texts may stand anywhere by chance."""

CLEAN_ENDS = (0, -signal.SIGTERM)

OWN_HEADERS = frozenset(
    {
        *("x-memory-key", "x-memory-mode", "x-memory-store", "x-memory-store-response"),
        *("x-session-id", "x-provider-key", "x-context-limit", "x-embedding-model"),
        *("x-store-input", "x-store-response", "x-memory-density"),
        *("x-supermemory-api-key", "x-supermemory--api-key", "x-sm-user-id"),
        "x-sm-conversation-id",
    }
)
OWN_FIELDS = frozenset(
    {
        *("memory", "memory_mode", "memory_store", "memory_store_response", "session_id"),
        *("memory_limit", "context_limit", "store_input", "store_response", "density"),
        "embeddings",
    }
)
OWN_QUERY = ("memory=", "mode=", "store=", "userId=", "apiKey=", "session_id=")


def until(condition: Callable[[], T], seconds: float = 10.0, what: str = "condition") -> T:
    """Poll until `condition` is true, and return its value; fail after a deadline."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.01)
    return value


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


class Router:
    """One data directory and the process that serves it; started and stopped at will."""

    def __init__(self, data: Path, provider_port: int, **settings: str) -> None:
        self.data = data
        self.account_key = "mk_" + secrets.token_urlsafe(32)
        self.keys = {self.account_key}
        """Every memory key there is: none may ever reach a provider."""
        self.said: set[str] = set()
        """What its users said, to be found in vaults alone."""
        self.umask = -1
        """Of the process; -1 leaves it as it is."""
        self.port = 0
        self.process: subprocess.Popen[bytes] | None = None
        self.log_file = data / "router.log"
        self._provider = f"http://127.0.0.1:{provider_port}"
        self._settings = settings
        self._given: dict[str, str] = {}
        data.mkdir(parents=True, exist_ok=True)

    # --- its life ---

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        return self.log_file.read_text("utf-8", "replace") if self.log_file.exists() else ""

    def start(self, *arguments: str, **settings: str) -> Router:
        """Start it and wait until it serves; keyword arguments are MEMROUTER_ settings."""
        for _ in range(3):  # the port may be taken between its choice and its use
            self.port = free_port()
            with self.log_file.open("ab") as log:
                self.process = subprocess.Popen(
                    [sys.executable, "-m", "memrouter.cli", "serve", *arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=self._environment(settings),
                    cwd=self.data,
                    start_new_session=True,
                    umask=self.umask,
                )
            if self._serves():
                return self
            self.kill()
        raise AssertionError(f"the router does not start:\n{self.log[-4000:]}")

    def stop(self, seconds: float = 20.0) -> None:
        """SIGTERM, and wait for a clean end: status 0, or death by the very signal."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"SIGTERM does not stop it:\n{self.log[-4000:]}") from None
        assert status in CLEAN_ENDS, self.log[-4000:]

    def kill(self) -> None:
        """SIGKILL to it and its workers, at once."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def _environment(self, settings: dict[str, str]) -> dict[str, str]:
        env = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("MEMROUTER_") and not name.lower().endswith("_proxy")
        }
        given = {
            "DATA_DIR": str(self.data / "store"),
            "PORT": str(self.port),
            "ACCOUNT_KEY": self.account_key,
            "SECRET_KEY": "acceptance-" + "0" * 32,
            "ALLOWED_UPSTREAMS": self._provider.removeprefix("http://"),
            "RECALL_TIMEOUT_S": "5",  # tests run on loaded machines; the budget has its own test
            **{
                f"PROVIDERS__{name}__{setting}": value
                for name in ("OPENAI", "ANTHROPIC", "GOOGLE", "GROQ")
                for setting, value in (
                    ("BASE_URL", self._provider),
                    ("API_KEY", f"sk-server-{name.lower()}"),
                )
            },
            **self._settings,
            **settings,
        }
        self._given = given
        return env | {f"MEMROUTER_{name}": value for name, value in given.items()}

    def _serves(self) -> bool:
        deadline = time.monotonic() + START_S
        with self.http() as http:
            while time.monotonic() < deadline:
                if not self.running:
                    return False
                with contextlib.suppress(httpx2.TransportError):
                    if http.get("/health").status_code == 200:
                        return True
                time.sleep(0.02)
        return False

    # --- its users ---

    def http(self, key: str | None = None, **headers: str) -> httpx2.Client:
        """A plain HTTP client, with a memory key as bearer token."""
        if key is not None:
            headers["authorization"] = f"Bearer {key}"
        return httpx2.Client(base_url=self.url, headers=headers, trust_env=False, timeout=60)

    def openai(self, key: str, **options: Any) -> openai.OpenAI:
        """The real SDK, set up as the README says."""
        options = {"max_retries": 0, "timeout": 60, **options}
        http = httpx2.Client(trust_env=False)
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key=key, http_client=http, **options)

    def mint(self, name: str = "user") -> str:
        """A new memory key with an empty vault."""
        with self.http(self.account_key) as http:
            answer = http.post("/v1/keys", json={"name": name})
        assert answer.status_code == 201, answer.text
        key: str = answer.json()["key"]
        self.keys.add(key)
        return key

    def ask(self, key: str, text: str, *, stream: bool = False, **options: Any) -> str:
        """Say something in a conversation of its own, and return the answer."""
        messages: list[Any] = [{"role": "user", "content": text}]
        return self.chat(key, messages, stream=stream, **options)

    def chat(self, key: str, messages: Any, *, stream: bool = False, **options: Any) -> str:
        """Send a conversation with the real SDK, and return the answer's text."""
        options = {"model": "openai/gpt-5.5", **options}
        self.said |= {text for m in messages if isinstance(text := m.get("content"), str)}
        with self.openai(key) as client:
            if not stream:
                whole = client.chat.completions.create(messages=messages, **options)
                return whole.choices[0].message.content or ""
            chunks = client.chat.completions.create(messages=messages, stream=True, **options)
            return "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)

    def stats(self, key: str, **headers: str) -> dict[str, Any]:
        with self.http(key, **headers) as http:
            answer = http.get("/v1/memory/stats")
        assert answer.status_code == 200, answer.text
        stats: dict[str, Any] = answer.json()
        return stats

    def memories(self, key: str, **headers: str) -> int:
        """How many turns are stored."""
        return int(self.stats(key, **headers)["memories"])

    def texts(self, key: str, query: str, **headers: str) -> list[str]:
        """What a search finds."""
        with self.http(key, **headers) as http:
            answer = http.post("/v1/memory/search", json={"query": query, "limit": 50})
        assert answer.status_code == 200, answer.text
        return [memory["content"] for memory in answer.json()["memories"]]

    def spills(self) -> Iterator[str]:
        """What the router wrote where it must not: secrets anywhere, users' words beside vaults."""
        secrets = self.keys | {key.replace("mk_", "mk-", 1) for key in self.keys}
        secrets |= {value for name, value in self._given.items() if value and name.endswith("_KEY")}
        words = {text for text in self.said if len(text) >= TELLING_CHARS}
        for path in [self.log_file, *(p for p in (self.data / "store").rglob("*") if p.is_file())]:
            written = path.read_bytes()
            name = path.name
            yield from (f"secret {s[:6]}… in {name}" for s in secrets if s.encode() in written)
            if "vaults" not in path.parts:
                yield from (f"words {w[:20]}… in {name}" for w in words if w.encode() in written)
        for path in (self.data / "store", *(self.data / "store").rglob("*")):
            with contextlib.suppress(FileNotFoundError):  # it is at work
                mode = stat.S_IMODE(path.stat().st_mode)
                if mode & 0o077:
                    yield f"{path.name} has mode {mode:o}"

    def leaks(self, request: Recorded) -> Iterator[str]:
        """What of ours stands in a request that a provider got."""
        everything = request.body + repr((request.path, request.query, request.headers)).encode()
        yield from (f"memory key {key[:6]}…" for key in self.keys if key.encode() in everything)
        yield from (f"header {n}" for n, _ in request.headers if n in OWN_HEADERS)
        yield from (f"query {q}" for q in OWN_QUERY if q in request.query)
        with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError):
            fields = msgspec.json.decode(request.body, type=dict[str, msgspec.Raw])
            yield from (f"field {name}" for name in OWN_FIELDS & fields.keys())


def raw_messages(request: Recorded, field: str = "messages") -> bytes:
    """The message list of a request as the provider got it, without its closing bracket."""
    raw = bytes(msgspec.json.decode(request.body, type=dict[str, msgspec.Raw])[field])
    return raw.strip().removesuffix(b"]").rstrip()
