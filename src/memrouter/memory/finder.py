"""Finds what a vault holds on a question: signals from the store, vectors from the embedder,
the ranking in between."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

from memrouter.domain import Budget, Hit, Scope, Vector
from memrouter.memory import occurrences, passages, question, ranking, scoring
from memrouter.memory.encoders import Encoders
from memrouter.memory.forgive import attempt
from memrouter.memory.occurrences import Flags, Rows
from memrouter.memory.question import Question
from memrouter.memory.scoring import Ranked, Similar
from memrouter.ports import Embedder, Signals, VaultStore

T = TypeVar("T")

LARGE = 12_000
"""Rows beyond which ranking leaves the event loop: it takes about a millisecond there."""
DOUBT = 0.1
"""How far under the floor a few memories are worth it, where someone's words are asked for."""
FEW = 5
"""How many are: what was said stands in front even where little tells that it was."""
ENCODE_S = 0.15
"""A question waits no longer for its encoding: a request has 250 ms for all of its recall."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a vault holds on a question, best first."""

    hits: tuple[Hit, ...] = ()
    revision: int = 0


class Finder:
    """Ranks what a vault holds."""

    def __init__(
        self,
        store: VaultStore,
        embedder: Embedder,
        *,
        floor: float,
        encoder: bool = False,
        others: Mapping[str, tuple[Embedder, float]] | None = None,
        encoders: Encoders | None = None,
        encode_timeout_s: float = ENCODE_S,
    ) -> None:
        """floor    relevance under which a vault is said to hold nothing on a question
        encoder  whether the embedder is a sentence encoder, which ranks by other weights
        others   sentence encoders that vaults may keep to instead, and their floors, by name
        encoders  sentence encoders whose encodings stand beside the embedder's vectors
        """
        self._encoders = encoders or Encoders()
        self._encode_timeout_s = encode_timeout_s
        self._others = others or {}
        self._store = store
        self._embedder = embedder
        self._floor = floor
        self._encoder = encoder

    async def find(
        self,
        scope: Scope,
        text: str,
        surroundings: str = "",
        *,
        budget: Budget,
        exclude: frozenset[bytes] = frozenset(),
        taken: frozenset[int] = frozenset(),
        floor: bool = True,
        core: bool = True,
        cut: bool = False,
        now: datetime | None = None,
    ) -> Found:
        """What core and the scope's session hold on a question, within the budget.

        surroundings  what was said just before, for questions that cannot stand alone
        exclude       digests of turns that the prompt holds
        taken         ids of chunks that stand in replayed blocks: they count as found, so that
                      what follows them in rank does not take their place
        floor         False finds the best there is, relevant or not
        core          False searches the scope's session alone
        cut           whether it stands in for what is left out of a long conversation: a single
                      word on topic is no small talk then
        now           when it is asked, in the asker's zone; None is when the vault last grew
        """
        signals = await self._store.signals(scope, core=core)
        if len(signals.ids) == 0:
            return Found(revision=signals.revision)
        asked = question.read(text, surroundings, now or _newest(signals))
        if floor and not asked.recalls:
            return Found(revision=signals.revision)
        ranked = await self._rank(signals, asked, _excluded(signals, exclude), budget)
        rows = ranked.rows
        if floor:
            lone = ranking.LONE if cut and asked.topical == 1 else 0.0
            most = self._most(signals, ranked, lone)
            rows = rows[ranking.worthwhile(ranked.scores)][:most]
        hits = await self._hits(scope, signals, ranked, rows, budget, taken)
        return Found(hits=hits, revision=signals.revision)

    def _chosen(self, signals: Signals) -> tuple[Embedder, float]:
        """The embedder that a vault keeps to, and its floor."""
        return self._others.get(signals.embedder, (self._embedder, self._floor))

    def _most(self, signals: Signals, ranked: Ranked, slack: float) -> int | None:
        """How many memories a question is worth: none, a few, or (None) what the budget takes.

        slack  how much under the floor it may be
        """
        above = ranked.relevance + slack - self._chosen(signals)[1]
        if above >= 0:
            return None
        return FEW if ranked.asking and above >= -DOUBT else 0

    async def _rank(
        self, signals: Signals, asked: Question, excluded: Flags | None, budget: Budget
    ) -> Ranked:
        looked = await _off_loop(signals, lambda: scoring.look_up(signals, asked))
        embedder, _ = self._chosen(signals)
        usable = signals.embedder == embedder.name
        encoder = self._encoder or embedder is not self._embedder
        vectors = (
            await embedder.query(asked.text, asked.rarity(looked.found.idf.tolist()))
            if usable
            else None
        )

        encoding = None if encoder or vectors is None else await self._encoding(signals, asked)

        def rank() -> Ranked:
            likeness = (
                Similar()
                if vectors is None
                else scoring.similar(signals, vectors, encoder=encoder, encoding=encoding)
            )
            return scoring.rank(
                signals, asked, looked, likeness, count=budget.memories, excluded=excluded
            )

        return await _off_loop(signals, rank)

    async def _encoding(self, signals: Signals, asked: Question) -> Vector | None:
        """The question by the vault's encoder, if it is to be had; the vectors do without it."""
        encoder = self._encoders.named(signals.encoder) if signals.encoder else None
        if encoder is None:
            return None
        made = await attempt(
            lambda: encoder.query(asked.text, {}), self._encode_timeout_s, "encode"
        )
        return made.value.plain if made.value else None

    async def _hits(
        self,
        scope: Scope,
        signals: Signals,
        ranked: Ranked,
        rows: Rows,
        budget: Budget,
        taken: frozenset[int],
    ) -> tuple[Hit, ...]:
        ids = signals.ids[rows].tolist()
        score = dict(zip(signals.ids[ranked.rows].tolist(), ranked.scores.tolist(), strict=True))
        chunks = await self._store.chunks(scope.vault, ids)
        return tuple(
            [
                Hit(chunk=chunk, score=min(1.0, max(0.0, score[chunk.id])))
                for chunk in passages.fitting(chunks, budget)
                if chunk.id not in taken
            ]
        )


def _newest(signals: Signals) -> datetime:
    return datetime.fromtimestamp(int(signals.created.max()) / 1_000, UTC)


async def _off_loop(signals: Signals, work: Callable[[], T]) -> T:
    """Do some work over all rows, in another thread if there are many."""
    return await asyncio.to_thread(work) if len(signals.ids) > LARGE else work()


def _excluded(signals: Signals, exclude: frozenset[bytes]) -> Flags | None:
    if not exclude or len(signals.ids) == 0:
        return None
    heads = [int.from_bytes(digest[:8], "little") for digest in exclude]
    return occurrences.among(signals.digests, heads)
