"""`python -m bench.infinite_chat`: measures, prints tables, writes JSON."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

from bench.recall import locomo
from bench.recall.report import machine

from memrouter.ops import logs

from . import billing, evidence, report

BUILD = Path(__file__).resolve().parent.parent / ".build"
PARTS = ("evidence", "curve", "cache")


def _options(argv: list[str]) -> argparse.Namespace:
    p = argparse.ArgumentParser(
        prog="python -m bench.infinite_chat",
        description="Measure Infinite Chat: tokens saved, evidence kept, prompt caches spared.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    p.add_argument("locomo", type=Path, help="locomo10.json, which is not part of the repository")
    p.add_argument("--json", type=Path, default=BUILD / "infinite_chat.json", help="where it goes")
    p.add_argument("--parts", default=",".join(PARTS), help="some of these")
    p.add_argument("--quick", action="store_true", help="few questions, up to 128k tokens")
    given = p.parse_args(argv)
    if not given.locomo.exists():
        p.error(f"{given.locomo} does not exist")
    if wrong := sorted(set(given.parts.split(",")) - set(PARTS)):
        p.error(f"no such part: {', '.join(wrong)}")
    return given


async def measure(given: argparse.Namespace) -> dict[str, Any]:
    """Every part that was asked for."""
    histories = locomo.load(given.locomo)
    parts = given.parts.split(",")
    quick = given.quick
    result: dict[str, Any] = {"machine": machine(), "quick": quick}
    if "evidence" in parts:
        result["evidence"] = await evidence.by_size(histories, quick=quick, progress=_say)
        report.evidence(result["evidence"])
    if "curve" in parts:
        for size in (64_000,) if quick else (64_000, 128_000, 256_000):
            name = f"Evidence against tokens sent at {size:,} tokens, by settings"
            _say(name)
            tried = evidence.shapes(size, quick=quick)
            found = await evidence.curve(histories, size, tried, quick=quick)
            result[f"curve {size}"] = found
            report.curve(name, found)
    if "cache" in parts:
        report.rules()
        result["bills"] = await billing.bills(histories, quick=quick, progress=_say)
        report.bills(result["bills"])
    return result


def _say(what: str) -> None:
    if report.console.is_terminal:
        report.console.print(f"[dim]{what} …[/dim]")


def main() -> int:
    """0 if all was measured."""
    given = _options(sys.argv[1:])
    logs.set_up("error", "text")
    begin = time.monotonic()
    result = asyncio.run(measure(given))
    given.json.parent.mkdir(parents=True, exist_ok=True)
    given.json.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    report.console.print(f"{(time.monotonic() - begin) / 60:.1f} minutes; all in {given.json}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
