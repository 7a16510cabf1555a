"""Compiles what stands between a router and its files."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

from .serving import DrillError

_SOURCE = Path(__file__).resolve().parent / "native" / "disk.c"
WELL, NO_WRITES, NO_SYNCS, SOME_WRITES = range(4)
"""What a `Disk` can be told: see disk.c."""


def compiled(folder: Path) -> Path:
    """The shim as a library in `folder`. Raises DrillError where there is no C compiler."""
    cc = shutil.which("cc")
    if cc is None:
        raise DrillError("there is no C compiler (Debian: apt install gcc libc6-dev)")
    library = folder / "disk.so"
    flags = ("-O2", "-Wall", "-Wextra", "-shared", "-fPIC")
    done = subprocess.run(
        [cc, *flags, "-o", str(library), str(_SOURCE), "-ldl"], capture_output=True, check=False
    )
    if done.returncode:
        raise DrillError(f"compiling {_SOURCE.name} failed:\n{done.stderr.decode()[-2000:]}")
    return library


class Disk:
    """Tells the shim of a running process what is to fail."""

    def __init__(self, control: Path) -> None:
        self._control = control
        self.be(WELL)

    def be(self, mode: int) -> None:
        """From now on."""
        # Written in place: the shim has the file mapped.
        with self._control.open("r+b" if self._control.exists() else "wb") as file:
            file.write(struct.pack("=i", mode))
