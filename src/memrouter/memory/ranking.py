"""From a vault's signals and a question to a ranking: words, meaning, authors, sessions, relevance.

Exact arithmetic over arrays with one row a chunk: no index, no state, no I/O. Rows stand in the
order of their conversations, so that a row's neighbours are what was said before and after it.
Every number here has its reason and its measurements in docs/decisions/0100-recall-ranking.md.
Compiled (native/ranking.pyx) where that could be; what is named `…_by_numpy` does it elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from memrouter.memory import dots
from memrouter.memory.occurrences import WINDOW, Flags, Floats, Occurrences, Rows, Term, idf
from memrouter.native import compiled
from memrouter.ports import Signals

K1 = 0.6
"""Saturation of term frequency: a word said twice hardly makes a chat turn more relevant."""
B = 0.4
"""Length normalisation: chat turns differ in length for other reasons than their topic."""
AUTHOR = 0.2
"""What a row gets that was written by whom the question asks for."""
SESSION = 0.4
"""Share of its conversation's best score that a row gets on top of its own."""
CUT = 0.5
"""Hits below this share of the best one are not worth their tokens."""
DIRECT = 0.7
"""Share of a question's idf in a row that states what is asked, and is not just about it."""
DIRECT_OWN = 0.5
"""The same where people ask about themselves: what they say of themselves they say directly."""
SHARE = 0.3
"""What it adds to relevance, beside the cosine, if one place holds all words on topic, and rare."""
LEAST, MOST = 2, 8
"""Words on topic that a share is of, at least and at most."""
ASKING = 0.1
"""What it adds to relevance that a question asks for someone's words: chores rarely do."""
LONE, LONE_ASKING = 0.15, 0.05
"""What a single word on topic takes, asking for nobody's words, or adds, asking for someone's:
small talk rarely has two."""

