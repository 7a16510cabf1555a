"""Nothing secret and nothing that users said stands where it must not, at any level of logging.

The servers of all other acceptance tests are searched, too, when they end: conftest.py.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openai
import pytest

from memrouter.testing.script import Answer

from .conftest import ServedProvider
from .stack import Router

CANARY = "wombat-canary"
PATHS: dict[str, Any] = {
    "/v1/chat/completions": {"model": "gpt-5.5", "messages": [{"role": "user", "content": CANARY}]},
    "/v1/responses": {"model": "gpt-5.5", "input": CANARY},
    "/v1/messages": {
        "model": "claude-opus-4.1",
        "max_tokens": 9,
        "messages": [{"role": "user", "content": CANARY}],
    },
    "/v1beta/models/gemini-3.5-flash:generateContent": {
        "contents": [{"role": "user", "parts": [{"text": CANARY}]}]
    },
}


def exercise(router: Router, provider: ServedProvider) -> None:
    """Requests of every kind, good and bad."""
    key = router.mint(f"{CANARY} name")
    for stream in (False, True):
        router.ask(key, f"My {CANARY} is called {CANARY}.", stream=stream)
        router.ask(key, f"What is my {CANARY} called?", stream=stream)
    with router.http(key, **{"x-session-id": f"{CANARY}-session"}) as http:
        for path, body in PATHS.items():
            http.post(path, json=body)
            http.post(path, json={**body, "memory_mode": CANARY})
            http.post(path, content=b'{"' + CANARY.encode())
            provider.queue(Answer(status=500, message=CANARY))
            http.post(path, json=body)
            provider.queue(Answer(text=f"{CANARY} and more", cut_after_bytes=40))
            with contextlib.suppress(Exception):
                http.post(path, json=body)
        http.post("/v1/memory/ingest", json={"messages": PATHS["/v1/messages"]["messages"]})
        http.post("/v1/memory/upload", content=f'{{"content": "{CANARY}"}}\n{CANARY}'.encode())
        http.post("/v1/memory/search", json={"query": CANARY})
        http.get(f"/v1/memory/{CANARY}")
        http.get(f"/{CANARY}?key={key}&{CANARY}=1")
        http.get("/v1/memory/export")
        http.post("/v3/https://example.org/v1/chat/completions", json=PATHS["/v1/responses"])
    with router.http(router.account_key) as http:
        http.put("/v1/account/provider-keys/groq", json={"key": f"sk-{CANARY}-stored"})
        http.get("/v1/account/provider-keys")
    with pytest.raises(openai.AuthenticationError):
        router.ask(f"mk_{CANARY}{'x' * 40}", CANARY)


def told_to_all(router: Router) -> str:
    """What anybody may ask for, and what anybody on the machine may see."""
    with router.http() as http:
        told = [http.get(path).text for path in ("/metrics", "/health", "/openapi.json")]
    assert router.process is not None
    lines = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in _tree(router.process.pid)]
    return "\n".join(told) + b"\n".join(lines).decode("utf-8", "replace")


def _tree(pid: int) -> list[int]:
    children = [
        int(child)
        for task in Path(f"/proc/{pid}/task").glob("*/children")
        for child in task.read_text().split()
    ]
    return [pid, *(below for child in children for below in _tree(child))]


@pytest.mark.parametrize("workers", [1, 2])
def test_nothing_is_spilled(
    new_router: Callable[..., Router], provider: ServedProvider, workers: int
) -> None:
    router = new_router("--workers", str(workers), LOG_LEVEL="debug")
    exercise(router, provider)
    told = told_to_all(router)
    router.stop()
    secrets = [*router.keys, "sk-server-", router.account_key]
    assert not [secret for secret in secrets if secret in told]
    assert CANARY not in told
    assert CANARY not in router.log
    for path in (router.data / "store").rglob("*"):
        if path.is_file() and "vaults" not in path.parts:
            written = path.read_bytes()
            held = written.count(CANARY.encode()) - written.count(f"{CANARY} name".encode())
            assert held == 0, f"{path.name} holds what a user said"


def test_files_are_their_owners_alone_whatever_the_umask(
    new_router: Callable[..., Router], provider: ServedProvider
) -> None:
    router = new_router()
    router.stop()
    router.umask = 0
    shutil.rmtree(router.data / "store")
    router.start("--workers", "2", SECRET_KEY="")
    router.ask(router.account_key, "My wallaby is called Skip.")
    assert not [spill for spill in router.spills() if "mode" in spill]
    assert (router.data / "store" / "secret.key").stat().st_mode & 0o777 == 0o600
    router.stop()


def test_a_first_start_shows_its_key_once_and_keeps_it_nowhere(
    new_router: Callable[..., Router], tmp_path: Path
) -> None:
    router = new_router()
    router.stop()
    router.start(ACCOUNT_KEY="", DATA_DIR=str(tmp_path / "first"))
    [shown] = re.findall(r"^    (mk_\S{32,})$", router.log, re.MULTILINE)
    router.stop()
    for path in (tmp_path / "first").rglob("*"):
        if path.is_file():
            assert shown.encode() not in path.read_bytes(), path.name
    router.start(ACCOUNT_KEY="", DATA_DIR=str(tmp_path / "first"))
    assert router.log.count(f"\n    {shown}\n") == 1
    os.truncate(router.log_file, 0)  # the one place where it may stand
    router.stop()
