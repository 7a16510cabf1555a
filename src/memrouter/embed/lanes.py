"""Two threads for a model: what is asked never waits for what is stored."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


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
