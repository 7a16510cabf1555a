"""Packages from npm, installed once a lock file, outside the checkout."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def node() -> str:
    """The node executable; skips the test where there is none."""
    found = shutil.which("node")
    if found is None or shutil.which("npm") is None:
        pytest.skip("needs node and npm (https://nodejs.org)")
    return found


def installed(folder: str) -> Path:
    """`folder` with its locked packages, in a cache that lives as long as the lock file."""
    node()
    source = HERE / folder
    lock = (source / "package-lock.json").read_bytes()
    target = _cache() / f"{folder}-{hashlib.sha256(lock).hexdigest()[:16]}"
    target.mkdir(parents=True, exist_ok=True)
    with (target / ".lock").open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)  # two test runs may start at once
        if not (target / ".installed").exists():
            for name in ("package.json", "package-lock.json", ".npmrc"):
                shutil.copy(source / name, target / name)
            done = subprocess.run(
                ["npm", "ci", "--ignore-scripts"],
                cwd=target,
                capture_output=True,
                text=True,
                timeout=300,
                check=False,
            )
            assert done.returncode == 0, f"npm ci in {folder}: {done.stderr[-2000:]}"
            (target / ".installed").touch()
    return target


def _cache() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    for place in (Path(home), Path(tempfile.gettempdir())):
        folder = place / "memrouter-acceptance"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(folder, os.W_OK):
            return folder
    pytest.skip("no place to install packages: neither the cache nor the temporary folder")
