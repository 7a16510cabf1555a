"""Memory fails open: here, and nowhere else, a request goes on whatever went wrong in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from memrouter.errors import MemrouterError
from memrouter.ops.logs import logger

log = logger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Tried(Generic[T]):
    """What came of it: a value, or the reason why there is none."""

    value: T | None = None
    error: str = ""
    """For a header: the failure's name and our own words for it, never a client's."""
    kind: str = ""
    """For a metric: the failure's name."""


async def attempt(work: Callable[[], Awaitable[T]], timeout_s: float, what: str) -> Tried[T]:
    """Do some work of memory; whatever it raises, and however long it takes, return in time.

    timeout_s  after which it is given up
    what       names the work in the log
    """
    due_s = asyncio.get_running_loop().time() + timeout_s
    try:
        # Most of it ends without waiting for anything: only what waits needs a timer.
        steps = work().__await__()
        try:
            first = next(steps)
        except StopIteration as done:
            return Tried(value=done.value)
        async with asyncio.timeout_at(due_s):
            return Tried(value=await _Rest(steps, first))
    except Exception as e:
        log.warning("memory failed open", work=what, exc_info=e)
        return Tried(error=_said(e, what, timeout_s), kind=type(e).__name__)


class _Rest(Generic[T]):
    """What is left of some work after its first step."""

    def __init__(self, steps: Generator[Any, Any, T], first: Any) -> None:
        """first  what its first step waits for"""
        self._steps = steps
        self._first = first

    def __await__(self) -> Generator[Any, Any, T]:
        steps, waits_for = self._steps, self._first
        try:
            while True:
                try:
                    sent = yield waits_for
                except BaseException as e:  # noqa: BLE001 - it is handed to the work
                    waits_for = steps.throw(e)
                else:
                    waits_for = steps.send(sent)
        except StopIteration as done:
            value: T = done.value
            return value


def _said(error: Exception, what: str, timeout_s: float) -> str:
    if isinstance(error, TimeoutError):
        return f"{what} took longer than {timeout_s * 1000:.0f} ms"
    name = type(error).__name__
    return f"{what}: {name}: {error}" if isinstance(error, MemrouterError) else f"{what}: {name}"
