"""`memrouter demo`: see a memory last across conversations and a restart, without a provider key.

Two conversations go through the real HTTP surface of a real server to a scripted provider, which
answers only from the prompt it gets. What it then knows in the second, memory told it.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from memrouter.edge.auth import mint
from memrouter.testing.provider import ScriptedProvider, serving

FIRST = "My name is Alice. My dog is called Biscuit and I train every morning at 6am."
SECOND = "What is my dog called?"


def run(console: Console) -> bool:
    """Play the demo; return whether the second conversation knew what the first was told."""
    provider = ScriptedProvider()
    with (
        serving(provider) as provider_port,
        tempfile.TemporaryDirectory(prefix="memrouter-demo-", ignore_cleanup_errors=True) as folder,
    ):
        console.print(f"A scripted provider answers on http://127.0.0.1:{provider_port}/v1.")
        account_key = mint()
        port = _free_port()
        env = _environment(Path(folder), port, provider_port, account_key)
        base = f"http://127.0.0.1:{port}"
        with _server(env, base):
            console.print(f"memrouter serves on {base}. A key is minted for one user.\n")
            key = _post(f"{base}/v1/keys", account_key, {"name": "user:alice"})["key"]
            _say(console, "1. First conversation", base, key, FIRST)
            stored = _post(f"{base}/v1/memory/search", key, {"query": "dog", "limit": 10})
            _show_stored(console, stored)
        console.print("\n[bold]2. The server is stopped and started again.[/bold]\n")
        with _server(env, base):
            reply = _say(
                console, "3. Another conversation, with no history sent", base, key, SECOND
            )
        seen = json.loads(provider.requests[-1].body)
        console.print(
            Panel(
                Text(json.dumps(seen["messages"], indent=2, ensure_ascii=False)),
                title="The prompt as the provider saw it",
            )
        )
    knew = "Biscuit" in reply
    verdict = (
        "[green]The second conversation knew what the first was told.[/green]"
        if knew
        else "[red]The second conversation did not know it.[/red]"
    )
    console.print(f"\n{verdict}")
    return knew


def _say(console: Console, title: str, base: str, key: str, text: str) -> str:
    body = {"model": "openai/gpt-5.5", "messages": [{"role": "user", "content": text}]}
    answer, headers = _call(f"{base}/v1/chat/completions", key, body)
    reply = str(answer["choices"][0]["message"]["content"])
    console.print(f"[bold]{title}[/bold]")
    console.print(f"   user       {text}")
    console.print(f"   assistant  {reply}")
    console.print(
        f"   recalled   {headers.get('X-Memory-Tokens-Retrieved', '0')} tokens of memory, "
        f"in {headers.get('X-MR-Processing-Ms', '?')} ms of the router's time"
    )
    return reply


def _show_stored(console: Console, found: dict[str, Any]) -> None:
    console.print("   stored")
    for memory in found["memories"]:
        console.print(f"     {memory['id']}  {memory['role']}: {memory['content']}")


def _environment(folder: Path, port: int, provider_port: int, account_key: str) -> dict[str, str]:
    ours = {k: v for k, v in os.environ.items() if not k.startswith("MEMROUTER_")}
    return ours | {
        "MEMROUTER_DATA_DIR": str(folder / "data"),
        "MEMROUTER_PORT": str(port),
        "MEMROUTER_ACCOUNT_KEY": account_key,
        "MEMROUTER_PROVIDERS__OPENAI__BASE_URL": f"http://127.0.0.1:{provider_port}/v1",
        "MEMROUTER_PROVIDERS__OPENAI__API_KEY": "sk-demo",
        "MEMROUTER_LOG_LEVEL": "error",
    }


@contextmanager
def _server(env: dict[str, str], base: str) -> Iterator[None]:
    command = [sys.executable, "-m", "memrouter.cli", "serve"]
    with tempfile.TemporaryDirectory() as elsewhere:  # so that no memrouter.toml here is read
        process = subprocess.Popen(command, env=env, cwd=elsewhere, stdout=subprocess.DEVNULL)  # noqa: S603
        try:
            _until_healthy(process, base)
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=30)


def _until_healthy(process: subprocess.Popen[bytes], base: str) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"the server ended with status {process.returncode}")
        try:
            with urllib.request.urlopen(f"{base}/health", timeout=2):  # noqa: S310
                return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.05)
    raise RuntimeError("the server did not start within 30 s")


def _post(url: str, key: str, body: dict[str, Any]) -> dict[str, Any]:
    return _call(url, key, body)[0]


def _call(url: str, key: str, body: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)  # noqa: S310
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
        names = {name.title(): value for name, value in answer.headers.items()}
        canonical = {"X-Mr-Processing-Ms": "X-MR-Processing-Ms"}
        return json.load(answer), {canonical.get(n, n): v for n, v in names.items()}


def _free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])
