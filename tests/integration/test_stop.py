"""Starting and stopping: what was accepted is stored, whatever is under way."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from memrouter.app import Parts
from memrouter.domain import Pending, Scope, VaultId
from memrouter.embed.static import StaticEmbedder
from memrouter.errors import EmbedderError
from memrouter.ports import Asked
from memrouter.store.sqlite.database import Database
from memrouter.store.sqlite.vault import known
from memrouter.store.sqlite.vaults import SqliteVaultStore
from memrouter.testing.provider import ScriptedProvider
from memrouter.testing.script import NOTED, Answer

from .conftest import CHAT, messages, started, until

Served = tuple[ScriptedProvider, int]
FACT = "My dog is called Rex."
QUESTION = "What is my dog called?"


async def test_memory_outlives_the_process(
    tmp_path: Path, provider: ScriptedProvider, served: Served
) -> None:
    async with started(tmp_path, provider, served[1]) as world:
        key = await world.key()
        await world.ask(key, FACT)
    async with started(tmp_path, provider, served[1]) as world:
        assert world.account_key == ""
        await world.embedded()
        await world.ask(key, QUESTION)
        assert "Rex" in provider.prompts[-1].memory


async def test_vectors_that_were_not_made_are_made_after_the_next_start(
    tmp_path: Path, provider: ScriptedProvider, served: Served
) -> None:
    class Never(StaticEmbedder):
        async def passages(self, texts: Sequence[str]) -> Any:
            raise EmbedderError("not today")

    def wrap(parts: Parts) -> Parts:
        return replace(parts, embedder=Never())

    async with started(tmp_path, provider, served[1], wrap=wrap, settle=False) as world:
        key = await world.key()
        await world.ask(key, FACT)
        vault = VaultId((await world.vault_file(key)).stem)
        assert (await world.parts.store.stats(Scope(vault=vault))).pending == 2
    async with started(tmp_path, provider, served[1]) as world:
        await world.embedded()
        assert (await world.parts.store.stats(Scope(vault=vault))).pending == 0


async def test_an_embedder_that_fails_at_the_start_is_done_without(
    tmp_path: Path, provider: ScriptedProvider, served: Served
) -> None:
    class Broken(StaticEmbedder):
        async def query(self, text: str, rarity: Any) -> Asked:
            raise EmbedderError("broken")

    def wrap(parts: Parts) -> Parts:
        return replace(parts, embedder=Broken())

    async with started(tmp_path, provider, served[1], wrap=wrap) as world:
        assert (await world.ask(await world.key(), "hi")).status == 200


async def test_what_a_client_did_not_wait_for_is_stored_at_the_stop(
    tmp_path: Path, provider: ScriptedProvider, served: Served
) -> None:
    async with started(tmp_path, provider, served[1]) as world:
        key = await world.key()
        provider.queue(Answer(text="one two three", hold_after=2))
        body = {"model": "gpt-5.5", "messages": messages([FACT]), "stream": True}
        async with world.client(key).call("POST", CHAT, body) as call:
            await anext(call.blocks())
    async with started(tmp_path, provider, served[1]) as world:
        assert await world.stored(key) == [FACT]


class Busy(SqliteVaultStore):
    """A store whose threads take their time to find what waits for a vector."""

    looking = False

    async def pending(self, vault: VaultId, limit: int) -> Sequence[Pending]:
        def look(db: Database) -> list[Pending]:
            self.looking = True
            known(db, [b"x" * 16] * 200_000)
            return []

        return await self._vaults.read(vault, look) or ()


async def test_a_stop_while_the_store_is_at_work_is_clean(
    tmp_path: Path, provider: ScriptedProvider, served: Served
) -> None:
    store = Busy(tmp_path)

    def wrap(parts: Parts) -> Parts:
        return replace(parts, store=store)

    async with started(tmp_path, provider, served[1], wrap=wrap, settle=False) as world:
        key = await world.key()
        await world.ask(key, FACT)
        vault = VaultId((await world.vault_file(key)).stem)
        given_up = asyncio.create_task(store.pending(vault, 1))
        await until(lambda: store.looking)
        given_up.cancel()


async def test_a_question_that_was_given_up_does_not_disturb_the_next(
    tmp_path: Path, provider: ScriptedProvider, served: Served
) -> None:
    """The recall budget cancels what takes too long; the next request must find memory in order."""
    async with started(tmp_path, provider, served[1]) as world:
        key = await world.key()
        await world.ask(key, FACT)
        vault = VaultId((await world.vault_file(key)).stem)
        store = world.parts.store
        long = asyncio.create_task(store.known(vault, [b"x" * 16] * 300_000))
        await asyncio.sleep(0.05)
        long.cancel()
        answer = await world.ask(key, QUESTION)
        assert "x-memory-error" not in answer.headers


async def test_a_prompt_is_answered_while_an_older_one_is_stored(
    tmp_path: Path, provider: ScriptedProvider, served: Served
) -> None:
    """One user's long import holds up nobody else."""
    async with started(tmp_path, provider, served[1]) as world:
        alice, bob = await world.key("alice"), await world.key("bob")
        await world.ask(bob, FACT)
        await world.embedded()
        talk = [f"Turn {n} of a long history." for n in range(3001)]
        importing = asyncio.create_task(world.ask(alice, *talk))
        await asyncio.sleep(0.05)
        for _ in range(3):
            answer = await asyncio.wait_for(world.ask(f"{bob}:read", QUESTION), 10)
            assert "Rex" in answer.body.decode()
        assert NOTED in (await importing).body.decode()
        assert len(await world.stored(alice)) == 1000
