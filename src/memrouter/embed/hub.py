"""Sentence encoders by name, fetched from a model hub by fastembed, which also runs them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from memrouter.domain import Vectors
from memrouter.embed.lanes import BATCH, LONGEST, Encoder
from memrouter.embed.onnx import Manner, named_manner
from memrouter.embed.texts import fit
from memrouter.errors import EmbedderError

REACH_S = 5.0
"""How long the hub may take to say that it is there: fastembed itself tries for 40 s."""


class HubEmbedder(Encoder):
    """A sentence encoder that fastembed knows. Implements ports.Embedder."""

    def __init__(self, model: str, cache: Path, *, threads: int = 1) -> None:
        """Load a model, from `cache` if it was fetched before. Raises EmbedderError.

        Without the network, what is in `cache` loads in no time, and what is not fails within
        REACH_S.
        """
        _no_path(model)
        manner = named_manner(model) or Manner()
        super().__init__(query=manner.query, passage=manner.passage)
        try:
            fastembed: Any = import_module("fastembed")
        except ImportError as e:
            raise EmbedderError(
                f"{model!a} is no folder here, and without fastembed nothing is fetched by name",
                "pip install 'memrouter[hub]', or give the folder of an ONNX sentence encoder",
            ) from e
        # It logs to the terminal, in its own form, what is raised here as well.
        import_module("loguru").logger.disable("fastembed")
        try:
            self._model = _loaded(fastembed, model, cache, threads)
            self.dimension = int(self._encode(["?"]).shape[1])
        except EmbedderError:
            raise
        except Exception as e:
            raise EmbedderError(
                f"{model!a} cannot be loaded: {type(e).__name__}",
                f"If what was fetched is broken, delete it in {cache}",
            ) from e
        self.name = f"{model}-{self.dimension}"

    def _encode(self, texts: Sequence[str]) -> Vectors:
        given = [fit(text, LONGEST) for text in texts]
        made: Iterable[Any] = self._model.embed(given, batch_size=BATCH)
        rows = np.stack([np.asarray(row, np.float32) for row in made])
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        vectors: Vectors = (rows / np.maximum(lengths, 1e-9)).astype(np.float32)
        return vectors


def _no_path(model: str) -> None:
    """Raise EmbedderError for what is a path; names have one slash at most."""
    path = Path(model).expanduser()
    if path.is_file():
        raise EmbedderError(f"{model} is a file", "Give the folder that the model is in")
    if model.startswith((".", "/", "~")) or model.count("/") > 1:
        raise EmbedderError(
            f"There is no folder {model}",
            "Give the folder of an ONNX sentence encoder, or the name of a model",
        )


def _loaded(fastembed: Any, model: str, cache: Path, threads: int) -> Any:
    """A model from the cache, or else from the hub."""
    rows = fastembed.TextEmbedding.list_supported_models()
    sources = {str(row["model"]).lower(): row.get("sources") or {} for row in rows}
    if model.lower() not in sources:
        some = ", ".join(sorted(str(row["model"]) for row in rows)[:5])
        raise EmbedderError(
            f"fastembed does not know a model {model!a}", f"It knows {some} … Or give a folder"
        )
    load = partial(fastembed.TextEmbedding, model, cache_dir=str(cache), threads=threads)
    try:
        return load(local_files_only=True)
    except ValueError:  # it is not in the cache
        _reach(sources[model.lower()].get("hf"), model)
    return load()


def _reach(repository: str | None, model: str) -> None:
    """Raise EmbedderError if the hub does not answer."""
    if not repository:
        return
    try:
        import_module("huggingface_hub").HfApi().model_info(repository, timeout=REACH_S)
    except Exception as e:
        raise EmbedderError(
            f"{model!a} is not in the cache, and the hub cannot be reached: {type(e).__name__}",
            "Fetch it where it can be reached and copy the folder `models` of the data folder, or "
            "give the folder of the model",
        ) from e
