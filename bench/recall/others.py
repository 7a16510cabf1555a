"""What memrouter is compared with: BM25 alone, vectors alone, other memories as they install."""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
import venv
from asyncio.subprocess import PIPE, Process
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from math import log
from pathlib import Path
from typing import Any

import numpy as np
from aiohttp import web

from memrouter.embed.static import StaticEmbedder
from memrouter.memory import analysis

from .data import History
from .options import BUILD, BenchError

PACKAGES = {"mem0": "mem0ai", "engram": "engram-proxy"}
DEEPEST = {"engram": 10}
"""Down to which place a peer ranks; all others as far as asked."""


class Bm25:
    """Okapi BM25 as the books have it, k1 1.2 and b 0.75, over our stems without function words."""

    name = "BM25 alone"

    async def remember(self, history: History) -> _Bm25Memory:
        """See Subject.remember."""
        return _Bm25Memory([analysis.terms(turn.text) for turn in history.turns])

    async def close(self) -> None:
        """Nothing to close."""


class _Bm25Memory:
    def __init__(self, texts: Sequence[Sequence[str]]) -> None:
        self._counts = [Counter(words) for words in texts]
        self._lengths = np.array([len(words) for words in texts], float)
        self._found = Counter(word for counts in self._counts for word in counts)

    async def search(self, question: str, limit: int, now: datetime | None = None) -> list[int]:
        """See Memory.search."""
        del now
        total = len(self._counts)
        score = np.zeros(total)
        norm = 1.2 * (0.25 + 0.75 * self._lengths / max(self._lengths.mean(), 1e-9))
        for word in set(analysis.terms(question)):
            matches = self._found[word]
            weight = log(1 + (total - matches + 0.5) / (matches + 0.5))
            held = np.array([counts[word] for counts in self._counts], float)
            score += weight * 2.2 * held / (held + norm)
        return [int(n) for n in np.argsort(-score, kind="stable")[:limit]]


class Dense:
    """The default embedder alone: cosine of question and turn."""

    name = "vectors alone"

    def __init__(self) -> None:
        self._embedder = StaticEmbedder()

    async def remember(self, history: History) -> _DenseMemory:
        """See Subject.remember."""
        vectors = await self._embedder.passages([turn.text for turn in history.turns])
        return _DenseMemory(self._embedder, vectors)

    async def close(self) -> None:
        """Nothing to close."""


class _DenseMemory:
    def __init__(self, embedder: StaticEmbedder, vectors: Any) -> None:
        self._embedder = embedder
        self._vectors = vectors

    async def search(self, question: str, limit: int, now: datetime | None = None) -> list[int]:
        """See Memory.search."""
        del now
        asked = (await self._embedder.query(question, {})).plain
        return [int(n) for n in np.argsort(-(self._vectors @ asked), kind="stable")[:limit]]


class External:
    """A memory from the package registry, in a process and an environment of its own."""

    def __init__(self, peer: str, process: Process, served: web.AppRunner, folder: Path) -> None:
        self._peer = peer
        self._process = process
        self._served = served
        self._folder = folder

    @property
    def name(self) -> str:
        return f"{PACKAGES[self._peer]} {_version(self._peer)}"

    async def remember(self, history: History) -> _ExternalMemory:
        """See Subject.remember."""
        turns = [{"text": t.text, "role": t.role, "session": t.session} for t in history.turns]
        await self.ask({"op": "remember", "history": history.name, "turns": turns})
        return _ExternalMemory(self, history.name)

    async def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """One request, one answer."""
        given, answers = self._process.stdin, self._process.stdout
        assert given is not None
        assert answers is not None
        given.write(json.dumps(request).encode() + b"\n")
        await given.drain()
        while line := await answers.readline():
            if line.startswith(b"{"):
                return dict(json.loads(line))
        raise BenchError(f"{PACKAGES[self._peer]} ended; its messages are above")

    async def close(self) -> None:
        """End the process and delete what it wrote."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()
        await self._served.cleanup()
        shutil.rmtree(self._folder, ignore_errors=True)


class _ExternalMemory:
    def __init__(self, peer: External, history: str) -> None:
        self._peer = peer
        self._history = history

    async def search(self, question: str, limit: int, now: datetime | None = None) -> list[int]:
        """See Memory.search."""
        del now
        asked = {"op": "search", "history": self._history, "question": question, "limit": limit}
        return list((await self._peer.ask(asked))["places"])


async def start(peer: str) -> External:
    """Install a peer on first use, serve it our embedder, and start it."""
    python = await asyncio.to_thread(_environment, peer)
    runner = web.AppRunner(_embeddings(StaticEmbedder()))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    folder = Path(tempfile.mkdtemp(prefix=f"recall-{peer}-"))
    script = Path(__file__).parent / "peers" / f"{peer}_peer.py"
    process = await asyncio.create_subprocess_exec(
        python, script, f"http://127.0.0.1:{port}", folder, stdin=PIPE, stdout=PIPE, limit=1 << 26
    )
    return External(peer, process, runner, folder)


def _environment(peer: str) -> Path:
    folder = BUILD / peer
    python = folder / "bin" / "python"
    if not _version(peer):
        venv.create(folder, with_pip=True, clear=True)
        _install(python, PACKAGES[peer])
    return python


def _install(python: Path, package: str) -> None:
    import subprocess  # noqa: PLC0415 - only on first use

    done = subprocess.run(
        [python, "-m", "pip", "install", "-q", package], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise BenchError(f"installing {package} failed:\n{done.stderr[-1000:]}")


def _version(peer: str) -> str:
    package = PACKAGES[peer].replace("-", "_")
    found = sorted((BUILD / peer).glob(f"lib/python*/site-packages/{package}-*.dist-info"))
    return found[-1].name.split("-")[1].removesuffix(".dist") if found else ""


def _embeddings(embedder: StaticEmbedder) -> web.Application:
    """Our embedder as an OpenAI-compatible endpoint, and as Ollama has it."""

    async def vectors(request: web.Request) -> tuple[list[str], list[list[float]]]:
        given = (await request.json())["input"]
        texts = [given] if isinstance(given, str) else list(given)
        return texts, (await embedder.passages(texts)).tolist()

    async def openai(request: web.Request) -> web.Response:
        texts, found = await vectors(request)
        data = [{"object": "embedding", "index": n, "embedding": v} for n, v in enumerate(found)]
        usage = {"prompt_tokens": len(texts), "total_tokens": len(texts)}
        return web.json_response(
            {"object": "list", "model": embedder.name, "data": data, "usage": usage}
        )

    async def ollama(request: web.Request) -> web.Response:
        return web.json_response({"embeddings": (await vectors(request))[1]})

    app = web.Application()
    app.router.add_post("/v1/embeddings", openai)
    app.router.add_post("/api/embed", ollama)
    return app
