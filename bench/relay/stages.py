"""`python -m bench.relay.stages`: what each stage of a request with memory costs, in one process.

No sockets and no other process: CPU time of reading a request, making its turns, planning,
carrying out the plan, drafting and committing. Users take turns; each one's conversation grows by
an exchange a visit, as in the bench. Vaults are filled once and kept in the bench's build folder.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import random
import resource
import shutil
import time
from collections import Counter, defaultdict
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson

from memrouter import tokens
from memrouter.app import Parts, Remembering, build, remembering
from memrouter.config import Config
from memrouter.domain import MemoryOptions, NewTurn, Reply, Scope, VaultId, turn_digest
from memrouter.memory.backlog import passage
from memrouter.memory.engine import Prompt
from memrouter.wire import raw
from memrouter.wire.openai_chat import OpenAIChat

from . import texts
from .loadgen import QUESTIONS, TURNS
from .options import BUILD
from .report import console, table

STAGES = ("parse", "turns", "plan", "apply", "draft", "commit")


class Users:
    """Users of a router, each with a vault and a conversation."""

    def __init__(self, parts: Parts, rooms: Remembering, count: int, body: int) -> None:
        self._parts = parts
        self._memory = rooms.memory
        self._historian = rooms.historian
        self._wire = OpenAIChat()
        self._head = orjson.loads(texts.chat_head(body, exchange=1_500) + b"]}")["messages"]
        self._questions = texts.questions(QUESTIONS)
        self._reply = texts.reply()
        self._said: list[list[Any]] = [[] for _ in range(count)]
        self.spent: defaultdict[str, float] = defaultdict(float)
        self.requests = 0

    def __len__(self) -> int:
        return len(self._said)

    async def fill(self, memories: int) -> None:
        """Give each vault so many memories, with their vectors."""
        store, embedder = self._parts.store, self._parts.embedder
        now = datetime.now(UTC)
        for user in range(len(self)):
            vault = _vault(user)
            turns = []
            for line in texts.memories(memories, user, int(now.timestamp() * 1_000)):
                told = json.loads(line)
                created = datetime.fromtimestamp(told["timestamp"] / 1_000, UTC)
                turns.append(
                    NewTurn(
                        role=told["role"],
                        text=told["content"],
                        created=created,
                        pieces=self._historian.pieces(told["content"], created),
                        digest=turn_digest(told["role"], told["content"]),
                    )
                )
            await store.remember(vault, turns, now=now)
            while waiting := await store.pending(vault, 512):
                made = await embedder.passages([passage(w.text, w.created) for w in waiting])
                await store.set_vectors(vault, embedder.name, [w.id for w in waiting], made)

    async def visit(self, user: int, number: int) -> None:
        """One request of a user, and its reply.

        number  of the visit; after TURNS of them the next conversation begins
        """
        if number % TURNS == 0:
            self._said[user] = list(self._head)
        said = self._said[user]
        asked = f"{random.choice(self._questions)} {random.randrange(10**9)}"
        said.append({"role": "user", "content": asked})
        data = orjson.dumps({"model": "openai/gpt-5.5", "messages": said, "stream": False})
        await self._request(_vault(user), data)
        said.append({"role": "assistant", "content": self._reply})

    async def _request(self, vault: VaultId, data: bytes) -> None:
        clock, wire, memory = time.process_time, self._wire, self._memory
        times = [clock()]
        body = raw.parse(data)
        wire.check(body)
        times.append(clock())
        turns = wire.turns(body)
        system_tokens = tokens.estimate(wire.system_text(body))
        times.append(clock())
        prompt = Prompt(
            scope=Scope(vault=vault),
            turns=turns,
            options=MemoryOptions(),
            system_tokens=system_tokens,
        )
        plan = await memory.plan(prompt)
        times.append(clock())
        if plan.recall.blocks:
            raw.join_object(wire.inject(raw.split_object(data), plan.recall.blocks, None))
        times.append(clock())
        draft = await memory.draft(plan)
        times.append(clock())
        await memory.commit(plan, draft, Reply(text=self._reply, complete=True), "gpt-5.5")
        times.append(clock())
        self.requests += 1
        for stage, (before, after) in zip(STAGES, pairwise(times), strict=True):
            self.spent[stage] += after - before


def _vault(user: int) -> VaultId:
    return VaultId(f"user{user:05}")


async def _run(given: argparse.Namespace) -> None:
    folder = BUILD / "stages" / f"{given.users}x{given.memories}"
    filled = folder / "filled"
    if not filled.exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    data = _copy(folder) if filled.exists() else folder
    config = Config(data_dir=str(data), vector_cache_mb=given.cache_mb)
    parts = build(config, data)
    users = Users(parts, remembering(parts, lambda scope, stored: None), given.users, given.body)
    try:
        if not filled.exists():
            await users.fill(given.memories)
            filled.touch()
            console.print("filled; run it again to measure")
            return
        for number in range(TURNS):
            for user in range(len(users)):
                await users.visit(user, number)
        users.spent.clear()
        users.requests = 0
        gc.collect()
        gc.freeze()
        for number in range(given.rounds):
            for user in range(len(users)):
                await users.visit(user, number)
    finally:
        await parts.close()
    each = Counter({stage: users.spent[stage] / users.requests * 1e6 for stage in STAGES})
    rss_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    cells = [*(f"{each[stage]:,.0f}" for stage in STAGES), f"{each.total():,.0f}", f"{rss_mb:,.0f}"]
    title = f"CPU µs a request, {given.users:,} users in turn, vaults of {given.memories:,}"
    table(title, [*STAGES, "in all", "peak RSS MB"], [cells])


def _copy(folder: Path) -> Path:
    target = BUILD / "run" / "stages"
    shutil.rmtree(target, ignore_errors=True)
    return Path(shutil.copytree(folder, target))


def main() -> None:
    """Fill the vaults, or measure on a copy of them."""
    p = argparse.ArgumentParser(prog="python -m bench.relay.stages", description=__doc__)
    p.add_argument("--users", type=int, default=8)
    p.add_argument("--memories", type=int, default=1_000, help="a vault")
    p.add_argument("--rounds", type=int, default=40, help="visits of each user")
    p.add_argument("--body", type=int, default=20_000, help="bytes of a request")
    p.add_argument("--cache-mb", type=int, default=24, help="vector_cache_mb")
    asyncio.run(_run(p.parse_args()))


if __name__ == "__main__":
    main()
