"""Without a network: the router starts and does all that is local, and calls nobody."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
LOCAL = ("test_memory_api.py", "test_control.py")
"""What is run there: memory, and the relay to a provider on loopback."""

ALONE = textwrap.dedent("""
    import fcntl, os, socket, struct, sys
    with socket.socket() as s:  # a namespace's loopback is down at first
        fcntl.ioctl(s, 0x8914, struct.pack("16sh", b"lo", 1 | 64))
        s.settimeout(2)
        try:
            s.connect(("192.0.2.1", 80))
        except OSError as e:
            assert e.errno == 101, e  # no route
        else:
            sys.exit("there is a network")
    os.execv(sys.argv[1], sys.argv[1:])
""")
LOOPBACK = re.compile(r'sa_family=AF_(?:UNIX|NETLINK|UNSPEC)|"127\.0\.0\.1"|"::1"')


def isolated(*command: str, seconds: float = 240) -> subprocess.CompletedProcess[str]:
    """Run a command in a network namespace of its own; skip where none can be made."""
    unshare = shutil.which("unshare")
    if unshare is None:
        pytest.skip("unshare is not installed")
    start = [unshare, "--net", "--map-root-user"]
    if subprocess.run([*start, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no network namespaces can be made here")
    line = [*start, sys.executable, "-c", ALONE, *command]
    return subprocess.run(line, capture_output=True, text=True, timeout=seconds, check=False)


@pytest.mark.timeout(300)
def test_everything_local_works_without_a_route() -> None:
    done = isolated(
        *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"),
        *(str(TESTS / name) for name in LOCAL),
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    assert re.search(r"\d+ passed", done.stdout) or "[100%]" in done.stdout


def test_nobody_is_called(tmp_path: Path) -> None:
    """Not at import, not at start, not by the demo: every connection stays on this machine."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not installed")
    trace = tmp_path / "trace"
    watched = [strace, "-f", "-qq", "-e", "trace=connect,sendto", "-o", str(trace)]
    done = isolated(*watched, sys.executable, "-m", "memrouter.cli", "demo")
    if "ptrace" in done.stderr:
        pytest.skip("processes cannot be traced here")
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    lines = trace.read_text("utf-8", "replace").splitlines()
    calls = [line for line in lines if "sa_family=" in line]
    assert len(calls) > 2, "nothing was traced"
    assert [line for line in calls if not LOOPBACK.search(line)] == []
