"""From a vault's signals and a question to a ranking: words, meaning, authors, sessions, relevance.

Exact arithmetic over arrays with one row a chunk: no index, no state, no I/O. Rows stand in the
order of their conversations, so that a row's neighbours are what was said before and after it.
Every number here has its reason and its measurements in docs/decisions/0100-recall-ranking.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from memrouter.domain import Postings
from memrouter.memory import dots
from memrouter.ports import Signals

Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

K1 = 0.6
"""Saturation of term frequency: a word said twice hardly makes a chat turn more relevant."""
B = 0.4
"""Length normalisation: chat turns differ in length for other reasons than their topic."""
WINDOW = (1.0, 0.5, 0.25)
"""A word said one turn away counts half, two turns away a quarter."""
BACKGROUND = 100
"""Chunks assumed outside the vault, so that idf means something while a vault is small."""
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
GAP_MS = 30 * 60 * 1000
"""Uploads that name no conversation are one as long as no pause is longer than this."""
MANY, FEW = 1 << 18, 24
"""Looking for at most FEW of MANY values, comparing with each is twice as fast as a table."""
SMALL = 4_096
"""Among at most so many values, a table of 64 KB only drives other things out of the cache."""


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
class Term:
    """One term of a question."""

    hash: int
    topical: bool = True
    """Whether it says what the question is about."""
    weight: float = 1.0
    """How much it counts, beside its idf."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where some index terms stand: one entry an occurrence, in no order."""

    hashes: npt.NDArray[np.uint32]
    rows: Rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Occurrences:
    """Where the terms of a question occur."""

    rows: Rows
    """Rows with a term in reach of WINDOW, ascending."""
    counts: Floats
    """How often each term stands in each of `rows`; shape (terms, rows)."""
    idf: Floats
    """Inverse document frequency a term, shape (terms,)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """What the words say, one value a row."""

    score: Floats
    """BM25 over the soft window, by the sum of the question's idf: about 0 to 1.6."""
    coverage: Floats
    """Share of the question's idf that the row alone holds, 0 to 1."""
    specificity: Floats
    """How much that is rare and on topic stands in the row's window, >= 0."""


def idf(matches: Floats, rows: int) -> Floats:
    """BM25's inverse document frequency, BACKGROUND rows without the term added."""
    found: Floats = np.log1p((rows + BACKGROUND - matches + 0.5) / (matches + 0.5))
    return found.astype(np.float32)


def conversations(signals: Signals) -> Rows:
    """A number a row, ascending: equal in one conversation.

    What was uploaded without one is cut into episodes where a pause is longer than GAP_MS.
    """
    if len(signals.ids) == 0:
        return np.zeros(0, np.int64)
    new = np.zeros(len(signals.ids), np.bool_)
    paused = (signals.groups[1:] == 0) & (np.diff(signals.created) > GAP_MS)
    np.logical_or(signals.groups[1:] != signals.groups[:-1], paused, out=new[1:])
    return np.cumsum(new)


