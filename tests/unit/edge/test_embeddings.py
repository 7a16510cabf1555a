"""A vault keeps its embedding model; requests may name the ones there are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from memrouter.domain import VaultId, Vectors
from memrouter.edge.embeddings import Embeddings
from memrouter.errors import BadRequest, Conflict
from memrouter.ports import Asked
from memrouter.testing.store import MemoryVaultStore

VAULT = VaultId("v")


class Named:
    """An embedder of a name."""

    dimension = 4
    instant = True

    def __init__(self, name: str) -> None:
        self.name = name

    async def query(self, text: str, rarity: Mapping[str, float]) -> Asked:
        raise NotImplementedError

    async def passages(self, texts: Sequence[str]) -> Vectors:
        return np.zeros((len(texts), self.dimension), np.float32)


class Store(MemoryVaultStore):
    """A store whose vaults have the embedders that it is told."""

    def __init__(self, held: str | None) -> None:
        super().__init__()
        self.held = held
        self.chosen: list[tuple[VaultId, str]] = []

    async def embedder(self, vault: VaultId) -> str | None:
        return self.held

    async def choose(self, vault: VaultId, name: str) -> None:
        self.chosen.append((vault, name))


STATIC, REMOTE = Named("static-1"), Named("text-embedding-3-small@512")


def embeddings(store: Store) -> Embeddings:
    return Embeddings(store, STATIC, {"small": REMOTE}, store.choose)


NAMES = {"small": REMOTE, "default": STATIC, "static-1": STATIC}


@pytest.mark.parametrize(("name", "embedder"), NAMES.items())
def test_names(name: str, embedder: Named) -> None:
    assert embeddings(Store(None)).named(name) is embedder


@pytest.mark.parametrize("name", ["large", "Small", "text-embedding-3-small@512", "\ud800", ""])
def test_an_unknown_name_lists_the_known(name: str) -> None:
    with pytest.raises(BadRequest) as caught:
        embeddings(Store(None)).named(name)
    assert caught.value.hint == "Configured are small, default, static-1"
    assert str(caught.value).isascii()


HELD: dict[str, tuple[str | None, str, bool, str]] = {
    "none named": ("anything", "", False, ""),
    "none named, to write": (None, "", True, ""),
    "the vault's own": (REMOTE.name, "small", True, ""),
    "a vault without, to read": (None, "small", False, ""),
    "a vault without, to write": (None, "small", True, REMOTE.name),
}


@pytest.mark.parametrize(("held", "name", "choose", "chosen"), HELD.values(), ids=HELD)
async def test_what_a_vault_goes_with(
    held: str | None, name: str, choose: bool, chosen: str
) -> None:
    store = Store(held)
    await embeddings(store).agree(VAULT, name, choose=choose)
    assert store.chosen == ([(VAULT, chosen)] if chosen else [])


@pytest.mark.parametrize("name", ["default", "static-1"])
async def test_another_model_is_a_conflict(name: str) -> None:
    with pytest.raises(Conflict, match="static-1") as caught:
        await embeddings(Store(REMOTE.name)).agree(VAULT, name)
    assert "reset=true" in caught.value.hint


async def test_the_embedder_of_a_vault() -> None:
    assert await embeddings(Store(REMOTE.name)).of(VAULT) is REMOTE
    assert await embeddings(Store(None)).of(VAULT) is STATIC
    assert await embeddings(Store("no longer configured")).of(VAULT) is STATIC


async def test_the_default_needs_no_choice() -> None:
    await Embeddings(Store(None), STATIC).agree(VAULT, "default", choose=True)
