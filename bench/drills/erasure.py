"""Is what was deleted gone from the disk? `python -m bench.drills.erasure`

Plants canaries through a real server, deletes them in every way there is, and looks for their
words in every file that the server has written: before, and after. Plain and encrypted.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
from bench.drills.serving import ACCOUNT_KEY, DrillError, Router, http_client, provider
from rich.console import Console
from rich.table import Table

Http = aiohttp.ClientSession
PLANTS = ("chat", "ingest", "upload")


def canary(way: str, plant: str) -> str:
    """A word that stands nowhere else."""
    return f"canary{way}{plant}".replace(" ", "")


async def main(folder: Path) -> list[tuple[str, str, str, int, int]]:
    """Rows of the table: files, way, state of the server, traces before and after."""
    rows = []
    with provider() as port:
        for kind, encrypt in (("plain", "false"), ("encrypted", "true")):
            router = Router(folder / kind, port, ENCRYPT_VAULTS=encrypt)
            router.spawn()
            async with http_client() as http:
                await router.serves(http)
                for way, delete in WAYS.items():
                    key, id = await _minted(http, router)
                    await _plant(http, router, key, way)
                    before = traces(router, way)
                    await delete(http, router, key, id)
                    rows.append((kind, way, "serving", before, traces(router, way)))
            router.stop()
            rows += [(kind, way, "stopped", 0, traces(router, way)) for way in WAYS]
    return rows


def traces(router: Router, way: str) -> int:
    """How often the canaries of a way of deleting stand in files, log and folders' names."""
    words = [canary(way, plant).encode() for plant in PLANTS]
    count = 0
    for path in [*router.data.parent.rglob("*")]:
        text = str(path).encode() + (path.read_bytes() if path.is_file() else b"")
        count += sum(text.lower().count(word) for word in words)
    return count


async def _minted(http: Http, router: Router) -> tuple[str, str]:
    async with http.post(f"{router.url}/v1/keys", json={"name": "someone"}) as got:
        minted = await got.json()
        return minted["key"], minted["id"]


async def _call(http: Http, method: str, url: str, key: str, **more: object) -> dict[str, object]:
    headers = {"authorization": f"Bearer {key}", "x-session-id": str(more.pop("session", ""))}
    if not headers["x-session-id"]:
        del headers["x-session-id"]
    async with http.request(method, url, headers=headers, **more) as got:  # type: ignore[arg-type]
        text = await got.text()
        if got.status >= 300:
            raise DrillError(f"{method} {url}: {got.status} {text[:200]}")
        return json.loads(text) if text.startswith("{") else {}


async def _plant(http: Http, router: Router, key: str, way: str) -> None:
    session = "here" if way == "a session" else ""
    words = {plant: f"Remember that {canary(way, plant)} sings at dawn." for plant in PLANTS}
    for _ in range(2):  # the second time it is recalled: the block lies in the vault, too
        turn = {"role": "user", "content": words["chat"]}
        body = {"model": "gpt-5.5", "messages": [turn]}
        url = f"{router.url}/v1/chat/completions"
        await _call(http, "POST", url, key, json=body, session=session)
    body = {"messages": [{"role": "user", "content": words["ingest"]}]}
    await _call(http, "POST", f"{router.url}/v1/memory/ingest", key, json=body, session=session)
    line = json.dumps({"content": words["upload"], "role": "user"}).encode()
    await _call(http, "POST", f"{router.url}/v1/memory/upload", key, data=line, session=session)
    question = {
        "model": "gpt-5.5",
        "messages": [{"role": "user", "content": "What sings at dawn?"}],
    }
    url = f"{router.url}/v1/chat/completions"
    await _call(http, "POST", url, key, json=question, session=session)


async def _session(http: Http, router: Router, key: str, _id: str) -> None:
    await _call(http, "DELETE", f"{router.url}/v1/memory", key, session="here")


async def _whole(http: Http, router: Router, key: str, _id: str) -> None:
    await _call(http, "DELETE", f"{router.url}/v1/memory", key)


async def _reset(http: Http, router: Router, key: str, _id: str) -> None:
    await _call(http, "DELETE", f"{router.url}/v1/memory?reset=true", key)


async def _each(http: Http, router: Router, key: str, _id: str) -> None:
    listed = await _call(http, "GET", f"{router.url}/v1/memory?limit=100", key)
    rows = listed["memories"]
    assert isinstance(rows, list)
    for row in rows:
        await _call(http, "DELETE", f"{router.url}/v1/memory/{row['id']}", key)


async def _key(http: Http, router: Router, _key: str, id: str) -> None:
    await _call(http, "DELETE", f"{router.url}/v1/keys/{id}?memory=true", ACCOUNT_KEY)


WAYS: dict[str, Callable[[Http, Router, str, str], Awaitable[None]]] = {
    "a session": _session,
    "the whole vault": _whole,
    "vault and key": _reset,
    "each memory": _each,
    "the memory key": _key,
}


def show(rows: list[tuple[str, str, str, int, int]]) -> bool:
    """Print the table; whether nothing was left, and something had been there to find."""
    table = Table("files", "deleted", "server", "traces before", "after", box=None)
    for kind, way, state, before, after in rows:
        table.add_row(kind, way, state, str(before), str(after))
    Console().print(table)
    planted = all(
        before for kind, _, state, before, _ in rows if (kind, state) == ("plain", "serving")
    )
    return planted and not any(after for *_, after in rows)


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    with tempfile.TemporaryDirectory() as made:
        if not show(asyncio.run(main(Path(made)))):
            raise SystemExit(1)
