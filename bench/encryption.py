"""What encrypting vaults costs: `python -m bench.encryption`. Plain and encrypted, in turn."""

from __future__ import annotations

import asyncio
import os
import statistics
import tempfile
import time
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from memrouter.domain import NewTurn, Piece, Scope, VaultId
from memrouter.ports import Ready
from memrouter.secrets import VAULT_KEYS, Sealer
from memrouter.store.sqlite.files import Files
from memrouter.store.sqlite.vaults import SqliteVaultStore

NOW = datetime(2026, 6, 5, tzinfo=UTC)
SIZES = (1_000, 10_000)
ROUNDS = 15
DIMENSION = 256
SECRET = "a secret of the benchmark"


def turn(number: int) -> NewTurn:
    """A turn of 60 words."""
    text = " ".join(f"word{(number * 61 + n) % 9_973}" for n in range(60))
    piece = Piece(text=text, tokens=80, terms=np.arange(60, dtype="<u4").tobytes())
    return NewTurn(role="user", text=text, created=NOW, pieces=(piece,), digest=os.urandom(16))


def opened(folder: Path, *, encrypt: bool, cached: bool = True) -> SqliteVaultStore:
    """A store over a folder of its own kind."""
    files = Files(folder, Sealer(SECRET, VAULT_KEYS), encrypt=encrypt)
    return SqliteVaultStore(folder, files=files, cache_bytes=(1 << 28) if cached else 0)


async def fill(folder: Path, vault: VaultId, size: int, *, encrypt: bool) -> None:
    """Make a vault."""
    store = opened(folder, encrypt=encrypt)
    for at in range(0, size, 1_000):
        turns = [turn(at + n) for n in range(1_000)]
        vectors = np.random.default_rng(at).normal(size=(1_000, DIMENSION)).astype(np.float32) / 8
        ready = Ready(embedder="bench", vectors=vectors)
        await store.remember(vault, turns, now=NOW, ready=ready)
    await store.close()


async def once(folder: Path, vault: VaultId, *, encrypt: bool) -> dict[str, float]:
    """One round: milliseconds by what was done."""
    took: dict[str, float] = {}
    store, scope = opened(folder, encrypt=encrypt), Scope(vault=vault)
    began = time.perf_counter()
    signals = await store.signals(scope)
    await store.chunks(vault, signals.ids[-30:].tolist())
    took["recall, vault not open, ms"] = (time.perf_counter() - began) * 1e3
    began = time.perf_counter()
    for _ in range(20):
        signals = await store.signals(scope)
        await store.chunks(vault, signals.ids[-30:].tolist())
    took["recall, vault in use, ms"] = (time.perf_counter() - began) * 1e3 / 20
    began, cpu = time.perf_counter(), time.process_time()
    for number in range(30):
        await store.remember(vault, [turn(number)], now=NOW)
    took["commit of a turn, ms"] = (time.perf_counter() - began) * 1e3 / 30
    took["commit of a turn, ms of CPU"] = (time.process_time() - cpu) * 1e3 / 30
    await store.close()
    return took


async def main(folder: Path) -> None:
    """Print the table."""
    table = Table("memories", "", "plain", "encrypted", "ratio", box=None)
    for size in SIZES:
        found: dict[tuple[bool, str], list[float]] = defaultdict(list)
        vault = VaultId(f"ab{size}")
        for encrypt in (False, True):
            await fill(folder / str(encrypt), vault, size, encrypt=encrypt)
        for round in range(ROUNDS):
            for encrypt in ((False, True), (True, False))[round % 2]:
                took = await once(folder / str(encrypt), vault, encrypt=encrypt)
                for what, ms in took.items():
                    found[encrypt, what].append(ms)
        for what in took:
            plain, sealed = (statistics.median(found[kind, what]) for kind in (False, True))
            ratio = f"{sealed / plain:.2f}"
            table.add_row(f"{size:,}", what, f"{plain:.3f}", f"{sealed:.3f}", ratio)
    Console().print(table)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        asyncio.run(main(Path(made)))
