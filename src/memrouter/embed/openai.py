"""Any OpenAI-compatible /embeddings endpoint as an embedder."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from memrouter.domain import Vector, Vectors
from memrouter.embed.texts import fit
from memrouter.errors import EmbedderError
from memrouter.ports import Asked

Post = Callable[[str, Mapping[str, str], bytes, float], Awaitable[tuple[int, bytes]]]
"""(URL, headers, body, timeout in seconds) → (status, body). Raises OSError or TimeoutError."""

_BATCH = 64
_LONGEST = 16_000  # characters of a text: common models take 8,192 tokens
_QUERY_TIMEOUT_S = 5.0
_PASSAGES_TIMEOUT_S = 60.0


class _Item(msgspec.Struct):
    embedding: list[float]
    index: int = 0


class _Answer(msgspec.Struct):
    data: list[_Item]


_DECODER = msgspec.json.Decoder(_Answer)


class OpenAIEmbedder:
    """Asks an endpoint for vectors. Implements ports.Embedder."""

    instant = False

    def __init__(
        self,
        post: Post,
        *,
        base_url: str,
        api_key: str,
        model: str,
        dimension: int,
        send_dimension: bool = False,
        query_prefix: str = "",
        passage_prefix: str = "",
    ) -> None:
        """Sends nothing yet.

        base_url        as for OpenAI's SDK: without /embeddings
        dimension       of the model's vectors
        send_dimension  whether to ask for it, where a model has several
        """
        self.name = f"{model}-{dimension}"
        self.dimension = dimension
        self._post = post
        self._url = base_url.rstrip("/") + "/embeddings"
        self._headers = {"content-type": "application/json"}
        if api_key:
            self._headers["authorization"] = f"Bearer {api_key}"
        self._fixed: dict[str, Any] = {"model": model, "encoding_format": "float"}
        if send_dimension:
            self._fixed["dimensions"] = dimension
        self._query_prefix = query_prefix
        self._passage_prefix = passage_prefix

    async def query(self, text: str, rarity: Mapping[str, float]) -> Asked:
        """See Embedder.query; the model knows by itself which words matter."""
        del rarity
        vector: Vector = (await self._ask([self._query_prefix + text], _QUERY_TIMEOUT_S))[0]
        return Asked(weighted=vector, plain=vector)

    async def passages(self, texts: Sequence[str]) -> Vectors:
        """See Embedder.passages."""
        found = np.zeros((len(texts), self.dimension), np.float32)
        for at in range(0, len(texts), _BATCH):
            batch = [self._passage_prefix + text for text in texts[at : at + _BATCH]]
            found[at : at + len(batch)] = await self._ask(batch, _PASSAGES_TIMEOUT_S)
        return found

    async def _ask(self, texts: Sequence[str], timeout_s: float) -> Vectors:
        # Endpoints refuse empty inputs.
        asked = [fit(text, _LONGEST) or " " for text in texts]
        body = msgspec.json.encode({**self._fixed, "input": asked})
        try:
            status, answer = await self._post(self._url, self._headers, body, timeout_s)
        except (OSError, TimeoutError) as e:
            raise EmbedderError(
                f"The embeddings endpoint did not answer: {type(e).__name__}",
                "Check its base URL, and that it runs",
            ) from e
        if status != 200:
            raise EmbedderError(
                f"The embeddings endpoint answered {status}",
                "Check its key and model" if status in (400, 401, 403, 404) else "Try again later",
            )
        return self._vectors(answer, len(texts))

    def _vectors(self, answer: bytes, count: int) -> Vectors:
        try:
            items = sorted(_DECODER.decode(answer).data, key=lambda item: item.index)
        except msgspec.MsgspecError as e:
            raise EmbedderError("The embeddings endpoint answered something else") from e
        if len(items) != count or any(len(i.embedding) != self.dimension for i in items):
            raise EmbedderError(
                f"The embeddings endpoint did not answer {count} vectors of {self.dimension}",
                "Set the dimension that the model has",
            )
        vectors: Vectors = np.array([item.embedding for item in items], np.float32)
        if not np.isfinite(vectors).all():
            raise EmbedderError("The embeddings endpoint answered numbers that are none")
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        unit: Vectors = (vectors / np.maximum(lengths, 1e-9)).astype(np.float32)
        return unit
