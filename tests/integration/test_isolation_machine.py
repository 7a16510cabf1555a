"""The state machine of isolation_machine.py, for as many steps as there is time.

`python -m bench.drills.isolation --steps 10000` runs it for longer.
"""

from __future__ import annotations

import asyncio
import io
import os
import tempfile
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from memrouter.testing.provider import ScriptedProvider

from .conftest import World, started
from .isolation_machine import Isolation

STEPS = int(os.environ.get("DRILL_STEPS", "300"))
EACH = 50  # steps of an example


@contextmanager
def lasting(served: tuple[ScriptedProvider, int]) -> Iterator[tuple[asyncio.Runner, World]]:
    """One router for some examples; each has accounts of its own."""
    with asyncio.Runner() as runner, tempfile.TemporaryDirectory() as folder:
        stack = AsyncExitStack()
        world = runner.run(stack.enter_async_context(started(Path(folder), served[0], served[1])))
        yield runner, world
        world.provider.script = None
        runner.run(stack.aclose())


@pytest.mark.timeout(max(300, STEPS))
def test_nobody_sees_what_is_not_theirs(
    served: tuple[ScriptedProvider, int], logged: io.StringIO
) -> None:
    Isolation.steps = 0
    while Isolation.steps < STEPS:
        with lasting(served) as (runner, world):
            run_state_machine_as_test(
                lambda: Isolation(runner, world, logged),  # type: ignore[arg-type]
                settings=settings(
                    max_examples=min(STEPS, 500) // EACH,
                    stateful_step_count=EACH,
                    derandomize="DRILL_STEPS" not in os.environ,
                    database=None,
                    phases=[Phase.generate],  # an example of some steps can be read as it is
                    suppress_health_check=list(HealthCheck),
                ),
            )
    print(f"{Isolation.steps} steps")
