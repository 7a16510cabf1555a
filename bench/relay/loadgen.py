"""Runs the load generator and reads its figures; the mock provider's side of it too."""

from __future__ import annotations

import http.client
import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import texts
from .options import BUILD, BenchError
from .processes import Layout, Server, pinned

TURNS = 4  # exchanges a conversation grows by before the next starts
EVENTS = 50
QUESTIONS = 5003  # a prime, so that strides through them visit all


@dataclass(frozen=True, kw_only=True)
class Shape:
    """One kind of request: its size in bytes, and whether and how it is streamed."""

    body: int = 20_000
    stream: bool = False
    gap_ms: int = 0


@dataclass(frozen=True, kw_only=True)
class Quantiles:
    """A distribution in microseconds."""

    count: int
    mean: float
    p50: float
    p90: float
    p99: float
    p999: float
    max: float


@dataclass(frozen=True, kw_only=True)
class Load:
    """What one run of the generator saw."""

    requests: int
    errors: int
    reconnects: int
    seconds: float
    turns: int  # most turns one user had, to go on from
    events: int
    events_min: int
    events_max: int
    bytes_min: int
    bytes_max: int
    latency: Quantiles
    first_byte: Quantiles
    event_delay: Quantiles
    first_error: str


def _load(raw: Mapping[str, Any]) -> Load:
    spread = {k: Quantiles(**raw[k]) for k in ("latency", "first_byte", "event_delay")}
    return Load(**{**raw, **spread})


class Generator:
    """The load generator with the files it reads; one for a whole run of the bench."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        reply, asked = texts.reply(), texts.questions(QUESTIONS)
        (folder / "reply").write_text(reply)
        (folder / "questions").write_text("\n".join(texts.escaped(q) for q in asked))
        question = sum(map(len, asked)) // len(asked)
        self._exchange = int((TURNS - 1) / 2 * (len(reply) + question + 80) + question + 200)

    def write(self, name: str, content: bytes) -> Path:
        """Keep `content` in a file for the generator."""
        path = self.folder / name
        path.write_bytes(content)
        return path

    def _files(self, shape: Shape) -> list[str]:
        head = self.folder / f"head-{shape.body}"
        if not head.exists():
            head.write_bytes(texts.chat_head(shape.body, exchange=self._exchange))
        tail = self.folder / f"tail-{shape.stream}-{shape.gap_ms}"
        tail.write_bytes(texts.chat_tail(stream=shape.stream, gap_ms=shape.gap_ms))
        return [f"head={head}", f"tail={tail}"]

    def run(
        self,
        port: int,
        users: Path,
        shape: Shape,
        cores: Layout,
        *,
        clients: int,
        seconds: float = 0,
        each: int = 0,
        offset: int = 0,
        extra: Path | None = None,
        length: int = 0,
        events: int = 0,
    ) -> Load:
        """Load the server at `port` for `seconds`, or with `each` visits of every user.

        users   file with one credential header line per user
        offset  turns the users have had with this number of clients
        extra   file with further header lines, each ended by CRLF
        length  bytes that every answer must have, 0 for any
        events  events that every stream must have, 0 for any
        """
        argv = [
            str(BUILD / "load"),
            *self._files(shape),
            f"port={port}",
            f"users={users}",
            f"questions={self.folder / 'questions'}",
            f"reply={self.folder / 'reply'}",
            f"turns={TURNS}",
            f"clients={clients}",
            f"seconds={seconds}",
            f"each={each}",
            f"offset={offset}",
            f"salt={clients}",
            f"bytes={length}",
            f"events={events}",
        ]
        if extra:
            argv.append(f"extra={extra}")
        with pinned(cores.rest):
            done = subprocess.run(argv, capture_output=True, text=True, check=False)
        if done.returncode:
            raise BenchError(f"the load generator failed: {done.stderr.strip()}")
        return _load(json.loads(done.stdout))


def mock_provider(generator: Generator, port: int, cores: Layout) -> Server:
    """Start the mock provider at `port`; it answers with the generator's reply."""
    argv = [str(BUILD / "mock"), f"port={port}", f"reply={generator.folder / 'reply'}"]
    return Server("mock", argv, port=port, cores=cores.rest)


def seen_by_mock(port: int) -> dict[str, int]:
    """The mock provider's counters: requests, streams, with_context, body_bytes."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/stats")
        counters: dict[str, int] = json.loads(connection.getresponse().read())
    finally:
        connection.close()
    return counters
