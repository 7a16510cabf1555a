"""`python -m bench.drills.isolation`: nobody sees what is not theirs, for as long as you like.

The machine is that of tests/integration/isolation_machine.py, with other dice each time.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]


def main() -> int:
    """0 if nothing foreign was seen."""
    parser = argparse.ArgumentParser(prog="python -m bench.drills.isolation", description=__doc__)
    parser.add_argument("--steps", type=int, default=10_000)
    options = parser.parse_args()
    test = "tests/integration/test_isolation_machine.py"
    command = [sys.executable, "-m", "pytest", "-q", "-s", "-n0", "-p", "no:cacheprovider", test]
    env = {**os.environ, "DRILL_STEPS": str(options.steps)}
    return subprocess.run(command, cwd=_ROOT, env=env, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
