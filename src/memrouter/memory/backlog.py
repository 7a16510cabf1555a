"""Gives stored chunks their vectors, in the background: nothing is lost if it never gets to it.

There is no queue. Chunks without a vector are the backlog; words find them meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime

from memrouter.domain import VaultId
from memrouter.memory import analysis
from memrouter.memory.encoders import Encoders
from memrouter.ops.logs import logger
from memrouter.ports import Embedder, VaultStore

log = logger(__name__)

BATCH = 256
"""Chunks embedded and stored at a time; after it, other vaults get their turn."""
ENCODED = 32
"""Chunks encoded and stored at a time: an encoder takes some 50 ms a chunk."""
SHORT = 200
"""Characters of a turn that an encoder may read together with the next one."""
_RETRY_S = (0.5, 2.0, 10.0, 60.0)


class Backlog:
    """Works through vaults one batch each in turn, until all have their vectors."""

    def __init__(
        self,
        store: VaultStore,
        embedder: Embedder,
        *,
        others: Mapping[str, Embedder] | None = None,
        encoders: Encoders | None = None,
        on_embedded: Callable[[int], None] = lambda count: None,
        on_waiting: Callable[[int], None] = lambda vaults: None,
    ) -> None:
        """Who embeds, and who is told.

        others       embedders that vaults may keep to instead, by name
        encoders     whose encodings vaults get beside the embedder's vectors
        on_embedded  told how many chunks got vectors or encodings
        on_waiting   told how many vaults wait
        """
        self._store = store
        self._embedder = embedder
        self._others = others or {}
        self._encoders = encoders or Encoders()
        self._on_embedded = on_embedded
        self._on_waiting = on_waiting
        self._waiting: dict[VaultId, None] = {}
        self._failures = 0
        self._wake = asyncio.Event()

    @property
    def waiting(self) -> int:
        """How many vaults wait."""
        return len(self._waiting)

    def add(self, vault: VaultId) -> None:
        """Say that a vault has chunks without vectors."""
        if vault not in self._waiting:
            self._waiting[vault] = None
            self._on_waiting(self.waiting)
        self._wake.set()

    async def sweep(self) -> None:
        """Add every vault that an earlier process left with chunks without vectors."""
        async for vault in self._store.backlog():
            self.add(vault)

    async def run(self) -> None:
        """Work until cancelled."""
        await self._forgiving(self.sweep)
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                await self._forgiving(self._turn)

    async def _turn(self) -> None:
        vault = next(iter(self._waiting))
        # Out first, so that a write during the batch puts it back in.
        del self._waiting[vault]
        try:
            more = await self.drain_some(vault) >= BATCH
            more = await self.encode_some(vault) >= ENCODED or more
        except BaseException:
            self._waiting[vault] = None
            raise
        if more:
            self._waiting[vault] = None
        self._failures = 0
        self._on_waiting(self.waiting)

    async def drain_some(self, vault: VaultId) -> int:
        """Embed up to BATCH chunks of a vault; return how many."""
        pending = await self._store.pending(vault, BATCH)
        if pending:
            own = await self._store.embedder(vault)
            embedder = self._others.get(own or "", self._embedder)
            vectors = await embedder.passages([passage(c.text, c.created) for c in pending])
            ids = [chunk.id for chunk in pending]
            await self._store.set_vectors(vault, embedder.name, ids, vectors)
            self._on_embedded(len(ids))
        return len(pending)

    async def encode_some(self, vault: VaultId) -> int:
        """Encode up to ENCODED chunks of a vault by the encoder in use; return how many."""
        encoder = self._encoders.current
        if encoder is None or not await self.aim(vault):
            return 0
        waiting = await self._store.unencoded(vault, encoder.name, ENCODED)
        if waiting:
            texts = [passage(c.text, c.created, c.before) for c in waiting]
            vectors = await encoder.passages(texts)
            ids = [chunk.id for chunk in waiting]
            await self._store.set_encodings(vault, encoder.name, ids, vectors)
            self._on_embedded(len(ids))
        return len(waiting)

    async def aim(self, vault: VaultId) -> int:
        """Have a vault encoded by the encoder in use; return how many chunks wait for it.

        Vaults that keep to an embedder of their own choice are left alone.
        """
        own = await self._store.embedder(vault)
        default = own in (None, self._embedder.name)
        return await self._store.encode_by(vault, self._encoders.name if default else "")

    async def _forgiving(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except Exception as e:
            log.warning("embedding failed, will be tried again", exc_info=e)
            self._failures += 1
            if self._failures >= self.waiting:  # not one vault: all that wait fail
                await asyncio.sleep(_RETRY_S[min(self._failures, len(_RETRY_S)) - 1])


def passage(text: str, created: datetime, before: str = "") -> str:
    """What is embedded of a chunk: its day in words, its text, and what was said just before it if
    that is short: a short turn leans on the one before, and a question says what its answer is
    about. Only sentence encoders read it; static vectors are better off without.
    """
    lead = f"{before}\n" if before and len(before) <= SHORT else ""
    return f"({analysis.day(created)}) {lead}{text}"