_native: Any = compiled("ranking")
_WINDOW = np.array(WINDOW, np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """How much each kind of score counts; words get what the vectors leave of 1."""

    static: float = 0.5
    encoder: float = 0.0

    @property
    def words(self) -> float:
        return 1.0 - self.static - self.encoder


STATIC = Weights()
WITH_ENCODER = Weights(static=0.2, encoder=0.5)
ENCODER = Weights(static=0.0, encoder=0.65)
NO_VECTORS = Weights(static=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """What the words say, one value a row."""

    score: Floats
    """BM25 over the soft window, by the sum of the question's idf: about 0 to 1.6."""
    coverage: Floats
    """Share of the question's idf that the row alone holds, 0 to 1."""
    specificity: Floats
    """How much that is rare and on topic stands in the row's window, >= 0."""


def score_words(
    signals: Signals, threads: Rows, terms: Sequence[Term], found: Occurrences
) -> Words:
    """Score every row by the words of a question.

    threads  `conversations(signals)`
    terms    those of `found`; one that occurs nowhere still counts in the denominators
    """
    weights = np.array([term.weight for term in terms], np.float32) * found.idf
    highest = idf(np.zeros(1, np.float32), len(signals.ids))
    rare = weights * np.array([term.topical for term in terms], np.float32) / highest
    scored = _words_by_numpy if _native is None else _words
    return scored(signals, threads, found, weights, rare)


def _words(
    signals: Signals, threads: Rows, found: Occurrences, weights: Floats, rare: Floats
) -> Words:
    """See `_words_by_numpy`."""
    score, coverage, specificity = np.zeros((3, len(signals.ids)), np.float32)
    given = found.counts, found.rows, threads, signals.starts, _WINDOW, weights, rare
    _native.score_words(*given, K1, B, _total(weights), score, coverage, specificity)
    return Words(score=score, coverage=coverage, specificity=specificity)


def _words_by_numpy(
    signals: Signals, threads: Rows, found: Occurrences, weights: Floats, rare: Floats
) -> Words:
    """
    weights  how much each term counts
    rare     the same of those on topic, by the highest idf there is
    """
    total = _total(weights)
    soft = _soft_counts(found, threads)
    damping = K1 * (1 - B + B * _relative_lengths(signals, threads, found.rows))
    score, coverage, specificity = np.zeros((3, len(signals.ids)), np.float32)
    score[found.rows] = weights @ (soft / (soft + damping)) * ((K1 + 1) / total)
    coverage[found.rows] = weights @ (found.counts > 0) / total
    specificity[found.rows] = rare @ np.minimum(soft, 1)
    return Words(score=score, coverage=coverage, specificity=specificity)


def _total(weights: Floats) -> float:
    return max(float(weights.sum()), 1e-9)


def cosines(signals: Signals, vectors: npt.NDArray[np.float32]) -> Floats:
    """Cosines of each row with some questions' vectors, 0 for rows without one.

    vectors  of length 1, shape (questions, dimension); returns shape (questions, rows)
    """
    return compared(signals.vectors, vectors)


def compared(rows: npt.NDArray[np.int8], vectors: npt.NDArray[np.float32]) -> Floats:
    """The same for rows of any vectors that are stored so."""
    count, dimension = rows.shape
    if dimension != vectors.shape[1] or count == 0:
        return np.zeros((len(vectors), count), np.float32)
    # Small integers on both sides are exact to 0.003.
    scale = 127 / np.maximum(np.abs(vectors).max(axis=1, keepdims=True), 1e-9)
    rounded = np.rint(vectors * scale).astype(np.int8)
    found = dots.products(rounded, rows)
    found /= 127 * scale
    return found


def centred(similar: Floats, embedded: Flags, instead: Floats) -> Floats:
    """Cosines above the vault's mean, 1 for a perfect match: comparable between embedders.

    instead  what rows get that are not embedded
    """
    if _native is None:
        return centred_by_numpy(similar, embedded, instead)
    scores = np.empty_like(similar)
    _native.centred(similar, embedded.view(np.uint8), instead, scores)
    return scores


def centred_by_numpy(similar: Floats, embedded: Flags, instead: Floats) -> Floats:
    """See `centred`."""
    known = similar[embedded]
    mean = float(known.mean()) if len(known) else 0.0
    above = (similar - np.float32(mean)) / np.float32(max(1 - mean, 1e-6))
    return np.where(embedded, above, instead).astype(np.float32)


def fuse(
    weights: Weights,
    words: Floats,
    static: Floats | None,
    encoder: Floats | None,
    author: Floats | None,
) -> Floats:
    """One score a row.

    static, encoder  centred cosines; None where there are none
    author           how much a row is by whom the question asks for, 0 to 1; None if for nobody
    """
    score: Floats = np.float32(weights.words) * words
    if static is not None:
        score += np.float32(weights.static) * static
    if encoder is not None:
        score += np.float32(weights.encoder) * encoder
    if author is not None:
        score += np.float32(AUTHOR) * author
    return score


def lift(scores: Floats, threads: Rows) -> Floats:
    """Add a share of the best score in its conversation to each row."""
    if _native is None:
        return lift_by_numpy(scores, threads)
    lifted = np.empty_like(scores)
    _native.lift(scores, threads, SESSION, lifted)
    return lifted


def lift_by_numpy(scores: Floats, threads: Rows) -> Floats:
    """See `lift`."""
    if len(scores) == 0:
        return scores
    first = np.flatnonzero(np.diff(threads, prepend=-1))
    best_of = np.maximum.reduceat(scores, first)
    lifted: Floats = scores + np.float32(SESSION) * best_of[threads].astype(np.float32)
    return lifted


def best(scores: Floats, count: int, admissible: Flags) -> Rows:
    """Admissible rows of the highest scores, best first; ties keep the rows' order."""
    if _native is None:
        return best_by_numpy(scores, count, admissible)
    rows = np.empty(max(0, min(count, len(scores))), np.int64)
    return rows[: _native.best(scores, admissible.view(np.uint8), rows)]


def best_by_numpy(scores: Floats, count: int, admissible: Flags) -> Rows:
    """See `best`."""
    count = min(count, int(np.count_nonzero(admissible)))
    if count <= 0:
        return np.zeros(0, np.int64)
    scores = np.where(admissible, scores, -np.inf)
    least = np.partition(scores, -count)[-count]
    above, equal = np.flatnonzero(scores > least), np.flatnonzero(scores == least)
    rows = np.concatenate((above, equal[: count - len(above)]))
    order = np.argsort(-scores[rows], kind="stable")
    return rows[order]


def worthwhile(scores: Floats) -> Flags:
    """Which of these hits are at least CUT of the best one."""
    kept: Flags = scores >= CUT * scores.max(initial=0.0)
    return kept


def newest_first(
    signals: Signals,
    threads: Rows,
    ranked: Rows,
    scores: Floats,
    coverage: Floats,
    *,
    direct: float,
    first: int = 20,
    alike: float = 0.3,
) -> Rows:
    """Put a statement above the older ones that it replaces; nothing is dropped.

    Among the `first` rows, one replaces another if both state what is asked (`direct` of its idf,
    for which see DIRECT),
    come from one author in different conversations, are `alike` (cosine), and it is later and not
    far less to the point.

    scores, coverage  one for every row of the vault
    """
    head = ranked[:first]
    stating = np.flatnonzero(coverage[head] >= direct)
    if len(stating) < 2:
        return ranked
    rows = head[stating]
    vectors = signals.vectors[rows].astype(np.float32)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    created, roles = signals.created[rows], signals.roles[rows]
    replaces = (
        (vectors @ vectors.T >= alike)
        & (created[:, None] > created[None, :])
        & (roles[:, None] == roles[None, :])
        & (threads[rows][:, None] != threads[rows][None, :])
        & (scores[rows][:, None] >= CUT * scores[rows][None, :])
    )
    if not replaces.any():
        return ranked
    place = np.arange(len(head), dtype=np.float64)
    for later in np.argsort(created, kind="stable"):
        for older in np.flatnonzero(replaces[later]):
            place[stating[later]] = min(place[stating[later]], place[stating[older]] - 1e-3)
    return np.concatenate((head[np.argsort(place, kind="stable")], ranked[first:]))


def relevance(
    words: Words, plain: Floats, *, topical: int, asking: bool, admissible: Flags
) -> float:
    """How sure it is that the vault holds anything on the question: absolute, 0 to 1.4.

    plain       cosines with the unweighted question
    topical     how many of its words say what it is about; 0 is small talk: nothing counts for it
    asking      whether it asks for someone's words
    admissible  rows that may be found
    """
    nearest = highest(plain, admissible)
    if topical == 0 or nearest is None:
        return 0.0
    share = (highest(words.specificity, admissible) or 0.0) / min(max(topical, LEAST), MOST)
    sure = nearest + SHARE * min(1.0, share)
    if topical == 1:
        sure += LONE_ASKING if asking else -LONE
    elif asking:
        sure += ASKING
    return max(0.0, sure)


def highest(values: Floats, admissible: Flags) -> float | None:
    """The highest admissible value; None where there is none."""
    if _native is not None:
        found: float | None = _native.highest(values, admissible.view(np.uint8))
        return found
    return float(values[admissible].max()) if admissible.any() else None


def _soft_counts(found: Occurrences, threads: Rows) -> Floats:
    """How often each term stands in the window of each row, what is further away counting less."""
    soft, rows = found.counts.copy(), found.rows
    for distance, share in enumerate(WINDOW[1:], start=1):
        near = _near(rows, threads, distance) * np.float32(share)
        soft[:, distance:] += found.counts[:, :-distance] * near
        soft[:, :-distance] += found.counts[:, distance:] * near
    return soft


def _near(rows: Rows, threads: Rows, distance: int) -> Flags:
    """For each of `rows` and the one `distance` places later: are they as far apart in one thread?

    Rows in between are in `rows` too if one of the two holds a term, so no neighbour is missed.
    """
    before, after = rows[:-distance], rows[distance:]
    near: Flags = (after - before == distance) & (threads[after] == threads[before])
    return near


def _relative_lengths(signals: Signals, threads: Rows, rows: Rows) -> Floats:
    """Terms in the window of each of `rows`, by the average of all windows."""
    count = len(signals.ids)
    if count == 0:
        return np.zeros(0, np.float32)
    lengths = np.diff(signals.starts).astype(np.float32)
    total = lengths.copy()
    average = 1.0
    for distance, share in enumerate(WINDOW[1:], start=1):
        near = threads[distance:] == threads[:-distance]
        total[distance:] += np.float32(share) * lengths[:-distance] * near
        total[:-distance] += np.float32(share) * lengths[distance:] * near
        average += 2 * share * np.count_nonzero(near) / count
    mean = int(signals.starts[-1]) / count
    return total[rows] / np.float32(max(mean * average, 1e-9))
