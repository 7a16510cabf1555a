"""`python -m bench.relay.profile`: where the router's time goes, as tables and a flame graph.

Runs memrouter under load and samples it with py-spy. Prints what one request costs, the time of
each stage (the router's own `memrouter_stage_seconds`), the functions that hold the CPU, and the
packages they belong to; the flame graph is an SVG file.
"""

from __future__ import annotations

import argparse
import collections
import concurrent.futures
import contextlib
import dataclasses
import re
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from . import options as bench_options
from . import setup
from .contenders import Bench, Contender, empty_data, main_vaults, memrouter, open_bench
from .loadgen import Shape
from .options import BUILD, BenchError
from .processes import Server, started
from .report import console, table
from .router import ACCOUNT_KEY, serve

_STAGE = re.compile(r'memrouter_stage_seconds_(sum|count)\{[^}]*stage="([^"]+)"[^}]*\} (\S+)')
_LINE = re.compile(r"^(?P<stack>.*) (?P<count>\d+)$")
_FRAME = re.compile(r"^(?P<function>.*) \((?P<file>.*?)(?::(?P<line>\d+))?\)$")


@dataclasses.dataclass(kw_only=True)
class Stacks:
    """Samples by function: `own` where it was on top, `under` where it was on the stack."""

    total: int
    own: collections.Counter[str]
    under: collections.Counter[str]
    packages: collections.Counter[str]


def _package(frame: str) -> str:
    """The package of a frame's file; for memrouter, its room."""
    match = _FRAME.match(frame)
    parts = match["file"].split("/") if match else []
    if "memrouter" in parts:
        return "/".join(parts[parts.index("memrouter") : -1][:2]) or "memrouter"
    return parts[0] if len(parts) > 1 else "python"


def _function(frame: str) -> str:
    """A frame without its line number."""
    match = _FRAME.match(frame)
    return f"{match['function']} ({match['file']})" if match else frame


def read_stacks(raw: str) -> Stacks:
    """Counts from py-spy's raw format: `frame;frame;… count` a line, the root first."""
    stacks = Stacks(
        total=0,
        own=collections.Counter(),
        under=collections.Counter(),
        packages=collections.Counter(),
    )
    for line in raw.splitlines():
        match = _LINE.match(line)
        if not match:
            continue
        count, frames = int(match["count"]), match["stack"].split(";")
        if frames[-1].startswith("_worker (concurrent/"):
            continue  # a pool's thread that waits for work, which py-spy takes for busy
        stacks.total += count
        stacks.own[_function(frames[-1])] += count
        stacks.packages[_package(frames[-1])] += count
        for function in {_function(f) for f in frames}:
            stacks.under[function] += count
    return stacks


