# cython: boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""What memory.occurrences, memory.ranking and memory.authors compute over all rows of a vault, one row after the other.

Sums of single-precision numbers may differ from numpy's in the last digit, as it adds in another
order. Arrays to be filled come last.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memset
from cpython.bytes cimport PyBytes_FromStringAndSize

ctypedef fused hash_t:
    uint32_t
    uint64_t


cdef struct Found:
    int64_t *rows
    uint32_t *hashes
    Py_ssize_t used
    Py_ssize_t room


cdef inline bint _grown(Found *found) noexcept nogil:
    """Make room for one more; False if there is no memory."""
    cdef void *rows
    cdef void *hashes
    if found.used < found.room:
        return True
    found.room = 2 * found.room + 256
    rows = realloc(found.rows, found.room * sizeof(int64_t))
    if rows != NULL:
        found.rows = <int64_t *>rows
    hashes = realloc(found.hashes, found.room * sizeof(uint32_t))
    if hashes != NULL:
        found.hashes = <uint32_t *>hashes
    return rows != NULL and hashes != NULL


cdef inline Py_ssize_t _place(const hash_t[::1] ascending, hash_t value) noexcept nogil:
    """Where a value stands; -1 if it does not."""
    cdef Py_ssize_t low = 0, high = ascending.shape[0], middle
    while low < high:
        middle = (low + high) >> 1
        if ascending[middle] < value:
            low = middle + 1
        else:
            high = middle
    return low if low < ascending.shape[0] and ascending[low] == value else -1


def among(const hash_t[::1] values, const hash_t[::1] wanted, uint8_t[::1] flags):
    """Which values are among some.

    wanted  ascending
    flags   shape of `values`
    """
    cdef uint8_t table[4096]
    cdef Py_ssize_t i
    cdef hash_t value
    with nogil:
        _put(table, wanted)
        for i in range(values.shape[0]):
            value = values[i]
            flags[i] = table[value & 0xFFF] and _place(wanted, value) >= 0


cdef inline void _put(uint8_t *table, const hash_t[::1] wanted) noexcept nogil:
    """A mark for the low 12 bits of each wanted value: most others are told apart by it."""
    cdef Py_ssize_t i
    memset(table, 0, 4096)
    for i in range(wanted.shape[0]):
        table[wanted[i] & 0xFFF] = 1


def places(const uint32_t[::1] terms, const int64_t[::1] starts, const uint32_t[::1] wanted):
    """Where some terms stand: their hashes, uint32, and their rows, int64, as bytes.

    starts  where each row's terms start, and the end
    wanted  ascending
    """
    cdef uint8_t table[4096]
    cdef Found found = Found(NULL, NULL, 0, 0)
    cdef Py_ssize_t row, i
    cdef bint fits = True
    cdef uint32_t value
    with nogil:
        _put(table, wanted)
        for row in range(starts.shape[0] - 1):
            for i in range(starts[row], starts[row + 1]):
                value = terms[i]
                if table[value & 0xFFF] and _place(wanted, value) >= 0:
                    if not _grown(&found):
                        fits = False
                        break
                    found.rows[found.used] = row
                    found.hashes[found.used] = value
                    found.used += 1
            if not fits:
                break
    try:
        if not fits:
            raise MemoryError
        return (
            PyBytes_FromStringAndSize(<char *>found.hashes, found.used * sizeof(uint32_t)),
            PyBytes_FromStringAndSize(<char *>found.rows, found.used * sizeof(int64_t)),
        )
    finally:
        free(found.rows)
        free(found.hashes)


def conversations(const int64_t[::1] groups, const int64_t[::1] created, int64_t gap_ms, int64_t[::1] threads):
    """See occurrences.conversations."""
    cdef Py_ssize_t i
    cdef int64_t number = 0
    with nogil:
        threads[0] = 0
        for i in range(1, groups.shape[0]):
            if groups[i] != groups[i - 1] or (groups[i] == 0 and created[i] - created[i - 1] > gap_ms):
                number += 1
            threads[i] = number


def reached(
    const uint32_t[::1] hashes,
    const int64_t[::1] held,
    const uint32_t[::1] terms,
    Py_ssize_t reach,
    int64_t[::1] which,
    uint8_t[::1] flags,
):
    """Mark the rows that are at most `reach` rows from one that holds one of some terms; returns how many they are.

    hashes, held  where terms stand, these and maybe others
    terms         ascending
    which         the place in `terms` of each of `hashes`; -1 for others
    flags         zeros, one a row of the vault
    """
    cdef Py_ssize_t i, at, first, last, found = 0
    with nogil:
        for i in range(hashes.shape[0]):
            which[i] = _place(terms, hashes[i])
            if which[i] < 0:
                continue
            first = held[i] - reach if held[i] > reach else 0
            last = held[i] + reach if held[i] + reach < flags.shape[0] else flags.shape[0] - 1
            for at in range(first, last + 1):
                found += not flags[at]
                flags[at] = 1
    return found


