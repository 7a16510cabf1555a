"""Embedding models that requests may name, and the one that each vault keeps to."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from memrouter.domain import VaultId
from memrouter.errors import BadRequest, Conflict
from memrouter.ports import Embedder, VaultStore

DEFAULT = "default"
Choose = Callable[[VaultId, str], Awaitable[None]]
"""Records the name of the embedder that a vault without vectors is to get; Conflict if it has."""


class Embeddings:
    """The configured embedders by name. A vault keeps the one that it was made with."""

    def __init__(
        self,
        store: VaultStore,
        default: Embedder,
        named: Mapping[str, Embedder] | None = None,
        choose: Choose | None = None,
    ) -> None:
        """Which embedders there are.

        named   by the name that requests use; the default embedder goes by its own as well
        choose  needed where there are others than the default, which vaults get by themselves
        """
        self._store = store
        self._default = default
        self._named = {**(named or {}), DEFAULT: default}
        self._named.setdefault(default.name, default)
        self._by_vectors = {e.name: e for e in self._named.values()}
        self._choose = choose

    @property
    def names(self) -> tuple[str, ...]:
        """What requests may ask for."""
        return tuple(self._named)

    def named(self, name: str) -> Embedder:
        """The embedder of a name. Raises BadRequest that lists the names there are."""
        embedder = self._named.get(name)
        if embedder is None:
            raise BadRequest(
                f"There is no embedding model {name!a} here",
                f"Configured are {', '.join(self.names)}",
            )
        return embedder

    async def of(self, vault: VaultId) -> Embedder:
        """The embedder that made a vault's vectors, or will make them.

        The default one where the vault's is not configured any more: words find what it holds.
        """
        return self._by_vectors.get(await self._store.embedder(vault) or "", self._default)

    async def agree(self, vault: VaultId, name: str, *, choose: bool = False) -> None:
        """Make sure that a vault goes with the model that a request names, "" for any.

        choose  whether a vault that has no vectors yet keeps to it from now on
        raises  BadRequest for an unknown name, Conflict if the vault has another model's vectors
        """
        if not name:
            return
        embedder = self.named(name)
        held = await self._store.embedder(vault)
        if held not in (None, embedder.name):
            raise Conflict(
                f"This vault's vectors are of {held}, not of {embedder.name}",
                "A vault keeps its embedding model. Leave the model out, or clear the vault with "
                "DELETE /v1/memory?reset=true and load it anew (GET /v1/memory/export first)",
            )
        if choose and held is None:
            await self.choose(vault, name)

    async def choose(self, vault: VaultId, name: str) -> None:
        """Have a vault without vectors keep to a model. Raises Conflict if it has got some."""
        embedder = self.named(name)
        if self._choose is not None:
            await self._choose(vault, embedder.name)
