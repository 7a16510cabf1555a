"""`python -m bench.drills.fuzz`: a million odd inputs to every parser; see fuzz_targets.py.

Inputs are made from the tests' own data by mutation. What breaks a property, raises, or takes
longer than its time is written to `--finds`, as small as it can be made; the number of a run's
inputs and its seed make it again.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import random
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from rich.console import Console

from . import telling
from .fuzz_targets import TARGETS, Target
from .mutation import Mutator

_ROOT = Path(__file__).resolve().parents[2]
CORPUS = _ROOT / "tests" / "data" / "fuzz"
_WIRE = _ROOT / "tests" / "data" / "wire"
_MOST_FINDS = 5  # of a target
_SHRINK_S = 10.0


class Hang(BaseException):
    """An input took too long. Not an Exception: nothing may catch it on the way."""


@dataclass(slots=True)
class Result:
    """What a target did with its inputs."""

    name: str
    inputs: int = 0
    took_s: float = 0.0
    slowest_s: float = 0.0
    finds: dict[str, bytes] = field(default_factory=dict)
    """What went wrong → the smallest input that shows it."""


def seeds(name: str) -> list[bytes]:
    """What the inputs of a target are made from."""
    kind, _, wire = name.partition(" ")
    found = [path.read_bytes() for path in sorted((CORPUS / name.replace(" ", "_")).glob("*"))]
    match kind:
        case "body":
            found += _files(wire, "request.json", "forwarded.json")
        case "reply":
            found += _files(wire, "reply.json")
        case "stream":
            found += _files(wire, "stream.txt")
        case "sse":
            found += [data for one in _WIRE.iterdir() for data in _files(one.name, "stream.txt")]
        case "editing":
            found += [data for one in _WIRE.iterdir() for data in _files(one.name, "turns.json")]
        case "decoding":
            found += _files("openai_chat", "reply.json")
    return found


def _files(wire: str, *names: str) -> list[bytes]:
    folder = _WIRE / wire
    if not folder.is_dir():
        return []
    return [p.read_bytes() for name in names for p in sorted(folder.glob(f"*/{name}"))]


@contextlib.contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raise Hang in what takes longer."""

    def ring(_signal: int, _frame: FrameType | None) -> None:
        raise Hang

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def broken(target: Target, data: bytes, seconds: float) -> str:
    """What is wrong, in few words that are the same for the same fault; "" if nothing is."""
    try:
        with limited(seconds):
            target(data)
    except Hang:
        return "hang"
    except Exception as e:  # noqa: BLE001 - finding them is what this is for
        frame = e.__traceback__
        while frame is not None and frame.tb_next is not None:
            frame = frame.tb_next
        where = "" if frame is None else f"{Path(frame.tb_frame.f_code.co_filename).name}"
        line = 0 if frame is None else frame.tb_lineno
        what = str(e).splitlines()[0][:60] if isinstance(e, AssertionError) and str(e) else ""
        return f"{type(e).__name__} at {where}:{line} {what}".strip()
    return ""


def smaller(target: Target, data: bytes, fault: str, seconds: float) -> bytes:
    """The input, cut down as long as the same goes wrong."""
    until = time.monotonic() + _SHRINK_S
    size = len(data) // 2
    while size and time.monotonic() < until:
        at = 0
        while at < len(data) and time.monotonic() < until:
            shorter = data[:at] + data[at + size :]
            if broken(target, shorter, seconds) == fault:
                data = shorter
            else:
                at += size
        size //= 2
    return data


def run(name: str, inputs: int, seed: int, seconds: float) -> Result:
    """Feed a target; stop early if it keeps failing."""
    target = TARGETS[name]
    result = Result(name)
    dice = random.Random(f"{seed} {name}")
    mutator = Mutator(seeds(name), dice)
    begun = time.monotonic()
    for _ in range(inputs):
        data = mutator.next()
        started = time.monotonic()
        fault = broken(target, data, seconds)
        result.slowest_s = max(result.slowest_s, time.monotonic() - started)
        result.inputs += 1
        if fault and fault not in result.finds:
            result.finds[fault] = smaller(target, data, fault, seconds)
            if len(result.finds) >= _MOST_FINDS:
                break
    result.took_s = time.monotonic() - begun
    return result


def kept(name: str) -> Result:
    """Every kept input of a target once, unchanged."""
    result = Result(name)
    for data in seeds(name):
        result.inputs += 1
        if fault := broken(TARGETS[name], data, 10.0):
            result.finds[fault] = data
    return result


def _report(results: list[Result], console: Console) -> None:
    title = f"{sum(r.inputs for r in results):,} inputs"
    columns = ("target", "inputs", "a second", "slowest ms", "finds")
    table = telling.table(title, columns, ("target",))
    for r in results:
        rate = f"{r.inputs / r.took_s:,.0f}" if r.took_s else ""
        slowest = f"{r.slowest_s * 1000:.0f}"
        table.add_row(r.name, f"{r.inputs:,}", rate, slowest, str(len(r.finds)))
    console.print(table)
    for r in results:
        for fault, data in r.finds.items():
            console.print(f"{r.name}: {fault}", markup=False, style="red")
            console.print(f"   {data[:300]!r}", markup=False)


def main() -> int:
    """0 if nothing was found, 1 if something was."""
    parser = argparse.ArgumentParser(prog="python -m bench.drills.fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=1_000_000, help="of all targets together")
    parser.add_argument("--only", action="append", choices=sorted(TARGETS), metavar="TARGET")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 31))
    parser.add_argument("--timeout", type=float, default=2.0, help="seconds that an input may take")
    parser.add_argument("--finds", type=Path, default=_ROOT / "bench" / ".build" / "finds")
    options = parser.parse_args()
    names = options.only or list(TARGETS)
    console = Console()
    console.print(f"seed {options.seed}")
    results = []
    for name in names:
        results.append(run(name, options.inputs // len(names), options.seed, options.timeout))
        print(f"{name}: {results[-1].inputs} inputs, {len(results[-1].finds)} finds", flush=True)
        for data in results[-1].finds.values():
            folder = options.finds / name.replace(" ", "_")
            folder.mkdir(parents=True, exist_ok=True)
            (folder / hashlib.sha256(data).hexdigest()[:12]).write_bytes(data)
    _report(results, console)
    return 1 if any(r.finds for r in results) else 0


if __name__ == "__main__":
    sys.exit(main())
