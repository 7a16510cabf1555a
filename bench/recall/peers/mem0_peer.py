"""mem0ai as it installs: `infer=False`, its default vector store, our embedder over HTTP."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

DIMENSION = 256


def main(url: str, folder: str) -> None:
    """Serve requests until the input ends."""
    os.environ["MEM0_TELEMETRY"] = "False"
    os.environ["MEM0_DIR"] = folder
    os.environ["OPENAI_API_KEY"] = "unused"
    # It reads the environment when it is imported.
    from mem0 import Memory  # type: ignore[import-not-found]  # noqa: PLC0415

    memory: Any = Memory.from_config(
        {
            "embedder": {
                "provider": "openai",
                "config": {"openai_base_url": f"{url}/v1", "embedding_dims": DIMENSION},
            },
            "vector_store": {
                "provider": "qdrant",
                "config": {"path": f"{folder}/qdrant", "embedding_model_dims": DIMENSION},
            },
            "history_db_path": f"{folder}/history.db",
        }
    )
    places: dict[str, int] = {}
    for line in sys.stdin:
        asked = json.loads(line)
        user = asked["history"].replace(" ", "_")
        if asked["op"] == "remember":
            for place, turn in enumerate(asked["turns"]):
                said = {"role": turn["role"], "content": turn["text"]}
                for added in memory.add([said], user_id=user, infer=False)["results"]:
                    places[added["id"]] = place
            answer: dict[str, Any] = {}
        else:
            found = memory.search(
                asked["question"], filters={"user_id": user}, top_k=asked["limit"], threshold=0.0
            )
            answer = {"places": [places[hit["id"]] for hit in found["results"]]}
        print("\n" + json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
