"""What sentence encoders do alike: two threads each, so that no question waits for passages."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

import numpy as np

from memrouter.domain import Vector, Vectors
from memrouter.errors import EmbedderError
from memrouter.ports import Asked

P = ParamSpec("P")
T = TypeVar("T")

BATCH = 16
"""Texts that a model is given at a time."""
LONGEST = 20_000
"""Characters of a text that are tokenized: a model takes 512 tokens."""


class Lanes:
    """A thread for questions and one for passages, over a model that several may use at once."""

    def __init__(self) -> None:
        self._asked = ThreadPoolExecutor(1, thread_name_prefix="embed-query")
        self._stored = ThreadPoolExecutor(1, thread_name_prefix="embed-passages")

    async def asked(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run what a question waits for."""
        return await self._run(self._asked, partial(work, *args, **kwargs))

    async def stored(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run what nobody waits for."""
        return await self._run(self._stored, partial(work, *args, **kwargs))

    async def _run(self, pool: ThreadPoolExecutor, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(pool, work)


class Encoder(ABC):
    """A sentence encoder in this process. Implements ports.Embedder but for the model itself."""

    instant = False
    name: str
    dimension: int

    def __init__(self, *, query: str, passage: str) -> None:
        """What the model wants in front of questions and of passages."""
        self._lanes = Lanes()
        self._in_front = query, passage

    async def query(self, text: str, rarity: Mapping[str, float]) -> Asked:
        """See Embedder.query; an encoder knows by itself which words matter."""
        del rarity
        asked = self._in_front[0] + text
        vector: Vector = (await self._lanes.asked(self._guarded, [asked]))[0]
        return Asked(weighted=vector, plain=vector)

    async def passages(self, texts: Sequence[str]) -> Vectors:
        """See Embedder.passages; texts of like length are computed together."""
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        found = np.zeros((len(texts), self.dimension), np.float32)
        for at in range(0, len(order), BATCH):
            batch = order[at : at + BATCH]
            given = [self._in_front[1] + texts[i] for i in batch]
            found[batch] = await self._lanes.stored(self._guarded, given)
        return found

    def _guarded(self, texts: Sequence[str]) -> Vectors:
        try:
            return self._encode(texts)
        except EmbedderError:
            raise
        except Exception as e:
            raise EmbedderError(f"{self.name} failed: {type(e).__name__}") from e

    @abstractmethod
    def _encode(self, texts: Sequence[str]) -> Vectors:
        """One vector of length 1 a text. Blocking."""
