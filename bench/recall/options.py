"""The command line of the bench: parsed once, frozen afterwards."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

SECTIONS = (
    "locomo", "assistant", "budgets", "silence", "time", "languages", "longmemeval", "encoder",
    "ablations", "latency", "peers",
)  # fmt: skip
PEERS = ("bm25", "dense", "mem0", "engram")
BUILD = Path(__file__).resolve().parent.parent / ".build"


class BenchError(Exception):
    """The bench cannot go on; the message says what is wrong and what to do."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to measure and how."""

    locomo: Path
    longmemeval: Path | None
    limit: int | None
    encoder: Path | None
    pooling: str
    query_prefix: str
    http: str | None
    account_key: str
    sections: tuple[str, ...]
    peers: tuple[str, ...]
    sizes: tuple[int, ...]
    json: Path
    quick: bool


def _parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="python -m bench.recall",
        description="Measure recall: what is found, what it costs, what stays silent.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    p.add_argument("locomo", type=Path, help="locomo10.json, which is not part of the repository")
    p.add_argument("--longmemeval", type=Path, help="a LongMemEval file, oracle or S")
    p.add_argument("--limit", type=int, help="LongMemEval questions at most")
    p.add_argument("--encoder", type=Path, help="folder of an ONNX sentence encoder")
    p.add_argument("--pooling", default="", choices=["", "cls", "mean"], help="of that encoder")
    p.add_argument("--query-prefix", default="", help="of that encoder")
    p.add_argument("--http", help="base URL of a running router; default: in process")
    p.add_argument("--account-key", default="", help="account key of that router")
    p.add_argument("--sections", default=",".join(SECTIONS), help="some of these")
    p.add_argument("--peers", default="bm25,dense", help=f"some of {','.join(PEERS)}, or all")
    p.add_argument("--sizes", default="1000,10000,100000", help="memories, section latency")
    p.add_argument("--json", type=Path, default=BUILD / "recall.json", help="where results go")
    p.add_argument("--quick", action="store_true", help="two conversations, no large vaults")
    return p


def _chosen(given: str, known: tuple[str, ...], what: str) -> tuple[str, ...]:
    names = known if given == "all" else tuple(given.split(","))
    wrong = sorted(set(names) - set(known))
    if wrong:
        raise BenchError(f"no such {what}: {', '.join(wrong)}; known: {', '.join(known)}")
    return tuple(name for name in known if name in names)


def parse(argv: list[str]) -> Options:
    """Options from the command line; BenchError names what is wrong."""
    given = _parser().parse_args(argv)
    for path in (given.locomo, given.longmemeval, given.encoder):
        if path is not None and not path.exists():
            raise BenchError(f"{path} does not exist")
    if given.http and not given.account_key:
        raise BenchError("--http needs --account-key, with which it mints a key for each history")
    sizes = tuple(int(size) for size in given.sizes.split(","))
    return Options(
        locomo=given.locomo,
        longmemeval=given.longmemeval,
        limit=given.limit,
        encoder=given.encoder,
        pooling=given.pooling,
        query_prefix=given.query_prefix,
        http=given.http,
        account_key=given.account_key,
        sections=_chosen(given.sections, SECTIONS, "section"),
        peers=_chosen(given.peers, PEERS, "peer"),
        sizes=tuple(s for s in sizes if s <= 10_000) if given.quick else sizes,
        json=given.json,
        quick=given.quick,
    )
