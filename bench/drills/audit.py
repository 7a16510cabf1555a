"""`make audit`: known vulnerabilities of what is pinned, by pip-audit, where its data can be had.

The data is on the network. Where it is not to be had, this says so and fails nothing: a machine
without a network must be able to run all checks.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parents[2]
_PINNED = ("requirements/run.txt", "requirements/dev.txt")


def judged(report: Sequence[dict[str, Any]]) -> tuple[int, list[str]]:
    """(exit status, what to say) of pip-audit's list of dependencies."""
    unknown = [one["name"] for one in report if "skip_reason" in one]
    known = [one for one in report if "skip_reason" not in one]
    said = [
        f"{one['name']} {one['version']}: {found['id']}, mended in {found['fix_versions']}"
        for one in known
        for found in one["vulns"]
    ]
    status = 1 if said else 0
    if unknown:
        said.append(f"{len(unknown)} of {len(report)} packages: no data to be had")
    if known and not status:
        said.append(f"{len(known)} packages: nothing known")
    return status, said


def main() -> int:
    """1 if a vulnerability is known, 0 if none is, or nothing can be known."""
    parser = argparse.ArgumentParser(prog="python -m bench.drills.audit", description=__doc__)
    parser.add_argument("pip_audit", type=Path, help="the program")
    program: Path = parser.parse_args().pip_audit
    worst = 0
    for pinned in _PINNED:
        with tempfile.NamedTemporaryFile(suffix=".json") as file:
            command = [str(program), "--require-hashes", "--disable-pip", "--progress-spinner=off"]
            command += ["-r", str(_ROOT / pinned), "-f", "json", "-o", file.name]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            written = Path(file.name).read_bytes()
        if not written:
            last = (done.stderr.strip().splitlines() or ["it says nothing"])[-1]
            print(f"{pinned}: not audited: {last[:200]}")
            continue
        status, said = judged(json.loads(written)["dependencies"])
        print(*(f"{pinned}: {line}" for line in said), sep="\n")
        worst = max(worst, status)
    return worst


if __name__ == "__main__":
    sys.exit(main())
