"""Changing the encoder of a folder while it is served."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from memrouter import choice, switching
from memrouter.choice import STATIC, Choice, Progress
from memrouter.domain import NewTurn, Piece, Scope, VaultId, Vectors
from memrouter.errors import EmbedderError
from memrouter.memory.backlog import Backlog
from memrouter.memory.encoders import Encoders
from memrouter.ports import Asked
from memrouter.switching import Switching, opened
from memrouter.testing.store import MemoryVaultStore

NOW = datetime(2026, 6, 5, tzinfo=UTC)
VAULTS = [VaultId("aa01"), VaultId("aa02"), VaultId("aa03")]


class Encoder:
    """Gives each text its length; the default embedder is one, too."""

    dimension = 2
    instant = True

    def __init__(self, name: str) -> None:
        self.name = name
        self.seen: list[str] = []

    async def query(self, text: str, rarity: Mapping[str, float]) -> Asked:
        """See Embedder.query."""
        raise NotImplementedError

    async def passages(self, texts: Sequence[str]) -> Vectors:
        """See Embedder.passages."""
        self.seen += texts
        return np.tile(np.array([0, 1], np.float32), (len(texts), 1))


def load(name: str) -> Encoder:
    """As a configuration would."""
    if name == "broken":
        raise EmbedderError("no such folder", "look")
    return Encoder(name)


class Served:
    """A folder with three vaults of 40 chunks each, and what follows its choice."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = MemoryVaultStore()
        self.encoders = Encoders()
        self.backlog = Backlog(self.store, Encoder("default"), encoders=self.encoders)
        self.switching = Switching(folder, Choice(), load, self.store, self.backlog, self.encoders)

    async def fill(self) -> None:
        """Store, with the default embedder's vectors."""
        for vault in VAULTS:
            turns = [
                NewTurn(
                    role="user",
                    text=f"turn {n}",
                    created=NOW,
                    pieces=(Piece(text=f"turn {n}", tokens=2, terms=b""),),
                )
                for n in range(40)
            ]
            await self.store.remember(vault, turns, now=NOW)
            await self.backlog.drain_some(vault)

    async def held(self) -> list[tuple[str, int]]:
        """Whose encodings each vault has, and how many."""
        found = [await self.store.signals(Scope(vault=vault)) for vault in VAULTS]
        return [(signals.encoder, int(signals.encoded.sum())) for signals in found]


@pytest.fixture
async def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Served:
    monkeypatch.setattr(switching, "_LOOK_S", 0.01)
    monkeypatch.setattr(switching, "_RETRY_S", 0.01)
    made = Served(tmp_path)
    await made.fill()
    return made


async def until(met: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not met():  # noqa: ASYNC110 - what changes is a file
            await asyncio.sleep(0.01)


@asynccontextmanager
async def following(served: Served) -> AsyncIterator[None]:
    """Run what follows the choice."""
    running = asyncio.create_task(served.switching.run())
    yield
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


async def until_done(served: Served, use: str) -> None:
    """Follow the choice until all vaults have it."""
    async with following(served):
        await until(lambda: choice.read(served.folder) == Choice(use=use))


async def test_a_choice_is_followed_and_finished(served: Served) -> None:
    choice.write(served.folder, Choice().changed("new"))
    await until_done(served, "new")
    assert await served.held() == [("new", 40)] * 3
    assert choice.progress(served.folder) == Progress(
        use="new", vaults=3, counted=3, chunks=120, encoded=120
    )
    choice.write(served.folder, choice.read(served.folder).changed(STATIC))
    await until_done(served, STATIC)
    assert await served.held() == [("", 0)] * 3
    assert served.encoders.current is None


async def test_vaults_change_one_by_one_and_old_encodings_serve_meanwhile(served: Served) -> None:
    choice.write(served.folder, Choice().changed("old"))
    await until_done(served, "old")
    choice.write(served.folder, choice.read(served.folder).changed("new"))
    await served.switching._follow()
    seen: list[list[tuple[str, int]]] = []
    names: list[bool] = []

    def told(state: Progress) -> None:
        names.append(served.encoders.named("old") is not None)
        seen.append(
            [
                (held.encoder, sum(c.encoding is not None for c, _, _ in held.chunks()))
                for held in served.store._vaults.values()
            ]
        )

    await served.switching.change_over(told)
    assert all(names)  # whoever asks a vault that is not done finds its encoder
    assert all(count == 40 for row in seen for _, count in row)
    assert [("new", 40), ("old", 40), ("old", 40)] in seen
    assert await served.held() == [("new", 40)] * 3
    assert served.encoders.named("old") is None


async def test_a_vault_of_a_choice_of_its_own_is_left_alone(served: Served) -> None:
    own = VaultId("bb01")
    await served.store.choose_embedder(own, "endpoint")
    turn = NewTurn(
        role="user", text="x", created=NOW, pieces=(Piece(text="x", tokens=1, terms=b""),)
    )
    await served.store.remember(own, [turn], now=NOW)
    choice.write(served.folder, Choice().changed("new"))
    await until_done(served, "new")
    assert (await served.store.signals(Scope(vault=own))).encoder == ""


async def test_another_choice_meanwhile_is_followed(served: Served) -> None:
    choice.write(served.folder, Choice().changed("first"))
    await served.switching._follow()

    def told(state: Progress) -> None:
        if state.encoded == 32:
            choice.write(served.folder, choice.read(served.folder).changed("second"))

    await served.switching.change_over(told)
    assert choice.read(served.folder).use == "second"
    assert not choice.read(served.folder).done
    await until_done(served, "second")
    assert await served.held() == [("second", 40)] * 3


async def test_what_cannot_be_loaded_is_noted_and_tried_again(served: Served) -> None:
    choice.write(served.folder, Choice().changed("broken"))
    async with following(served):
        await until(lambda: "no such folder" in choice.progress(served.folder).error)
        assert await served.held() == [("", 0)] * 3
        choice.write(served.folder, choice.read(served.folder).changed("new"))
        await until(lambda: choice.read(served.folder) == Choice(use="new"))
    assert await served.held() == [("new", 40)] * 3


def test_a_start_without_the_chosen_encoder() -> None:
    chosen = Choice(use="broken", before=("broken", "old"), done=False)
    found = opened(chosen, load, strict=False)
    assert (found.current, [e.name for e in found.before]) == (None, ["old"])
    with pytest.raises(EmbedderError):
        opened(chosen, load, strict=True)
    assert opened(Choice(), load, strict=True).current is None
