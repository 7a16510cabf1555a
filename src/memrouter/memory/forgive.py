"""Memory fails open: here, and nowhere else, a request goes on whatever went wrong in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

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
    try:
        async with asyncio.timeout(timeout_s):
            return Tried(value=await work())
    except Exception as e:
        log.warning("memory failed open", work=what, exc_info=e)
        return Tried(error=_said(e, what, timeout_s), kind=type(e).__name__)


def _said(error: Exception, what: str, timeout_s: float) -> str:
    if isinstance(error, TimeoutError):
        return f"{what} took longer than {timeout_s * 1000:.0f} ms"
    name = type(error).__name__
    return f"{what}: {name}: {error}" if isinstance(error, MemrouterError) else f"{what}: {name}"
