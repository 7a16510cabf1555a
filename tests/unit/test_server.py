"""server: what is set up before anything is served."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from memrouter.config import load
from memrouter.errors import ConfigError
from memrouter.server import serve

WRONG: dict[str, tuple[dict[str, str], str]] = {
    "a port in use": ({}, "Cannot listen on 127.0.0.1"),
    "a host of another machine": ({"MEMROUTER_HOST": "192.0.2.7"}, "Cannot listen on 192.0.2.7"),
    "a provider nobody knows": ({"MEMROUTER_DEFAULT_PROVIDER": "nope"}, "'nope'"),
    "an upstream that is a URL": ({"MEMROUTER_ALLOWED_UPSTREAMS": "https://x/y"}, "x/y"),
}


@pytest.mark.parametrize(("env", "said"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_said_before_a_key_is_made(
    env: dict[str, str], said: str, tmp_path: Path
) -> None:
    folder = tmp_path / "data"
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        given = {"MEMROUTER_DATA_DIR": str(folder), "MEMROUTER_PORT": str(taken.getsockname()[1])}
        with pytest.raises(ConfigError, match=re.escape(said)):
            serve(load({**given, **env}), print)
    assert not folder.exists()


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
