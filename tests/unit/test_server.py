"""server: what is set up before anything is served."""

from __future__ import annotations

import subprocess
import sys

_LOWERED = """
import resource
from memrouter.server import allow_files
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
allow_files()
print(resource.getrlimit(resource.RLIMIT_NOFILE)[0], hard)
"""


def test_as_many_files_as_the_system_allows() -> None:
    # In a process of its own: the limit is the whole process's.
    done = subprocess.run(
        [sys.executable, "-c", _LOWERED], capture_output=True, text=True, check=True, timeout=60
    )
    soft, hard = map(int, done.stdout.split())
    assert soft == (65_536 if hard == -1 else min(hard, 65_536))
