"""Sentence encoders from a local folder: tokenizer.json and an ONNX model, run by onnxruntime.

How a model wants to be asked stands in files that come with it: sentence-transformers' pooling and
prompts, or our own `memrouter.json`; for models without either, in a table here.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import numpy as np
from tokenizers import Tokenizer

from memrouter.domain import Vectors
from memrouter.embed.lanes import LONGEST, Encoder
from memrouter.embed.texts import fit
from memrouter.errors import EmbedderError

SETTINGS = "memrouter.json"
"""A file in the model's folder with any of the fields of Manner; it wins over all else."""
_NAMED = 1 << 20  # bytes of a model that go into its name

_ASK = "Represent this sentence for searching relevant passages: "


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How a model wants to be asked."""

    pooling: Literal["cls", "mean"] = "mean"
    query: str = ""
    """Put in front of what is asked."""
    passage: str = ""
    """Put in front of what is stored."""
    max_tokens: int = 512


KNOWN: tuple[tuple[str, Manner], ...] = (
    ("arctic-embed", Manner(pooling="cls", query=_ASK)),
    ("bge-m3", Manner(pooling="cls")),
    ("bge-", Manner(pooling="cls", query=_ASK)),
    ("mxbai", Manner(pooling="cls", query=_ASK)),
    ("e5-", Manner(query="query: ", passage="passage: ")),
    ("nomic-embed", Manner(query="search_query: ", passage="search_document: ")),
    ("gte-multilingual", Manner(pooling="cls")),
    ("gte-modernbert", Manner(pooling="cls")),
)
"""Part of a model's name → its manner, the first that fits; all others are asked plainly."""


class OnnxEmbedder(Encoder):
    """A sentence encoder on threads of its own. Implements ports.Embedder."""

    def __init__(self, folder: Path, *, threads: int = 1, manner: Manner | None = None) -> None:
        """Load a model. Raises EmbedderError.

        threads  that one text is computed on; texts are computed one batch after the other
        manner   None to find it out, see `manner_of`
        """
        self._manner = manner or manner_of(folder)
        super().__init__(query=self._manner.query, passage=self._manner.passage)
        model = model_file(folder)
        try:
            self._tokenizer: Any = Tokenizer.from_file(str(folder / "tokenizer.json"))
            self._tokenizer.enable_truncation(self._manner.max_tokens)
            self._tokenizer.enable_padding()
            self._session = _session(model, threads)
            self._inputs = [given.name for given in self._session.get_inputs()]
            self.dimension = int(self._encode(["?"]).shape[1])
        except EmbedderError:
            raise
        except Exception as e:
            raise EmbedderError(
                f"The model in {folder.name} cannot be used: {type(e).__name__}",
                "It needs tokenizer.json and a sentence encoder as model.onnx",
            ) from e
        self.name = f"{folder.resolve().name}-{self.dimension}-{_fingerprint(model)}"

    def _encode(self, texts: Sequence[str]) -> Vectors:
        encodings = self._tokenizer.encode_batch([fit(text, LONGEST) for text in texts])
        mask = np.array([e.attention_mask for e in encodings], np.int64)
        given = {
            "input_ids": np.array([e.ids for e in encodings], np.int64),
            "attention_mask": mask,
            "token_type_ids": np.array([e.type_ids for e in encodings], np.int64),
        }
        output = self._session.run(None, {name: given[name] for name in self._inputs})[0]
        return pooled(np.asarray(output, np.float32), mask, self._manner.pooling)


def pooled(output: Vectors, mask: Any, pooling: Literal["cls", "mean"]) -> Vectors:
    """One vector a text, of length 1, from what a model returned.

    output  shape (texts, dimension), or (texts, tokens, dimension)
    mask    shape (texts, tokens), 1 where a token is no padding
    """
    if output.ndim == 3:
        if pooling == "cls":
            output = output[:, 0]
        else:
            weights = mask[:, :, np.newaxis].astype(np.float32)
            output = (output * weights).sum(axis=1) / np.maximum(weights.sum(axis=1), 1e-9)
    if not np.isfinite(output).all():
        raise EmbedderError("The model returned numbers that are none")
    lengths = np.linalg.norm(output, axis=1, keepdims=True)
    vectors: Vectors = (output / np.maximum(lengths, 1e-9)).astype(np.float32)
    return vectors


def manner_of(folder: Path) -> Manner:
    """How the model in a folder wants to be asked. Raises EmbedderError if its files are broken."""
    own = _json(folder / SETTINGS)
    try:
        if own:
            return Manner(**own)
    except TypeError as e:
        raise EmbedderError(f"{SETTINGS} has a field that is not known", str(e)) from e
    names = [folder.resolve().name, str(_json(folder / "config.json").get("_name_or_path", ""))]
    known = next((found for name in names if (found := named_manner(name))), Manner())
    pooling = _json(folder / "1_Pooling" / "config.json")
    prompts = _json(folder / "config_sentence_transformers.json").get("prompts") or {}
    cls = pooling.get("pooling_mode_cls_token", known.pooling == "cls")
    return Manner(
        pooling="cls" if cls else "mean",
        query=str(prompts.get("query", known.query)),
        passage=str(prompts.get("document", prompts.get("passage", known.passage))),
        max_tokens=known.max_tokens,
    )


def named_manner(name: str) -> Manner | None:
    """The manner of a model that is known by its name."""
    return next((manner for part, manner in KNOWN if part in name.lower()), None)


def model_file(folder: Path) -> Path:
    """The model in a folder or its `onnx/`: model.onnx, or else the first model*.onnx."""
    found = sorted(
        path for where in (folder, folder / "onnx") for path in where.glob("model*.onnx")
    )
    whole = [path for path in found if path.name == "model.onnx"]
    if not found:
        raise EmbedderError(
            f"There is no model*.onnx in {folder}", "Give the folder of an ONNX sentence encoder"
        )
    return (whole or found)[0]


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    except (OSError, ValueError) as e:
        raise EmbedderError(f"{path.name} cannot be read") from e
    return found if isinstance(found, dict) else {}


def _session(model: Path, threads: int) -> Any:
    try:
        runtime: Any = import_module("onnxruntime")
    except ImportError as e:
        raise EmbedderError(
            "The package onnxruntime is not installed", "pip install 'memrouter[onnx]'"
        ) from e
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Threads that spin while they wait would take the router's processor time.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return runtime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])


def _fingerprint(model: Path) -> str:
    with model.open("rb") as file:
        digest = sha256(file.read(_NAMED))
    digest.update(str(model.stat().st_size).encode())
    return digest.hexdigest()[:8]