def count(
    const int64_t[::1] which,
    const int64_t[::1] held,
    const int64_t[::1] numbers,
    const uint8_t[::1] flags,
    int64_t[::1] rows,
    float[:, ::1] counts,
    float[::1] matches,
):
    """How often each of some terms stands in each of the marked rows, and in how many; see `reached`.

    numbers  which row of `counts` each term has
    rows     the marked rows
    counts   zeros, shape (terms, rows)
    matches  zeros, one a term
    """
    cdef Py_ssize_t i, column = 0
    cdef int64_t number
    cdef int64_t *columns = <int64_t *>malloc((flags.shape[0] + 1) * sizeof(int64_t))
    if columns == NULL:
        raise MemoryError
    with nogil:
        for i in range(flags.shape[0]):
            columns[i] = column
            if flags[i]:
                rows[column] = i
                column += 1
        for i in range(which.shape[0]):
            if which[i] >= 0:
                number, column = numbers[which[i]], columns[held[i]]
                matches[number] += counts[number, column] == 0
                counts[number, column] += 1
        free(columns)


def score_words(
    const float[:, ::1] counts,
    const int64_t[::1] rows,
    const int64_t[::1] threads,
    const int64_t[::1] starts,
    const float[::1] window,
    const float[::1] weights,
    const float[::1] rare,
    float k1,
    float b,
    float total,
    float[::1] score,
    float[::1] coverage,
    float[::1] specificity,
):
    """See ranking.score_words.

    rare                          weights of the terms on topic by the highest there may be
    score, coverage, specificity  zeros, one a row of the vault
    """
    cdef Py_ssize_t found = rows.shape[0], i, t
    cdef double average = _average(threads, starts, window)
    cdef float relative
    if found == 0:
        return
    # Of each found row: damping, the three sums, soft counts; then what is near, by distance.
    cdef float *work = <float *>malloc((5 + window.shape[0]) * found * sizeof(float))
    if work == NULL:
        raise MemoryError
    cdef float *damping = work
    cdef float *words = work + found
    cdef float *whole = work + 2 * found
    cdef float *special = work + 3 * found
    cdef float *soft = work + 4 * found
    cdef float *near = work + 5 * found
    with nogil:
        memset(words, 0, 3 * found * sizeof(float))
        for i in range(found):
            relative = <float>(_length(threads, starts, window, rows[i]) / average)
            damping[i] = k1 * ((1 - b) + b * relative)
        _find_near(rows, threads, window, near)
        for t in range(counts.shape[0]):
            _soften(&counts[t, 0], window, near, found, soft)
            _add(&counts[t, 0], soft, damping, found, weights[t], rare[t], words, whole, special)
        for i in range(found):
            score[rows[i]] = words[i] * ((k1 + 1) / total)
            coverage[rows[i]] = whole[i] / total
            specificity[rows[i]] = special[i]
        free(work)


cdef void _find_near(
    const int64_t[::1] rows, const int64_t[::1] threads, const float[::1] window, float *near
) noexcept nogil:
    """For each distance and row, the share that the row so many places later counts: none if it is further away or elsewhere."""
    cdef Py_ssize_t i, distance, found = rows.shape[0]
    for distance in range(1, window.shape[0]):
        for i in range(found - distance):
            near[distance * found + i] = (
                window[distance]
                if rows[i + distance] - rows[i] == distance and threads[rows[i + distance]] == threads[rows[i]]
                else 0
            )


cdef void _soften(
    const float *counts, const float[::1] window, const float *near, Py_ssize_t found, float *soft
) noexcept nogil:
    """How often a term stands in the window of each row, what is further away counting less."""
    cdef Py_ssize_t i, distance
    cdef const float *share
    for i in range(found):
        soft[i] = counts[i]
    for distance in range(1, window.shape[0]):
        share = near + distance * found
        for i in range(found - distance):
            soft[i] += share[i] * counts[i + distance]
        for i in range(found - distance):
            soft[i + distance] += share[i] * counts[i]


cdef void _add(
    const float *counts,
    const float *soft,
    const float *damping,
    Py_ssize_t found,
    float weight,
    float rare,
    float *words,
    float *whole,
    float *special,
) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(found):
        words[i] += weight * (soft[i] / (soft[i] + damping[i]))
    for i in range(found):
        whole[i] += weight if counts[i] > 0 else 0
    for i in range(found):
        special[i] += rare * (soft[i] if soft[i] < 1 else 1)


cdef float _length(const int64_t[::1] threads, const int64_t[::1] starts, const float[::1] window, Py_ssize_t row) noexcept nogil:
    """Terms in the window of a row, what is further away counting less."""
    cdef float found = starts[row + 1] - starts[row]
    cdef Py_ssize_t distance
    for distance in range(1, window.shape[0]):
        if row >= distance and threads[row - distance] == threads[row]:
            found += window[distance] * (starts[row - distance + 1] - starts[row - distance])
        if row + distance < threads.shape[0] and threads[row + distance] == threads[row]:
            found += window[distance] * (starts[row + distance + 1] - starts[row + distance])
    return found


