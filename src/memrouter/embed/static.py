"""The default embedder: static word vectors that come in the wheel of a package.

wordllama's own loader looks for its tokenizer in a folder that its wheel does not have and then
asks a model hub; importing it also sets up logging and takes 0.4 s. So its two data files are read
directly.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open
from tokenizers import Tokenizer

from memrouter.domain import Vectors
from memrouter.embed import pieces
from memrouter.embed.pieces import Pieces
from memrouter.embed.texts import fit
from memrouter.errors import EmbedderError
from memrouter.ports import Asked

_BATCH = 64
_SHORT = 4_000
"""Characters that are embedded here and now: some 0.2 ms, which changing threads costs too."""
_LONGEST = 20_000  # characters of a text that are looked at: a chunk has far fewer


class StaticEmbedder:
    """Mean of token vectors; about 0.1 ms a text. Implements ports.Embedder."""

    name = "wordllama-256"
    dimension = 256
    instant = True

    def __init__(self, threads: int = 1) -> None:
        """Load the model, which takes some 50 ms. Raises EmbedderError."""
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="embed")
        folder = _folder()
        try:
            tokenizer: Any = Tokenizer.from_file(
                str(folder / "tokenizers" / "l2_supercat_tokenizer_config.json")
            )
            with safe_open(folder / "weights" / "l2_supercat_256.safetensors", "np") as weights:
                table = weights.get_tensor("embedding.weight")
        except Exception as e:
            raise EmbedderError(
                "The default embedder's files cannot be read", "Install memrouter again"
            ) from e
        tokenizer.no_padding()
        tokenizer.no_truncation()
        self._pieces = Pieces(tokenizer, table)

    async def query(self, text: str, rarity: Mapping[str, float]) -> Asked:
        """See Embedder.query; tokens of a word count by `rarity[word]`, words lower-case."""
        if len(text) <= _SHORT:
            return self._query(fit(text, _LONGEST), rarity)
        run = asyncio.get_running_loop().run_in_executor
        return await run(self._pool, partial(self._query, fit(text, _LONGEST), rarity))

    async def passages(self, texts: Sequence[str]) -> Vectors:
        """See Embedder.passages."""
        if texts and sum(map(len, texts)) <= _SHORT:
            return self._passages(texts)
        run = asyncio.get_running_loop().run_in_executor
        done = [
            await run(self._pool, self._passages, texts[at : at + _BATCH])
            for at in range(0, len(texts), _BATCH)
        ]
        return np.concatenate(done) if done else np.zeros((0, self.dimension), np.float32)

    def _query(self, text: str, rarity: Mapping[str, float]) -> Asked:
        found = self._pieces.both(text, rarity if type(rarity) is dict else dict(rarity))
        _, rare = pieces.unit(found)
        return Asked(weighted=found[1] if rare else found[0], plain=found[0])

    def _passages(self, texts: Sequence[str]) -> Vectors:
        found = self._pieces.totals([fit(text, _LONGEST) for text in texts])
        pieces.unit(found)
        return found


def _folder() -> Path:
    spec = find_spec("wordllama")
    if spec is None or spec.origin is None:
        raise EmbedderError("The package wordllama is not installed", "Install memrouter again")
    return Path(spec.origin).parent
