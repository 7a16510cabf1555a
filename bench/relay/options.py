"""The command line of the bench: parsed once, frozen afterwards."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

SECTIONS = ("latency", "throughput", "streams", "memory", "workers", "cold", "upload", "many")
CONTENDERS = ("direct", "nginx", "litellm", "portkey", "off", "on-1k", "on-10k")
BUILD = Path(__file__).resolve().parent.parent / ".build"


class BenchError(Exception):
    """The bench cannot go on; the message says what is wrong and what to do."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to measure and how; every size a user may want smaller."""

    sections: tuple[str, ...]
    contenders: tuple[str, ...]
    rounds: int
    seconds: float  # of one measurement
    warm: float  # seconds of load, plain and streamed each, before the first round
    bodies: tuple[int, ...]  # bytes
    clients: tuple[int, ...]
    users: int  # vaults behind on-1k
    memories: int  # in each of them
    large_users: int  # vaults behind on-10k
    large_memories: int
    many: int  # vaults on disk in section many
    minutes: float  # of load in section memory
    upload_lines: int
    memrouter: tuple[str, ...]  # argv that serves
    workers_flag: str  # appended to argv, {n} replaced
    json: Path
    fresh: bool

    @property
    def router(self) -> bool:
        """Is memrouter itself among what is measured?"""
        return any(name in self.contenders for name in ("off", "on-1k", "on-10k"))


def _size(text: str) -> int:
    """Bytes of `20k` or `400000`."""
    return int(text[:-1]) * 1000 if text[-1:] in "kK" else int(text)


def _parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="python -m bench.relay",
        description=__doc__,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    beside = Path(sys.executable).parent / "memrouter"
    p.add_argument("sections", nargs="*", metavar="SECTION", help="some of: " + " ".join(SECTIONS))
    p.add_argument("--only", default=",".join(CONTENDERS), help="contenders, comma-separated")
    p.add_argument("--rounds", type=int, default=5, help="rounds, interleaved")
    p.add_argument("--seconds", type=float, default=2.0, help="length of one measurement")
    p.add_argument("--warm", type=float, default=6.0, help="warm-up before the first round")
    p.add_argument("--bodies", default="1k,20k,400k", help="request sizes")
    p.add_argument("--clients", default="1,8,64", help="numbers of clients")
    p.add_argument("--users", type=int, default=1000, help="users, a vault each")
    p.add_argument("--memories", type=int, default=1000, help="memories a vault (on-1k)")
    p.add_argument("--large-users", type=int, default=16, help="users with large vaults")
    p.add_argument("--large-memories", type=int, default=10_000, help="memories in each (on-10k)")
    p.add_argument("--many", type=int, default=100_000, help="vaults on disk (section many)")
    p.add_argument("--minutes", type=float, default=10, help="length of the load (section memory)")
    p.add_argument("--upload-lines", type=int, default=10_000, help="lines (section upload)")
    p.add_argument("--memrouter", default=f"{beside} serve", help="command that serves")
    p.add_argument("--workers-flag", default="--workers {n}", help="how it is given n workers")
    p.add_argument("--json", type=Path, default=BUILD / "relay.json", help="where results go")
    p.add_argument("--fresh", action="store_true", help="prepare all vaults anew")
    p.add_argument("--quick", action="store_true", help="a rough look in under two minutes")
    return p


def _quick(given: argparse.Namespace) -> None:
    """Make everything small: a look, not a measurement."""
    given.rounds, given.seconds, given.bodies, given.clients = 2, 0.4, "20k", "1,64"
    given.users, given.memories, given.large_users, given.warm = 40, 200, 2, 1.0
    given.large_memories, given.upload_lines, given.minutes, given.many = 1000, 2000, 0.2, 300
    if not given.sections:
        given.sections = ["latency", "throughput", "streams", "cold"]


def _chosen(given: list[str], known: tuple[str, ...], what: str) -> tuple[str, ...]:
    """Those of `known` that are given, in the order of `known`."""
    wrong = sorted(set(given) - set(known))
    if wrong:
        raise BenchError(f"no such {what}: {', '.join(wrong)}; known: {', '.join(known)}")
    return tuple(name for name in known if name in given)


def parse(argv: list[str]) -> Options:
    """Options from the command line; BenchError names what is wrong."""
    given = _parser().parse_args(argv)
    if given.quick:
        _quick(given)
    argv_serve = tuple(shlex.split(os.path.expandvars(given.memrouter)))
    return Options(
        sections=_chosen(given.sections or list(SECTIONS), SECTIONS, "section"),
        contenders=_chosen(["direct", *given.only.split(",")], CONTENDERS, "contender"),
        rounds=given.rounds,
        seconds=given.seconds,
        warm=given.warm,
        bodies=tuple(_size(b) for b in given.bodies.split(",")),
        clients=tuple(int(c) for c in given.clients.split(",")),
        users=given.users,
        memories=given.memories,
        large_users=given.large_users,
        large_memories=given.large_memories,
        many=given.many,
        minutes=given.minutes,
        upload_lines=given.upload_lines,
        memrouter=argv_serve,
        workers_flag=given.workers_flag,
        json=given.json,
        fresh=given.fresh,
    )
