"""Finds what a vault holds on a question: signals from the store, vectors from the embedder,
the ranking in between."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from memrouter.domain import Budget, Chunk, Hit, Scope
from memrouter.memory import analysis, ranking
from memrouter.ports import Asked, Embedder, Signals, VaultStore

LARGE = 4_000
"""Rows beyond which ranking leaves the event loop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a vault holds on a question, best first."""

    hits: tuple[Hit, ...] = ()
    revision: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Question:
    words: tuple[analysis.QueryWord, ...]
    terms: tuple[ranking.Term, ...]

    @property
    def topical(self) -> int:
        return sum(term.topical for term in self.terms)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked:
    """Rows of the signals, best first."""

    rows: ranking.Rows
    scores: ranking.Floats
    """One a row of `rows`."""
    relevance: float


class Finder:
    """Ranks what a vault holds."""

    def __init__(self, store: VaultStore, embedder: Embedder, *, floor: float) -> None:
        """floor  relevance under which a vault is said to hold nothing on a question"""
        self._store = store
        self._embedder = embedder
        self._floor = floor

    async def find(
        self,
        scope: Scope,
        question: str,
        surroundings: str = "",
        *,
        budget: Budget,
        exclude: frozenset[bytes] = frozenset(),
        taken: frozenset[int] = frozenset(),
        floor: bool = True,
        core: bool = True,
    ) -> Found:
        """What core and the scope's session hold on a question, within the budget.

        surroundings  what was said just before, for questions that cannot stand alone
        exclude       digests of turns that the prompt holds
        taken         ids of chunks that stand in replayed blocks
        floor         False finds the best there is, relevant or not
        core          False searches the scope's session alone
        """
        signals = await self._store.signals(scope, core=core)
        asked = _question(question)
        if not asked.topical and surroundings:
            asked = _question(f"{question}\n{surroundings}") if not _is_chatter(question) else asked
        if len(signals.ids) == 0 or (floor and not asked.topical):
            return Found(revision=signals.revision)
        ranked = await self._rank(signals, asked, question)
        if floor and ranked.relevance < self._floor:
            return Found(revision=signals.revision)
        hits = await self._hits(scope, signals, ranked, budget, exclude, taken)
        return Found(hits=hits, revision=signals.revision)

    async def _rank(self, signals: Signals, asked: _Question, question: str) -> Ranked:
        large = len(signals.ids) > LARGE
        if large:
            found = await asyncio.to_thread(ranking.postings, signals, asked.terms)
        else:
            found = ranking.postings(signals, asked.terms)
        vectors = await self._embedder.query(question, _rarity(asked, found))
        usable = signals.embedder == self._embedder.name
        if large:
            return await asyncio.to_thread(
                rank, signals, found, vectors if usable else None, asked.topical
            )
        return rank(signals, found, vectors if usable else None, asked.topical)

    async def _hits(
        self,
        scope: Scope,
        signals: Signals,
        ranked: Ranked,
        budget: Budget,
        exclude: frozenset[bytes],
        taken: frozenset[int],
    ) -> tuple[Hit, ...]:
        keep = np.ones(len(ranked.rows), np.bool_)
        if taken:
            keep &= ~np.isin(signals.ids[ranked.rows], np.array(sorted(taken), np.int64))
        if exclude:
            heads = np.array([int.from_bytes(d[:8], "little") for d in exclude], np.uint64)
            keep &= ~np.isin(signals.digests[ranked.rows], heads)
        places = np.flatnonzero(keep)[: budget.memories]
        rows = ranked.rows[places]
        ids = [int(id) for id in signals.ids[rows]]
        scores = {id: float(s) for id, s in zip(ids, ranked.scores[places], strict=True)}
        chunks = await self._store.chunks(scope.vault, ids)
        fitting = _fitting(chunks, budget)
        return tuple(Hit(chunk=c, score=min(1.0, max(0.0, scores[c.id]))) for c in fitting)


_OVERHEAD_TOKENS = 18
"""What a line of the block costs beside its text: mark, age and date."""


def _fitting(chunks: Sequence[Chunk], budget: Budget) -> list[Chunk]:
    sizes = [chunk.tokens + _OVERHEAD_TOKENS for chunk in chunks]
    return [chunks[i] for i in ranking.within(sizes, budget.tokens, budget.memories)]


def rank(
    signals: Signals, found: Sequence[ranking.Postings], asked: Asked | None, topical: int
) -> Ranked:
    """Rank all rows of a vault.

    found    one a distinct term of the question
    asked    its vectors; None where the vault's are another embedder's
    topical  how many of its terms say what it is about
    """
    threads = ranking.conversations(signals)
    words = ranking.score_words(signals, threads, found)
    if asked is None:
        plain = meaning = np.zeros(len(signals.ids), np.float32)
    else:
        plain = ranking.cosines(signals, asked.plain)
        meaning = ranking.centred(ranking.cosines(signals, asked.weighted), signals.embedded)
    scores = ranking.fuse(words.score, meaning, threads)
    rows = ranking.best(scores, 400)
    rows = ranking.newest_first(signals, rows, words.coverage)
    relevance = ranking.relevance(words, plain, topical)
    return Ranked(rows=rows, scores=scores[rows] / (1 + ranking.SESSION), relevance=relevance)


def _question(text: str) -> _Question:
    words = tuple(analysis.query_words(text))
    topical: dict[int, bool] = {}
    for word in words:
        for term in word.terms:
            topical[term] = topical.get(term, False) or word.topical
    terms = tuple(ranking.Term(hash=h, topical=t) for h, t in topical.items())
    return _Question(words=words, terms=terms)


def _rarity(asked: _Question, found: Sequence[ranking.Postings]) -> Mapping[str, float]:
    idf = {term.hash: posting.idf for term, posting in zip(asked.terms, found, strict=True)}
    return {w.word: sum(idf[t] for t in w.terms) / len(w.terms) for w in asked.words if w.terms}


def _is_chatter(question: str) -> bool:
    """Whether a question without a topic is small talk rather than a follow-up."""
    words = analysis.query_words(question)
    return len(words) < 3 or any(w.terms and not w.topical for w in words)