def stages(port: int) -> dict[str, tuple[float, float]]:
    """Seconds and calls of each stage so far, from the router's metrics."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    found: dict[str, list[float]] = {}
    for kind, stage, value in _STAGE.findall(text):
        found.setdefault(stage, [0.0, 0.0])[kind == "count"] += float(value)
    return {stage: (seconds, calls) for stage, (seconds, calls) in found.items()}


def _spy(server: Server, kind: str, target: Path, given: argparse.Namespace) -> None:
    argv = [str(setup.py_spy()), "record", "--pid", str(server.pid), "--subprocesses"]
    argv += ["--format", kind, "--output", str(target), "--rate", str(given.rate)]
    argv += ["--duration", str(max(1, round(given.seconds)))]
    argv += ["--native"] * given.native + ["--gil"] * given.gil
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode or not target.exists():
        raise BenchError(f"py-spy failed: {(done.stderr or done.stdout)[-800:]}")


def _stage_rows(
    before: dict[str, tuple[float, float]], after: dict[str, tuple[float, float]], requests: int
) -> list[list[str]]:
    rows: list[tuple[float, list[str]]] = []
    for stage, now in after.items():
        seconds, calls = (x - y for x, y in zip(now, before.get(stage, (0.0, 0.0)), strict=True))
        if calls:
            cells = [f"{calls / requests:.2f}", f"{seconds / calls * 1e6:,.0f}"]
            rows.append((seconds, [stage, *cells, f"{seconds / requests * 1e6:,.0f}"]))
    return [cells for _, cells in sorted(rows, reverse=True)]


def _print_stacks(stacks: Stacks, cpu_us: float, top: int) -> None:
    def rows(counter: collections.Counter[str], n: int) -> list[list[str]]:
        total = stacks.total or 1
        return [
            [name, f"{count / total:.1%}", f"{count / total * cpu_us:,.0f}"]
            for name, count in counter.most_common(n)
        ]

    columns = ["share", "CPU µs/request"]
    table("On top of the stack, by package", ["package", *columns], rows(stacks.packages, 20))
    table("On top of the stack, by function", ["function", *columns], rows(stacks.own, top))
    ours = collections.Counter({k: v for k, v in stacks.under.items() if "memrouter/" in k})
    table("Anywhere on the stack, memrouter only", ["function", *columns], rows(ours, top))


def _profile(bench: Bench, who: Contender, server: Server, given: argparse.Namespace) -> None:
    shape = Shape(body=given.body, stream=given.stream)
    for _ in range(2):
        bench.run(who, shape, given.clients, each=1 if who.memory else 0, seconds=1)
    server.settle(20)

    stages_before, cpu_before = stages(server.port), server.usage()
    load = bench.run(who, shape, given.clients, seconds=given.seconds)
    server.settle(20)
    cpu_us = server.usage().since(cpu_before) / load.requests * 1e6
    latency = load.latency
    rows = [
        [
            f"{load.requests / load.seconds:,.0f}",
            f"{cpu_us:,.0f}",
            f"{latency.p50 / 1e3:.2f}",
            f"{latency.p99 / 1e3:.2f}",
        ]
    ]
    kind = "stream" if shape.stream else "request"
    title = f"{who.label}: {given.clients} clients, {shape.body:,} bytes a {kind}, unobserved"
    table(title, ["requests/s", "CPU µs/request", "p50 ms", "p99 ms"], rows)
    timed = _stage_rows(stages_before, stages(server.port), load.requests)
    columns = ["stage", "calls/request", "µs/call", "µs/request"]
    table("Stages, by the router's own clock (waiting included)", columns, timed)

    for kind_of_file, name in (("raw", f"{given.out}.txt"), ("flamegraph", f"{given.out}.svg")):
        target = BUILD / name
        target.unlink(missing_ok=True)
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            spied = pool.submit(_spy, server, kind_of_file, target, given)
            while not spied.done():
                bench.run(who, shape, given.clients, seconds=1)
            spied.result()
    _print_stacks(read_stacks((BUILD / f"{given.out}.txt").read_text()), cpu_us, given.top)
    console.print(f"flame graph: {BUILD / f'{given.out}.svg'}")


def _arguments() -> tuple[argparse.Namespace, bench_options.Options]:
    p = argparse.ArgumentParser(prog="python -m bench.relay.profile", description=__doc__)
    p.add_argument("--mode", choices=("off", "on-1k", "on-10k"), default="on-1k")
    p.add_argument("--body", type=int, default=20_000, help="bytes of a request")
    p.add_argument("--clients", type=int, default=8)
    p.add_argument("--stream", action="store_true")
    p.add_argument("--seconds", type=float, default=10)
    p.add_argument("--rate", type=int, default=400, help="samples a second")
    p.add_argument("--native", action="store_true", help="show C functions too")
    p.add_argument("--gil", action="store_true", help="only where the interpreter lock is held")
    p.add_argument("--top", type=int, default=25, help="rows a table")
    p.add_argument("--out", default="profile", help="name of the files in the build folder")
    given, rest = p.parse_known_args()
    return given, bench_options.parse([*rest, "--only", given.mode])


def main() -> int:
    """0, or 2 if it broke off."""
    try:
        given, options = _arguments()
        BUILD.mkdir(exist_ok=True)
        setup.py_spy()
        with contextlib.ExitStack() as stack:
            bench = open_bench(options, stack)
            if given.mode == "off":
                data, keys = empty_data("profile"), [ACCOUNT_KEY]
            else:
                prepared = main_vaults(bench)
                data, keys = prepared.copy("profile"), prepared.keys[given.mode]
            cores = bench.cores.contender
            server = serve(options, "profile", data, bench.mock.port, cores)
            stack.enter_context(started(server))
            _profile(bench, memrouter(bench, given.mode, server, keys), server, given)
            time.sleep(0.1)
    except BenchError as e:
        console.print(f"stopped: {e}", markup=False)
        return 2
    for complaint in bench.complaints:
        console.print(f"wrong answers: {complaint}", markup=False)
    return 1 if bench.complaints else 0


if __name__ == "__main__":
    sys.exit(main())
