"""memrouter in process, joined as the router joins it: a store on disk, the default embedder."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from memrouter.config import Densities, InfiniteChat
from memrouter.domain import NewTurn, Scope, VaultId
from memrouter.embed.static import StaticEmbedder
from memrouter.memory import lineage
from memrouter.memory.backlog import Backlog
from memrouter.memory.conversation import Window
from memrouter.memory.engine import Memory
from memrouter.memory.finder import Finder
from memrouter.memory.historian import Historian
from memrouter.memory.scoring import FLOOR
from memrouter.memory.settings import MemorySettings
from memrouter.store.sqlite.vaults import SqliteVaultStore
from memrouter.tokens import estimate

from .conversations import Said

SYSTEM = "You are a helpful assistant. Answer from what was said before."
_DEFAULTS = InfiniteChat()
WINDOW = Window(
    threshold_tokens=_DEFAULTS.threshold_tokens,
    recent_tokens=_DEFAULTS.recent_tokens,
    block_tokens=_DEFAULTS.block_tokens,
)
_BATCH = 1_000

Message = dict[str, object]


def settings(**changed: float | int) -> MemorySettings:
    """The router's defaults, some of them changed."""
    base = {"budgets": Densities().budgets(), "zone": UTC, "count": estimate}
    return MemorySettings(**(base | changed))  # type: ignore[arg-type]


class SetClock:
    """A clock that is set. Implements ports.Clock."""

    def __init__(self) -> None:
        self.time = datetime.now(UTC)

    def now(self) -> datetime:
        """See Clock.now."""
        return self.time


class World:
    """Vaults in a temporary folder."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="infinite-chat-")
        self._embedder = StaticEmbedder(1)
        self._made = 0
        self.clock = SetClock()
        self.store = SqliteVaultStore(Path(self._folder.name), cache_bytes=1 << 30)
        self._backlog = Backlog(self.store, self._embedder)

    def memory(self, chosen: MemorySettings) -> Memory:
        """Memory over all vaults."""
        return Memory(
            self.store,
            Finder(self.store, self._embedder, floor=FLOOR),
            Historian(self.store, chosen),
            self._embedder,
            self.clock,
            chosen,
            on_stored=lambda scope, stored: None,
        )

    def scope(self) -> Scope:
        """An empty vault, and a conversation in it."""
        self._made += 1
        return Scope(vault=VaultId(f"{self._made:032x}"), conversation="talk")

    async def embed(self, scope: Scope) -> float:
        """Make the vectors that are missing; return the seconds it took."""
        begin = time.perf_counter()
        while await self._backlog.drain_some(scope.vault):
            pass
        return time.perf_counter() - begin

    async def fill(self, scope: Scope, turns: Sequence[Said]) -> None:
        """Store a conversation as the requests in which it grew would have, and embed it."""
        new = list(self._grown(scope, turns))
        for at in range(0, len(new), _BATCH):
            part = new[at : at + _BATCH]
            await self.store.remember(scope.vault, part, now=part[-1].created)
        await self.embed(scope)

    def _grown(self, scope: Scope, turns: Sequence[Said]) -> Iterable[NewTurn]:
        historian = Historian(self.store, settings())
        parent = lineage.root(scope)
        for position, turn in enumerate(turns):
            digest = lineage.digest(turn.role, turn.text)
            chain = lineage.link(parent, digest)
            yield NewTurn(
                role=turn.role,
                text=turn.text,
                created=turn.created,
                pieces=historian.pieces(turn.text, turn.created),
                conversation=scope.conversation,
                position=position,
                chain=chain,
                parent=parent,
                digest=digest,
            )
            parent = chain

    async def close(self) -> None:
        """Delete everything."""
        await self.store.close()
        self._folder.cleanup()


def messages(turns: Sequence[Said], question: str = "") -> list[Message]:
    """What a client sends that sends everything each time."""
    said: list[Message] = [{"role": turn.role, "content": turn.text} for turn in turns]
    asked: list[Message] = [{"role": "user", "content": question}] if question else []
    return [{"role": "system", "content": SYSTEM}, *said, *asked]
