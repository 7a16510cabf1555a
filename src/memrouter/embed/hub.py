"""Sentence encoders by name, fetched from a model hub by fastembed, which also runs them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from memrouter.domain import Vectors
from memrouter.embed.lanes import BATCH, LONGEST, Encoder
from memrouter.embed.onnx import Manner, named_manner
from memrouter.embed.texts import fit
from memrouter.errors import EmbedderError


class HubEmbedder(Encoder):
    """A sentence encoder that fastembed knows. Implements ports.Embedder."""

    def __init__(self, model: str, cache: Path, *, threads: int = 1) -> None:
        """Load a model, from `cache` if it was fetched before. Raises EmbedderError."""
        manner = named_manner(model) or Manner()
        super().__init__(query=manner.query, passage=manner.passage)
        try:
            fastembed: Any = import_module("fastembed")
        except ImportError as e:
            raise EmbedderError(
                f"{model!a} is no folder here, and without fastembed nothing is fetched by name",
                "pip install 'memrouter[hub]', or give the folder of an ONNX sentence encoder",
            ) from e
        try:
            self._model = fastembed.TextEmbedding(model, cache_dir=str(cache), threads=threads)
            self.dimension = int(self._encode(["?"]).shape[1])
        except Exception as e:
            raise EmbedderError(
                f"{model!a} cannot be had: {type(e).__name__}", _todo(fastembed, model)
            ) from e
        self.name = f"{model}-{self.dimension}"

    def _encode(self, texts: Sequence[str]) -> Vectors:
        given = [fit(text, LONGEST) for text in texts]
        made: Iterable[Any] = self._model.embed(given, batch_size=BATCH)
        rows = np.stack([np.asarray(row, np.float32) for row in made])
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        vectors: Vectors = (rows / np.maximum(lengths, 1e-9)).astype(np.float32)
        return vectors


def _todo(fastembed: Any, model: str) -> str:
    """What to do about a model that cannot be had."""
    known = {str(row["model"]) for row in fastembed.TextEmbedding.list_supported_models()}
    if model.lower() not in {name.lower() for name in known}:
        some = ", ".join(sorted(known)[:5])
        return f"fastembed does not know this name; it knows {some} … Or give a folder"
    return (
        "It is fetched once from a model hub, which cannot be reached from here. Fetch it where it "
        "can and copy the folder `models` of the data folder, or give the folder of the model"
    )