cdef double _average(const int64_t[::1] threads, const int64_t[::1] starts, const float[::1] window):
    """The average of that as if all rows were of average length."""
    cdef Py_ssize_t count = threads.shape[0], i, distance
    cdef int64_t near
    cdef double shares = 1.0, found
    for distance in range(1, window.shape[0]):
        near = 0
        for i in range(distance, count):
            near += threads[i] == threads[i - distance]
        shares += 2.0 * window[distance] * near / count
    found = <double>(starts[count] - starts[0]) / count * shares
    return found if found > 1e-9 else 1e-9


def centred(const float[::1] similar, const uint8_t[::1] there, const float[::1] instead, float[::1] scores):
    """Cosines above the mean of those that are there, by the room above it; another score where none is.

    See ranking.centred and scoring.
    """
    cdef Py_ssize_t i, count = similar.shape[0], known = 0
    cdef double total = 0
    cdef float mean, room
    with nogil:
        for i in range(count):
            if there[i]:
                total += similar[i]
                known += 1
        mean = <float>(total / known) if known else 0
        room = <float>(1 - total / known) if known else 1
        room = room if room > 1e-6 else 1e-6
        for i in range(count):
            scores[i] = (similar[i] - mean) / room if there[i] else instead[i]


def lift(const float[::1] scores, const int64_t[::1] threads, float share, float[::1] lifted):
    """See ranking.lift."""
    cdef Py_ssize_t i, first = 0, last, count = scores.shape[0]
    cdef float best
    with nogil:
        while first < count:
            last = first
            best = scores[first]
            while last < count and threads[last] == threads[first]:
                if scores[last] > best:
                    best = scores[last]
                last += 1
            for i in range(first, last):
                lifted[i] = scores[i] + share * best
            first = last


def best(const float[::1] scores, const uint8_t[::1] admissible, int64_t[::1] rows):
    """Fill `rows` with those of the highest scores, the best first, equal ones in their order; returns how many."""
    cdef Py_ssize_t i, at, used = 0, room = rows.shape[0], above
    cdef float value
    if room == 0:
        return 0
    # A heap with the worst of the best on top: of equal scores, the later row is worse.
    with nogil:
        for i in range(scores.shape[0]):
            if not admissible[i]:
                continue
            value = scores[i]
            if used < room:
                at = used
                used += 1
                while at and _worse(scores, i, rows[(at - 1) >> 1]):
                    above = (at - 1) >> 1
                    rows[at] = rows[above]
                    at = above
                rows[at] = i
            elif value > scores[rows[0]]:
                _sink(scores, rows, i, used)
        for at in range(used - 1, 0, -1):
            i = rows[at]
            rows[at] = rows[0]
            _sink(scores, rows, i, at)
    return used


cdef inline bint _worse(const float[::1] scores, Py_ssize_t one, Py_ssize_t other) noexcept nogil:
    return scores[one] < scores[other] or (scores[one] == scores[other] and one > other)


cdef inline void _sink(const float[::1] scores, int64_t[::1] heap, Py_ssize_t row, Py_ssize_t size) noexcept nogil:
    """Put a row in place of the top."""
    cdef Py_ssize_t at = 0, below
    while True:
        below = 2 * at + 1
        if below >= size:
            break
        if below + 1 < size and _worse(scores, heap[below + 1], heap[below]):
            below += 1
        if not _worse(scores, heap[below], row):
            break
        heap[at] = heap[below]
        at = below
    heap[at] = row


def other_side(
    const int64_t[::1] groups,
    const uint8_t[::1] sides,
    const int64_t[::1] mentions,
    double one_sided,
    float[::1] leaning,
):
    """See authors._other_side; returns whether the mentions come from one side.

    groups    ascending from 0
    sides     0 or 1 a row
    mentions  rows
    leaning   how surely each row is on the other side
    """
    cdef Py_ssize_t i, count = groups.shape[0], last = groups[count - 1] + 1
    cdef int64_t said, odd, telling = 0, heard = 0
    cdef double by
    cdef int64_t *sums = <int64_t *>malloc(2 * last * sizeof(int64_t))
    if sums == NULL:
        raise MemoryError
    with nogil:
        memset(sums, 0, 2 * last * sizeof(int64_t))
        for i in range(mentions.shape[0]):
            sums[2 * groups[mentions[i]]] += 1
            sums[2 * groups[mentions[i]] + 1] += sides[mentions[i]]
        for i in range(last):
            said, odd = sums[2 * i], sums[2 * i + 1]
            if said >= 2:
                telling += said
                heard += odd if odd > said - odd else said - odd
        for i in range(count):
            said, odd = sums[2 * groups[i]], sums[2 * groups[i] + 1]
            by = <double>(said - 2 * odd) / (said if said > 1 else 1)
            by = by if sides[i] else -by
            leaning[i] = <float>by if by > 0 else 0
        free(sums)
    return telling > 0 and heard >= one_sided * telling


def highest(const float[::1] values, const uint8_t[::1] admissible):
    """The highest admissible value; None where there is none."""
    cdef Py_ssize_t i, at = -1
    for i in range(values.shape[0]):
        if admissible[i] and (at < 0 or values[i] > values[at]):
            at = i
    return None if at < 0 else values[at]
