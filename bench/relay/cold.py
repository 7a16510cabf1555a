"""Section cold: from starting the process to its first answer."""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import texts
from .contenders import LABELS, PEER_KEY, Bench, empty_data, main_vaults, peer, peer_headers
from .figures import figure, show
from .options import BenchError
from .processes import Server
from .report import table
from .router import ACCOUNT_KEY, serve

_PATIENCE_S = 120


def _first_answer(server: Server, headers: dict[str, str], body: bytes) -> float:
    """Seconds from the start of the process to the first 200 on a chat request."""
    while time.perf_counter() - server.spawned_at < _PATIENCE_S:
        server.check()
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
        try:
            connection.request("POST", "/v1/chat/completions", body, headers)
            if connection.getresponse().status == 200:
                return time.perf_counter() - server.spawned_at
        except OSError:
            pass
        finally:
            connection.close()
        time.sleep(0.005)
    raise server.fail(f"gave no answer within {_PATIENCE_S} s")


def _headers(extra: Path | None, key: str) -> dict[str, str]:
    lines = extra.read_text().splitlines() if extra else []
    named = dict(line.split(": ", 1) for line in lines)
    return {"Authorization": f"Bearer {key}", "Content-Type": "application/json", **named}


def run(bench: Bench) -> Any:
    """Every contender some times, in turn; the page cache is warm."""
    o = bench.options
    starts: dict[str, tuple[Callable[[], Server], dict[str, str]]] = {}
    for name in ("nginx", "litellm", "portkey"):
        if name in o.contenders:
            headers = _headers(peer_headers(bench, name), PEER_KEY)
            starts[LABELS[name]] = (lambda name=name: peer(bench, name), headers)  # type: ignore[misc]

    def router(label: str, data: Callable[[], Path], key: str) -> None:
        def start() -> Server:
            return serve(o, label, data(), bench.mock.port, bench.cores.contender)

        starts[label] = (start, _headers(None, key))

    if o.router:
        router("memrouter, first start", lambda: empty_data("cold"), ACCOUNT_KEY)
    if "on-1k" in o.contenders:
        prepared = main_vaults(bench)
        kept = prepared.copy("cold-kept")
        router(f"memrouter, {o.users:,} vaults on disk", lambda: kept, prepared.keys["on-1k"][0])
    body = texts.chat_head(1000, exchange=400) + texts.chat_tail(stream=False)
    body = body.replace(b'"}],', b'"},{"role":"user","content":"Where is Alice?"}],')
    took: dict[str, list[float]] = {label: [] for label in starts}
    for _ in range(min(o.rounds, 5)):
        for label, (start, headers) in starts.items():
            server = start()
            try:
                took[label].append(_first_answer(server, headers, body))
            finally:
                server.stop()
    if not took:
        raise BenchError("section cold: no contender that starts")
    rows = [[label, show(figure(times), 2)] for label, times in took.items()]
    table("From start to first answer", ["", "seconds"], rows)
    return took