def among(values: npt.NDArray[np.unsignedinteger[Any]], wanted: Sequence[int]) -> Rows:
    """Places of the values that are among `wanted`, ascending.

    20 µs for the terms of 1,000 chunks, 2 ms for those of 100,000.
    """
    if len(values) == 0 or not wanted:
        return np.zeros(0, np.int64)
    exact = np.array(wanted, values.dtype)
    if len(values) > MANY and len(exact) <= FEW:
        found = values == exact[0]
        for value in exact[1:]:
            found |= values == value
        return np.flatnonzero(found)
    exact.sort()
    if len(values) <= SMALL:
        return np.flatnonzero(_in(exact, values))
    table = np.zeros(1 << 16, np.bool_)
    table[exact & np.array(0xFFFF, values.dtype)] = True
    low = values.view(np.uint16)[:: values.dtype.itemsize // 2]  # little-endian: the low half
    places = np.flatnonzero(table.take(low))
    return places[_in(exact, values[places])]


def _in(
    ascending: npt.NDArray[np.unsignedinteger[Any]], values: npt.NDArray[np.unsignedinteger[Any]]
) -> Flags:
    """Which values are among some that are sorted; a third of what np.isin takes for few."""
    at = np.searchsorted(ascending, values)
    at[at == len(ascending)] = 0
    inside: Flags = ascending[at] == values
    return inside


def places(signals: Signals, wanted: Sequence[int]) -> Places:
    """Find index terms by their hashes."""
    if signals.postings is not None:
        return _listed(signals, signals.postings, wanted)
    at = among(signals.terms, wanted)
    return Places(
        hashes=signals.terms[at], rows=np.searchsorted(signals.starts, at, side="right") - 1
    )


def _listed(signals: Signals, lists: Postings, wanted: Sequence[int]) -> Places:
    """The same by the lists of a large vault, and by looking at the terms that came later."""
    hashes, rows = [np.zeros(0, np.uint32)], [np.zeros(0, np.int64)]
    for hash in dict.fromkeys(wanted):
        at = int(np.searchsorted(lists.hashes, np.uint32(hash)))
        if at < len(lists.hashes) and lists.hashes[at] == hash:
            chunks = lists.chunks[lists.starts[at] : lists.starts[at + 1]]
            rows.append(lists.rows[chunks].astype(np.int64))
            hashes.append(np.full(len(chunks), hash, np.uint32))
    lengths = np.diff(signals.starts)[lists.rest]
    ends = np.cumsum(lengths)
    source = np.arange(lengths.sum()) + np.repeat(
        signals.starts[lists.rest] - ends + lengths, lengths
    )
    later = signals.terms[source]
    at_later = among(later, wanted)
    hashes.append(later[at_later])
    rows.append(lists.rest[np.searchsorted(ends, at_later, side="right")])
    return Places(hashes=np.concatenate(hashes), rows=np.concatenate(rows))


def occurrences(
    signals: Signals, threads: Rows, terms: Sequence[Term], there: Places
) -> Occurrences:
    """Count distinct terms in the rows near which they stand.

    threads  `conversations(signals)`
    there    where these terms stand, and maybe others
    """
    count = len(signals.ids)
    hashes = np.array([term.hash for term in terms], np.uint32)
    order = np.argsort(hashes)
    nearest = np.minimum(np.searchsorted(hashes[order], there.hashes), max(len(terms) - 1, 0))
    which = order[nearest] if len(terms) else np.zeros(0, np.int64)
    own = np.flatnonzero(hashes[which] == there.hashes) if len(terms) else which
    which, held = which[own], there.rows[own]
    reached = np.zeros(count + 2 * len(WINDOW), np.bool_)  # wide enough for the first and last row
    for step in range(1, 2 * len(WINDOW)):
        reached[held + step] = True
    reached = reached[len(WINDOW) : count + len(WINDOW)]
    rows = np.flatnonzero(reached)
    column = np.cumsum(reached) - 1
    flat = np.bincount(which * len(rows) + column[held], minlength=len(terms) * len(rows))
    counts = flat.reshape(len(terms), len(rows)).astype(np.float32)
    return Occurrences(
        rows=rows,
        counts=counts,
        idf=idf(np.count_nonzero(counts, axis=1).astype(np.float32), count),
    )


def score_words(
    signals: Signals, threads: Rows, terms: Sequence[Term], found: Occurrences
) -> Words:
    """Score every row by the words of a question.

    threads  `conversations(signals)`
    terms    those of `found`; one that occurs nowhere still counts in the denominators
    """
    count = len(signals.ids)
    weights = np.array([term.weight for term in terms], np.float32) * found.idf
    total = max(float(weights.sum()), 1e-9)
    topical = np.array([term.topical for term in terms], np.bool_)
    soft = _soft_counts(found, threads)
    damping = K1 * (1 - B + B * _relative_lengths(signals, threads, found.rows))
    score, coverage, specificity = (np.zeros(count, np.float32) for _ in range(3))
    score[found.rows] = weights @ (soft / (soft + damping)) * ((K1 + 1) / total)
    coverage[found.rows] = weights @ (found.counts > 0) / total
    highest = idf(np.zeros(1, np.float32), count)
    rare = np.where(topical, weights, 0) / highest
    specificity[found.rows] = rare @ np.minimum(soft, 1)
    return Words(score=score, coverage=coverage, specificity=specificity)


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
    found: Floats = dots.products(rounded, rows) / (127 * scale)
    return found


def centred(similar: Floats, embedded: Flags) -> Floats:
    """Cosines above the vault's mean, 1 for a perfect match: comparable between embedders."""
    known = similar if embedded.all() else similar[embedded]
    if len(known) == 0:
        return np.zeros_like(similar)
    mean = float(known.mean())
    above: Floats = (similar - np.float32(mean)) / np.float32(max(1 - mean, 1e-6))
    return above * embedded


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
    if len(scores) == 0:
        return scores
    first = np.flatnonzero(np.diff(threads, prepend=-1))
    best_of = np.maximum.reduceat(scores, first)
    lifted: Floats = scores + np.float32(SESSION) * best_of[threads].astype(np.float32)
    return lifted


def best(scores: Floats, count: int) -> Rows:
    """Rows of the highest scores, best first; ties keep the rows' order."""
    count = min(count, len(scores))
    if count <= 0:
        return np.zeros(0, np.int64)
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
    if topical == 0 or not admissible.any():
        return 0.0
    share = float(words.specificity[admissible].max()) / min(max(topical, LEAST), MOST)
    sure = float(plain[admissible].max()) + SHARE * min(1.0, share)
    if topical == 1:
        sure += LONE_ASKING if asking else -LONE
    elif asking:
        sure += ASKING
    return max(0.0, sure)


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
