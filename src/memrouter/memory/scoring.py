"""All signals of one question joined: a ranking of a vault's rows, and how sure it is of it.

Pure, and in two steps, because the embedder wants to know in between which words are rare.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from memrouter.domain import Vector
from memrouter.memory import authors, occurrences, ranking
from memrouter.memory.occurrences import Flags, Floats, Occurrences, Places, Rows
from memrouter.memory.question import Question
from memrouter.memory.ranking import Weights
from memrouter.ports import Asked, Signals

FLOOR = 0.43
"""Relevance under which a vault holds nothing on a question, by the default embedder's vectors."""
PERIOD = 0.1
"""What a row gets that was said in the time a question names."""
RECENT = 0.05
"""What the newest statement of the asker gets, if they ask what is true now: a tie-breaker."""
RECENT_DAYS = 180.0
"""After which half of that is left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """Where the words of a question stand in a vault."""

    threads: Rows
    """See occurrences.conversations."""
    there: Places
    """Of the question's terms, and of those that tell who wrote a row."""
    found: Occurrences


@dataclass(frozen=True, slots=True, kw_only=True)
class Similar:
    """Cosines of each row with the question; each None where there are no such vectors."""

    weighted: Floats | None = None
    """Static vectors, rare words counting more."""
    plain: Floats | None = None
    """Static vectors, all words counting the same."""
    encoder: Floats | None = None
    encoded: Flags | None = None
    """Rows that have an encoding; None where these are the vault's only vectors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked:
    """Rows, best first."""

    rows: Rows
    scores: Floats
    """One a row of `rows`, 0 to about 1."""
    relevance: float
    """How sure it is that the vault holds anything on the question."""
    asking: bool = False
    """Whether it asks for someone's words, by more than one word on topic."""


def look_up(signals: Signals, question: Question) -> Looked:
    """Find the words of a question."""
    threads = occurrences.conversations(signals)
    hashes = (*(term.hash for term in question.terms), *authors.wanted(question))
    there = occurrences.places(signals, hashes)
    found = occurrences.occurrences(signals, question.terms, there)
    return Looked(threads=threads, there=there, found=found)


def similar(
    signals: Signals, asked: Asked, *, encoder: bool = False, encoding: Vector | None = None
) -> Similar:
    """Compare a question with the vectors of all rows.

    encoder   whether the vectors are a sentence encoder's
    encoding  the question by the encoder whose encodings stand beside them
    """
    if encoder:
        return Similar(encoder=ranking.cosines(signals, asked.plain[np.newaxis])[0])
    weighted, plain = ranking.cosines(signals, np.stack((asked.weighted, asked.plain)))
    if encoding is None:
        return Similar(weighted=weighted, plain=plain)
    return Similar(
        weighted=weighted,
        plain=plain,
        encoder=ranking.compared(signals.encodings, encoding[np.newaxis])[0],
        encoded=signals.encoded,
    )


def rank(
    signals: Signals,
    question: Question,
    looked: Looked,
    likeness: Similar,
    *,
    count: int,
    excluded: Flags | None = None,
    weights: Weights | None = None,
) -> Ranked:
    """Rank the rows of a vault.

    count     rows to return at most
    excluded  rows that must not be found
    weights   None for those that fit the vectors there are
    """
    threads = looked.threads
    author = authors.asked_for(signals, threads, question, looked.there, looked.found)
    terms = question.terms if author is None else authors.without_names(question)
    words = ranking.score_words(signals, threads, terms, looked.found)
    static = _standing_in(likeness.weighted, signals.embedded, words.score)
    encoded = signals.embedded if likeness.encoded is None else likeness.encoded
    scores = ranking.fuse(
        weights or _weights(likeness),
        words.score,
        static,
        _standing_in(likeness.encoder, encoded, words.score if static is None else static),
        author,
    )
    if author is not None and question.of_self and not question.looks_back:
        scores += np.float32(RECENT) * author * _freshness(signals)
    admissible = np.ones(len(scores), np.bool_) if excluded is None else ~excluded
    if question.period is not None:
        inside = _during(signals, question)
        if question.period.up_to:
            admissible &= signals.created < question.period.end.timestamp() * 1_000
        elif question.by_time:
            admissible &= inside
        else:
            scores += np.float32(PERIOD) * inside
    lifted = ranking.lift(scores, threads)
    rows = ranking.best(lifted, count, admissible)
    if question.wants_newest:
        direct = ranking.DIRECT_OWN if question.of_self else ranking.DIRECT
        rows = ranking.newest_first(signals, threads, rows, lifted, words.coverage, direct=direct)
    return Ranked(
        rows=rows,
        # What was put above another takes its score too: scores never rise down the list.
        scores=np.sort(lifted[rows])[::-1] / np.float32(1 + ranking.SESSION),
        relevance=_relevance(question, words, likeness, author, admissible, signals.embedded),
        asking=author is not None and question.topical > 1,
    )


def _relevance(
    question: Question,
    words: ranking.Words,
    likeness: Similar,
    author: Floats | None,
    admissible: Flags,
    embedded: Flags,
) -> float:
    if question.profile:
        return float(author is not None and bool((author * admissible).any()))
    if question.by_time:
        return float(admissible.any())
    plain = likeness.plain
    if plain is None and likeness.encoder is not None:
        # Encoders differ in how alike unrelated texts are: centring makes one floor fit them all.
        plain = ranking.centred(likeness.encoder, embedded, np.zeros_like(likeness.encoder))
    # A row that waits for its vector is judged by its words.
    near = words.coverage if plain is None else np.where(embedded, plain, words.coverage)
    return ranking.relevance(
        words,
        near,
        topical=question.topical,
        asking=author is not None,
        admissible=admissible,
    )


def _during(signals: Signals, question: Question) -> Flags:
    assert question.period is not None
    start, end = question.period.start.timestamp(), question.period.end.timestamp()
    return (signals.created >= start * 1_000) & (signals.created < end * 1_000)


def _freshness(signals: Signals) -> Floats:
    """1 for the newest row, half of it for one that is RECENT_DAYS older."""
    age_days = (signals.created.max() - signals.created).astype(np.float32) / np.float32(864e5)
    fresh: Floats = np.exp2(age_days / np.float32(-RECENT_DAYS))
    return fresh


def _standing_in(near: Floats | None, there: Flags, instead: Floats) -> Floats | None:
    """Cosines, centred; rows that wait for their vector get another score in its place."""
    return None if near is None else ranking.centred(near, there, instead)


def _weights(likeness: Similar) -> Weights:
    if likeness.encoder is not None:
        return ranking.ENCODER if likeness.weighted is None else ranking.WITH_ENCODER
    return ranking.NO_VECTORS if likeness.weighted is None else ranking.STATIC
