"""What is asked does not wait for what is stored."""

from __future__ import annotations

import asyncio
from threading import Event

from memrouter.embed.lanes import Lanes


async def test_a_question_overtakes_passages() -> None:
    lanes, go = Lanes(), Event()
    storing = asyncio.create_task(lanes.stored(go.wait, 60))
    assert await lanes.asked(str.upper, "a") == "A"
    assert not storing.done()
    go.set()
    assert await storing is True
