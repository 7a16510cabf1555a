"""memrouter in process: its analysis, store, embedder and finder, as the router joins them."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from memrouter.domain import Budget, NewTurn, Piece, Scope, VaultId
from memrouter.embed.static import StaticEmbedder
from memrouter.memory import analysis, chunking, passages, scoring
from memrouter.memory.backlog import Backlog
from memrouter.memory.encoders import Encoders
from memrouter.memory.finder import Finder
from memrouter.ports import Embedder
from memrouter.store.sqlite.vaults import SqliteVaultStore
from memrouter.tokens import estimate

from .data import History, Question, Turn
from .subject import Injected

UNLIMITED = 1 << 40
CHUNK_TOKENS = 300


class Local:
    """Vaults in a temporary folder; uploads without sessions, as through the API."""

    name = "memrouter"

    def __init__(
        self,
        embedder: Embedder | None = None,
        *,
        encoder: bool = False,
        floor: float = scoring.FLOOR,
        beside: Embedder | None = None,
    ) -> None:
        """In process, with the default embedder unless told otherwise.

        encoder  whether the embedder is a sentence encoder, alone
        beside   a sentence encoder beside the embedder, as `memrouter embedder use` has it
        """
        self._encoders = Encoders(beside)
        self._folder = tempfile.TemporaryDirectory(prefix="recall-")
        self._embedder: Embedder = embedder or StaticEmbedder()
        self.store = SqliteVaultStore(Path(self._folder.name), cache_bytes=1 << 30)
        self.finder = Finder(
            self.store,
            self._embedder,
            floor=floor,
            encoder=encoder,
            encoders=self._encoders,
            encode_timeout_s=60.0,  # what is found is measured here, not how soon
        )
        self._backlog = Backlog(self.store, self._embedder, encoders=self._encoders)
        self._made = 0

    async def remember(self, history: History) -> LocalMemory:
        """See Subject.remember."""
        self._made += 1
        vault = VaultId(f"{self._made:032x}")
        for at in range(0, len(history.turns), 1_000):
            turns = [new_turn(turn) for turn in history.turns[at : at + 1_000]]
            await self.store.remember(
                vault, turns, now=history.turns[-1].created, encoder=self._encoders.name
            )
        while await self._backlog.drain_some(vault):
            pass
        while await self._backlog.encode_some(vault):
            pass
        scope = Scope(vault=vault)
        stored = await self.store.memories(scope, limit=len(history.turns) + 1)
        places = {memory.id: place for place, memory in enumerate(stored)}
        return LocalMemory(self.finder, scope, places)

    async def close(self) -> None:
        """Delete everything."""
        await self.store.close()
        self._folder.cleanup()


class LocalMemory:
    """One vault."""

    def __init__(self, finder: Finder, scope: Scope, places: dict[int, int]) -> None:
        self.finder = finder
        self.scope = scope
        self.places = places
        """Id of a stored turn → its place in the history."""

    async def search(self, question: str, limit: int, now: datetime | None = None) -> list[int]:
        """See Memory.search; as POST /v1/memory/search does."""
        found = await self.finder.find(
            self.scope,
            question,
            budget=Budget(memories=limit, tokens=UNLIMITED),
            floor=False,
            now=now,
        )
        return [self.places[hit.chunk.turn] for hit in found.hits]

    async def inject(self, question: Question, *, memories: int, tokens: int) -> Injected:
        """See Recaller.inject; as a chat request does."""
        found = await self.finder.find(
            self.scope,
            question.text,
            "\n".join(reversed(question.before)),
            budget=Budget(memories=memories, tokens=tokens),
            now=question.asked,
        )
        return Injected(
            places=tuple(self.places[hit.chunk.turn] for hit in found.hits),
            tokens=passages.tokens([hit.chunk for hit in found.hits]),
        )


def new_turn(turn: Turn) -> NewTurn:
    """A turn as an upload stores it."""
    return NewTurn(
        role=turn.role,
        text=turn.text,
        created=turn.created,
        pieces=tuple(pieces(turn.text, turn.created)),
    )


def pieces(text: str, created: datetime) -> Sequence[Piece]:
    """A text as the chunks that are stored."""
    return [
        Piece(text=part, tokens=estimate(part), terms=analysis.index_terms(part, created))
        for part in chunking.split(text, CHUNK_TOKENS, estimate)
    ]
