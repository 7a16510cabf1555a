"""engram-proxy: its store and recall, each turn a trace of its own, our embedder over HTTP.

It reports its 12 best candidates at most, so that deeper cut-offs cannot be told.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import aiohttp
from engram.config import Config  # type: ignore[import-not-found]
from engram.recall import Recall  # type: ignore[import-not-found]
from engram.store import Store  # type: ignore[import-not-found]


async def main(url: str, folder: str) -> None:
    """Serve requests until the input ends."""
    async with aiohttp.ClientSession() as http:
        known: dict[str, tuple[Any, dict[int, int]]] = {}
        for line in sys.stdin:
            asked = json.loads(line)
            name = asked["history"]
            if asked["op"] == "remember":
                config = Config()
                config.services_url = url
                config.embed_model = "static"
                config.embed_timeout_s = 10.0
                store: Any = Store(Path(folder) / f"{len(known)}.db")
                recall: Any = Recall(store, config, http)
                places = {}
                for place, turn in enumerate(asked["turns"]):
                    vector = await recall.embed(turn["text"], role="doc")
                    trace = store.add_trace(
                        None, turn["text"][:60], turn["text"], turn["session"], vector, 1.0
                    )
                    places[trace] = place
                known[name] = (recall, places)
                answer: dict[str, Any] = {}
            else:
                recall, places = known[name]
                _, found = await recall.recall(asked["question"], "asking", dry_run=True)
                answer = {"places": [places[hit["id"]] for hit in found if hit["id"] in places]}
            print("\n" + json.dumps(answer), flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
