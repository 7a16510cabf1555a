"""Ways to find the nearest vectors, each in a process of its own: time, memory, what is lost.

    python vectors_peer.py WAY ROWS.npy QUESTIONS.npy WANTED.npy

Prints one line of JSON. What is lost is told against WANTED, the rows that exact search by 32-bit
floats finds, best first.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

FOUND = 50
SELECTED = 2_000
"""Rows that a coarse first stage hands on."""
NARROW = 64
"""Numbers of a vector that one first stage looks at: static vectors were trained to be cut."""
Search = Callable[[Any], Any]


def rows(given: Any, count: int) -> Any:
    """`count` unit vectors like those given."""
    random = np.random.default_rng(1)
    made = np.empty((count, given.shape[1]), np.float32)
    for at in range(0, count, len(given)):
        part = given[: count - at]
        noise = random.standard_normal(part.shape, np.float32) * np.float32(at and 0.03)
        part = part + noise
        made[at : at + len(part)] = part / np.linalg.norm(part, axis=1, keepdims=True)
    return made


def small(vectors: Any) -> Any:
    """As the router stores them."""
    return np.clip(np.rint(vectors * 127), -127, 127).astype(np.int8)


def scaled(question: Any) -> Any:
    """As the router rounds a question."""
    return np.rint(question * (127 / np.abs(question).max())).astype(np.int8)


def best(scores: Any, count: int = FOUND) -> Any:
    """Places of the highest scores, best first."""
    count = min(count, len(scores))
    found = np.argpartition(scores, -count)[-count:]
    return found[np.argsort(-scores[found], kind="stable")]


def numpy_f32(vectors: Any) -> Search:
    return lambda q: best(vectors @ q)


def numpy_int8(vectors: Any) -> Search:
    held = small(vectors)

    def search(q: Any) -> Any:
        scores = np.empty(len(held), np.float32)
        for at in range(0, len(held), 4_096):
            scores[at : at + 4_096] = held[at : at + 4_096].astype(np.float32) @ q
        return best(scores)

    return search


def _simsimd(held: Any, cast: Callable[[Any], Any]) -> Search:
    import simsimd  # type: ignore[import-not-found]  # noqa: PLC0415

    def search(q: Any) -> Any:
        return best(np.asarray(simsimd.cdist(cast(q)[np.newaxis], held, "dot"))[0])

    return search


def simsimd_f32(vectors: Any) -> Search:
    return _simsimd(vectors, lambda q: q)


def simsimd_f16(vectors: Any) -> Search:
    return _simsimd(vectors.astype(np.float16), lambda q: q.astype(np.float16))


def simsimd_int8(vectors: Any) -> Search:
    return _simsimd(small(vectors), scaled)


def mapped_int8(vectors: Any) -> Search:
    path = Path(tempfile.mkdtemp()) / "rows.npy"
    np.save(path, small(vectors))
    return _simsimd(np.load(path, mmap_mode="r"), scaled)


def usearch_exact(vectors: Any) -> Search:
    from usearch.index import search as exact  # type: ignore[import-not-found]  # noqa: PLC0415

    held = small(vectors)
    return lambda q: exact(held, scaled(q), FOUND, "ip", exact=True).keys


def usearch_hnsw(vectors: Any) -> Search:
    from usearch.index import Index  # noqa: PLC0415

    index = Index(ndim=vectors.shape[1], metric="ip", dtype="i8", expansion_search=256)
    index.add(np.arange(len(vectors)), small(vectors), threads=2)
    return lambda q: index.search(scaled(q), FOUND).keys


def narrow_then_int8(vectors: Any) -> Search:
    """The first 64 numbers of all rows, then all numbers of the best 2,000."""
    import simsimd  # noqa: PLC0415

    held = small(vectors)
    narrow = np.ascontiguousarray(held[:, :NARROW])

    def search(q: Any) -> Any:
        asked = scaled(q)
        coarse = np.asarray(simsimd.cdist(asked[np.newaxis, :NARROW].copy(), narrow, "dot"))[0]
        chosen = best(coarse.astype(np.float32), SELECTED)
        return chosen[best(held[chosen].astype(np.float32) @ q)]

    return search


def bits_then_int8(vectors: Any) -> Search:
    """Signs of all rows by Hamming distance, then all numbers of the best 2,000."""
    import simsimd  # noqa: PLC0415

    held = small(vectors)
    bits = np.packbits(held > 0, axis=1)

    def search(q: Any) -> Any:
        asked = np.packbits(q[np.newaxis] > 0, axis=1)
        away = np.asarray(simsimd.cdist(asked, bits, "hamming", dtype="bin8"))[0]
        chosen = best(-away.astype(np.float32), SELECTED)
        return chosen[best(held[chosen].astype(np.float32) @ q)]

    return search


def _sqlite_vec(vectors: Any, kind: str, cast: Callable[[Any], bytes], call: str) -> Search:
    import apsw  # noqa: PLC0415
    import sqlite_vec  # type: ignore[import-not-found]  # noqa: PLC0415

    database = apsw.Connection(str(Path(tempfile.mkdtemp()) / "vec.db"))
    database.enable_load_extension(True)
    database.load_extension(sqlite_vec.loadable_path())
    width = vectors.shape[1]
    database.execute(f"CREATE VIRTUAL TABLE v USING vec0(e {kind}[{width}] distance_metric=cosine)")
    with database:
        database.executemany(
            f"INSERT INTO v (rowid, e) VALUES (?, {call})",
            ((n, cast(row)) for n, row in enumerate(vectors)),
        )
    asked = f"SELECT rowid FROM v WHERE e MATCH {call} AND k = {FOUND} ORDER BY distance"
    return lambda q: np.array([r[0] for r in database.execute(asked, (cast(q),))])


def sqlite_vec_f32(vectors: Any) -> Search:
    return _sqlite_vec(vectors, "float", lambda v: v.tobytes(), "?")


def sqlite_vec_int8(vectors: Any) -> Search:
    return _sqlite_vec(vectors, "int8", lambda v: small(v).tobytes(), "vec_int8(?)")


WAYS: dict[str, Callable[[Any], Search]] = {
    "numpy, f32": numpy_f32,
    "numpy, int8": numpy_int8,
    "simsimd, f32": simsimd_f32,
    "simsimd, f16": simsimd_f16,
    "simsimd, int8 (the router's)": simsimd_int8,
    "simsimd, int8, mapped file": mapped_int8,
    "usearch exact, int8": usearch_exact,
    "sqlite-vec, f32": sqlite_vec_f32,
    "sqlite-vec, int8": sqlite_vec_int8,
    "64 numbers first, then int8": narrow_then_int8,
    "signs first, then int8": bits_then_int8,
    "usearch HNSW, int8": usearch_hnsw,
}


def main(way: str, vectors: str, questions: str, right: str) -> None:
    """Measure one way."""
    held, asked, wanted = np.load(vectors), np.load(questions), np.load(right)
    begin = time.perf_counter()
    search = WAYS[way](held)
    made_s = time.perf_counter() - begin
    if way not in ("numpy, f32", "simsimd, f32"):
        del held
    search(asked[0])
    took, found = [], {10: 0.0, 50: 0.0}
    for question, best_rows in zip(asked, wanted, strict=True):
        begin = time.perf_counter()
        hits = search(question)
        took.append((time.perf_counter() - begin) * 1_000)
        for k in found:
            found[k] += len(set(hits[:k].tolist()) & set(best_rows[:k].tolist())) / k
    status = Path("/proc/self/status").read_text()
    rss_kb = int(status.split("VmRSS:")[1].split()[0])
    print(
        json.dumps(
            {
                "p50 ms": float(np.percentile(took, 50)),
                "p99 ms": float(np.percentile(took, 99)),
                **{f"of the best {k}, %": 100 * n / len(asked) for k, n in found.items()},
                "made in s": made_s,
                "RSS MB": rss_kb / 1_024,
            }
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
