from __future__ import annotations

import asyncio
import io
import time
from collections.abc import Awaitable, Callable
from time import perf_counter

import pytest

from memrouter.errors import (
    BadRequest,
    EmbedderError,
    StoreError,
    StoreFull,
    VaultCorrupted,
)
from memrouter.memory.forgive import Tried, attempt


def raising(error: BaseException) -> Callable[[], Awaitable[int]]:
    async def work() -> int:
        await asyncio.sleep(0)
        raise error

    return work


async def test_what_works_is_handed_on() -> None:
    async def work() -> int:
        return 7

    assert await attempt(work, 1.0, "recall") == Tried(value=7)


ERRORS = {
    "one of ours": (
        VaultCorrupted("The vault is damaged"),
        "VaultCorrupted",
        "recall: VaultCorrupted: The vault is damaged",
    ),
    "the disk is full": (StoreFull("no space"), "StoreFull", "recall: StoreFull: no space"),
    "the embedder": (EmbedderError("broke"), "EmbedderError", "recall: EmbedderError: broke"),
    # Other exceptions may quote what a user wrote: only their names are told.
    "a bug": (KeyError("my secret"), "KeyError", "recall: KeyError"),
    "the system": (OSError(5, "my secret"), "OSError", "recall: OSError"),
    "memory": (MemoryError(), "MemoryError", "recall: MemoryError"),
    "recursion": (RecursionError("my secret"), "RecursionError", "recall: RecursionError"),
    "several at once": (
        ExceptionGroup("my secret", [ValueError("x")]),
        "ExceptionGroup",
        "recall: ExceptionGroup",
    ),
    "a request's error": (BadRequest("wrong"), "BadRequest", "recall: BadRequest: wrong"),
}


@pytest.mark.parametrize(("error", "kind", "said"), ERRORS.values(), ids=ERRORS)
async def test_whatever_is_raised_becomes_a_reason(error: Exception, kind: str, said: str) -> None:
    tried = await attempt(raising(error), 1.0, "recall")
    assert tried == Tried(value=None, error=said, kind=kind)


async def test_what_raises_before_it_awaits_is_forgiven_too() -> None:
    def work() -> Awaitable[int]:
        raise StoreError("at once")

    assert (await attempt(work, 1.0, "store")).error == "store: StoreError: at once"


async def test_what_hangs_is_given_up_in_time() -> None:
    cancelled = asyncio.Event()

    async def hang() -> int:
        try:
            await asyncio.sleep(3600)
        finally:
            cancelled.set()
        return 1

    began = perf_counter()
    tried = await attempt(hang, 0.02, "recall")
    assert perf_counter() - began < 5
    assert tried == Tried(error="recall took longer than 20 ms", kind="TimeoutError")
    assert cancelled.is_set()


async def test_what_waits_again_and_again_is_handed_on() -> None:
    async def other() -> int:
        await asyncio.sleep(0)
        return 5

    async def work() -> int:
        total = await asyncio.create_task(other())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await asyncio.sleep(3600)
        return total + await asyncio.create_task(other())

    assert await attempt(work, 5.0, "recall") == Tried(value=10)


async def test_what_hangs_late_is_given_up_in_time() -> None:
    async def hang() -> int:
        async with asyncio.timeout(3600):
            await asyncio.sleep(0.01)
            await asyncio.sleep(3600)
        return 1

    tried = await attempt(hang, 0.03, "recall")
    assert tried == Tried(error="recall took longer than 30 ms", kind="TimeoutError")
    task = asyncio.current_task()
    assert task is not None
    assert not task.cancelling()


async def test_time_that_passes_before_it_waits_counts() -> None:
    async def slow() -> int:
        time.sleep(0.05)  # noqa: ASYNC251 - as work on the event loop does
        await asyncio.sleep(3600)
        return 1

    began = perf_counter()
    assert (await attempt(slow, 0.04, "recall")).kind == "TimeoutError"
    assert perf_counter() - began < 5


async def test_a_cancel_in_its_middle_reaches_it() -> None:
    waits = asyncio.Event()
    seen: list[str] = []

    async def work() -> int:
        await asyncio.sleep(0)
        try:
            waits.set()
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            await asyncio.sleep(0)
            seen.append("cancelled")
            raise
        return 1

    task = asyncio.create_task(attempt(work, 3600, "recall"))
    await waits.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert seen == ["cancelled"]


async def test_who_cancels_it_is_obeyed() -> None:
    """A client that leaves ends its request; that is no failure of memory."""
    task = asyncio.create_task(attempt(lambda: asyncio.sleep(3600), 3600, "recall"))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(1)], ids=repr)
def test_the_end_of_the_process_is_not_forgiven(error: BaseException) -> None:
    with pytest.raises(type(error)):
        asyncio.run(attempt(raising(error), 1.0, "recall"))


async def test_the_log_tells_what_failed_and_where_but_not_what_it_said(
    logged: io.StringIO,
) -> None:
    await attempt(raising(KeyError("my secret")), 1.0, "recall")
    line = logged.getvalue()
    assert '"work":"recall"' in line
    assert '"error":"KeyError"' in line
    assert "my secret" not in line
