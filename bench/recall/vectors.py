"""`python -m bench.recall.vectors LOCOMO`: which vector search, by measurement.

Exact search over arrays, sqlite-vec, and searches in two stages or by a graph: time, memory and
what is lost, in vaults of several sizes; and the router's own store with very many vaults.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import tempfile
import time
import venv
from pathlib import Path
from typing import Any

import numpy as np

from memrouter.domain import NewTurn, Scope, VaultId
from memrouter.embed.static import StaticEmbedder
from memrouter.ports import Ready
from memrouter.store.sqlite.vaults import SqliteVaultStore

from . import locomo
from .local import new_turn
from .options import BUILD, BenchError
from .peers import vectors_peer
from .peers.vectors_peer import WAYS
from .report import console, machine, progress, table

PACKAGES = ("numpy", "simsimd", "usearch", "sqlite-vec", "apsw-sqlite3mc")
SCRIPT = Path(__file__).parent / "peers" / "vectors_peer.py"
SLOW = {"sqlite-vec, f32": 100_000, "sqlite-vec, int8": 100_000, "usearch HNSW, int8": 100_000}
"""Ways that take minutes to fill beyond this many rows, unless --all is given."""


def main() -> None:
    """Measure, print tables, write JSON."""
    p = argparse.ArgumentParser(prog="python -m bench.recall.vectors", description=__doc__)
    p.add_argument("locomo", type=Path, help="locomo10.json, for real vectors and questions")
    p.add_argument("--sizes", default="1000,10000,100000,1000000")
    p.add_argument("--ways", default=";".join(WAYS), help="some of these, by semicolons")
    p.add_argument("--all", action="store_true", help="also what takes minutes to fill")
    p.add_argument("--vaults", type=int, default=0, help="measure the store with this many vaults")
    p.add_argument("--json", type=Path, default=BUILD / "vectors.json")
    given = p.parse_args()
    result: dict[str, Any] = {"machine": machine()}
    sizes = [int(size) for size in given.sizes.split(",") if size]
    result["ways"] = _ways(given.locomo, sizes, given.ways.split(";"), everything=given.all)
    if given.vaults:
        result["vaults"] = asyncio.run(_many_vaults(given.locomo, given.vaults))
    given.json.parent.mkdir(parents=True, exist_ok=True)
    given.json.write_text(json.dumps(result, indent=1) + "\n")


def _ways(path: Path, sizes: list[int], ways: list[str], *, everything: bool) -> dict[str, Any]:
    python = _environment()
    found: dict[str, Any] = {}
    turns, questions = asyncio.run(_real(path)) if sizes else (None, None)
    with tempfile.TemporaryDirectory() as folder:
        for size in sizes:
            files = _written(Path(folder), vectors_peer.rows(turns, size), questions)
            rows: list[list[object]] = []
            chosen = [w for w in ways if everything or size <= SLOW.get(w, size)]
            with progress(f"{size:,} rows", len(chosen)) as step:
                for way in chosen:
                    row = _measured(python, way, files)
                    found[f"{size}: {way}"] = row
                    shown = [f"{v:.2f}" for v in list(row.values())[:2]] if row else ["failed"]
                    rows.append([way, *shown, *list(row.values())[2:]])
                    step()
            columns = ("", *next(iter(r for r in found.values() if r)))
            table(f"{size:,} rows of 256 numbers", columns, rows)
    return found


def _measured(python: Path, way: str, files: list[Path]) -> dict[str, float]:
    one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    done = subprocess.run(
        [python, SCRIPT, way, *files],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **one},
    )
    if done.returncode:
        console.print(f"{way}: {done.stderr.strip().splitlines()[-1]}", markup=False)
        return {}
    return dict(json.loads(done.stdout.splitlines()[-1]))


def _written(folder: Path, rows: Any, questions: Any) -> list[Path]:
    """Rows, questions, and which rows are right, as files."""
    wanted = np.stack([vectors_peer.best(rows @ q) for q in questions])
    files = [folder / "rows.npy", folder / "questions.npy", folder / "wanted.npy"]
    for file, content in zip(files, (rows, questions, wanted), strict=True):
        np.save(file, content)
    return files


async def _real(path: Path) -> tuple[Any, Any]:
    """Vectors of LoCoMo's turns and of 100 of its questions."""
    histories, embedder = locomo.load(path), StaticEmbedder()
    turns = await embedder.passages([t.text for h in histories for t in h.turns])
    asked = [q.text for h in histories for q in h.answerable][::13]
    questions = np.stack([(await embedder.query(text, {})).plain for text in asked[:100]])
    return turns, questions


async def _many_vaults(path: Path, count: int) -> dict[str, float]:
    """A store with many vaults of 100 memories: the first look into each, and the next ones."""
    turns = [new_turn(turn) for turn in locomo.load(path)[0].turns[:100]]
    embedder = StaticEmbedder()
    pieces = [piece.text for turn in turns for piece in turn.pieces]
    ready = Ready(embedder=embedder.name, vectors=await embedder.passages(pieces))
    with tempfile.TemporaryDirectory() as folder:
        store = SqliteVaultStore(Path(folder))
        vaults = [VaultId(f"{n:032x}"[::-1]) for n in range(count)]
        begin = time.perf_counter()
        with progress(f"{count:,} vaults", count) as step:
            for at in range(0, count, 16):
                await asyncio.gather(
                    *(_filled(store, v, turns, ready) for v in vaults[at : at + 16])
                )
                step(16)
        filled_s = time.perf_counter() - begin
        await store.close()
        store = SqliteVaultStore(Path(folder))
        first = [await _looked(store, vault) for vault in vaults]
        again = [await _looked(store, vault) for vault in vaults[-100:] * 5]
        rss_kb = int(Path("/proc/self/status").read_text().split("VmRSS:")[1].split()[0])
        size = sum(f.stat().st_size for f in Path(folder).rglob("*.db"))
        await store.close()
    found = {
        "filled in s": filled_s,
        "first look p50 ms": float(np.percentile(first, 50)),
        "first look p99 ms": float(np.percentile(first, 99)),
        "next look p50 ms": float(np.percentile(again, 50)),
        "next look p99 ms": float(np.percentile(again, 99)),
        "RSS MB": rss_kb / 1_024,
        "KB a vault": size / count / 1_024,
    }
    shown = [f"{v:.2f}" for v in found.values()]
    table(f"{count:,} vaults of 100 memories", ("", *found), [["the router's store", *shown]])
    return found


async def _filled(
    store: SqliteVaultStore, vault: VaultId, turns: list[NewTurn], ready: Ready
) -> None:
    await store.remember(vault, turns, now=turns[-1].created, ready=ready)


async def _looked(store: SqliteVaultStore, vault: VaultId) -> float:
    begin = time.perf_counter()
    await store.signals(Scope(vault=vault))
    return (time.perf_counter() - begin) * 1_000


def _environment() -> Path:
    folder = BUILD / "vectors"
    python = folder / "bin" / "python"
    if not (folder / "ready").exists():
        venv.create(folder, with_pip=True, clear=True)
        pip = [python, "-m", "pip", "install", "-q", *PACKAGES]
        done = subprocess.run(pip, capture_output=True, text=True, check=False)
        if done.returncode:
            raise BenchError(f"installing {', '.join(PACKAGES)} failed:\n{done.stderr[-1000:]}")
        (folder / "ready").touch()
    return python


if __name__ == "__main__":
    main()
