# cython: boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""What store.sqlite.signals does with all rows of a vault: unpacks, sorts, merges, in one copy.

Machines of little-endian numbers only, as those in segments are.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

cdef enum:
    HEAD = 41  # bytes of a record of segments.HEAD
    ARRAYS = 12
    MANY = 4096  # rows beyond which other threads may run meanwhile


cdef struct Row:
    int64_t id
    int64_t memory
    int64_t created
    uint64_t digest
    int32_t group
    uint32_t size  # how many terms
    uint8_t role
    uint8_t embedded
    uint8_t encoded
    const char *terms
    const char *vector  # NULL for zeros
    const char *encoding


cdef struct Arrays:
    int64_t *ids
    int64_t *memories
    int64_t *groups
    int64_t *created
    uint64_t *digests
    int64_t *starts
    uint32_t *terms
    char *vectors
    char *encodings
    uint8_t *roles
    uint8_t *embedded
    uint8_t *encoded


cdef class Buffers:
    """The memory of some arrays, in the order of signals.ARRAYS, as long as this is there."""

    cdef Py_buffer views[ARRAYS]
    cdef int held
    cdef Arrays arrays
    cdef Py_ssize_t rows

    def __cinit__(self, arrays, Py_ssize_t dimension, Py_ssize_t encoder_dimension, int flags):
        cdef Py_ssize_t i, rows
        self.held = 0
        for array in arrays:
            if self.held == ARRAYS:
                raise ValueError("too many arrays")
            PyObject_GetBuffer(array, &self.views[self.held], flags)
            self.held += 1
        if self.held != ARRAYS:
            raise ValueError("too few arrays")
        rows = self.rows = self.views[0].len // 8
        for i in range(5):
            if self.views[i].len != 8 * rows:
                raise ValueError("arrays of unequal length")
        if self.views[5].len != 8 * (rows + 1):
            raise ValueError("starts of another length")
        if self.views[7].len != rows * dimension or self.views[8].len != rows * encoder_dimension:
            raise ValueError("vectors of another dimension")
        for i in range(9, ARRAYS):
            if self.views[i].len != rows:
                raise ValueError("arrays of unequal length")
        self.arrays.ids = <int64_t *>self.views[0].buf
        self.arrays.memories = <int64_t *>self.views[1].buf
        self.arrays.groups = <int64_t *>self.views[2].buf
        self.arrays.created = <int64_t *>self.views[3].buf
        self.arrays.digests = <uint64_t *>self.views[4].buf
        self.arrays.starts = <int64_t *>self.views[5].buf
        self.arrays.terms = <uint32_t *>self.views[6].buf
        self.arrays.vectors = <char *>self.views[7].buf
        self.arrays.encodings = <char *>self.views[8].buf
        self.arrays.roles = <uint8_t *>self.views[9].buf
        self.arrays.embedded = <uint8_t *>self.views[10].buf
        self.arrays.encoded = <uint8_t *>self.views[11].buf

    def __dealloc__(self):
        cdef int i
        for i in range(self.held):
            PyBuffer_Release(&self.views[i])


cdef class Rows:
    """The chunks of some segments that are newer than one, in the order of Signals."""

    cdef list _segments  # whose bytes are pointed into
    cdef Row *_rows
    cdef Row **_sorted
    cdef Py_ssize_t _dimension, _encoder_dimension
    cdef readonly Py_ssize_t count
    cdef readonly Py_ssize_t terms  # of all rows
    cdef readonly int64_t newest
    cdef readonly Py_ssize_t given  # older rows that have a vector or an encoding

    def __cinit__(
        self,
        list segments,
        int64_t after,
        Py_ssize_t dimension,
        Py_ssize_t encoder_dimension,
    ):
        """See signals.build; raises ValueError if a segment does not hold together.

        segments  tuples of bytes, in the order of segments.Segment
        after     the newest chunk that is passed over
        """
        cdef Py_ssize_t size, total = 0
        cdef bytes flags
        self._segments = segments
        self._dimension, self._encoder_dimension = dimension, encoder_dimension
        self.newest = after
        for segment in segments:
            flags = segment[0]
            total += PyBytes_GET_SIZE(flags)
        self._rows = <Row *>malloc((total + 1) * sizeof(Row))
        self._sorted = <Row **>malloc(2 * (total + 1) * sizeof(Row *))
        if self._rows == NULL or self._sorted == NULL:
            raise MemoryError
        for segment in segments:
            self._read(segment, after)
        with nogil:
            self._sort()

    def __dealloc__(self):
        free(self._rows)
        free(self._sorted)

    cdef int _read(self, object segment, int64_t after) except -1:
        cdef bytes embedded = segment[0], heads = segment[1], terms = segment[2]
        cdef bytes vectors = segment[3], encoded = segment[4], encodings = segment[5]
        cdef Py_ssize_t size = PyBytes_GET_SIZE(embedded), i, at = 0
        cdef const char *head = PyBytes_AS_STRING(heads)
        cdef const char *flags = PyBytes_AS_STRING(embedded)
        cdef const char *done = NULL
        cdef const char *numbers = NULL
        cdef const char *codes = NULL
        cdef const char *hashed = PyBytes_AS_STRING(terms)
        cdef Row *row
        if PyBytes_GET_SIZE(vectors):
            numbers = PyBytes_AS_STRING(vectors)
        if PyBytes_GET_SIZE(encoded):
            done = PyBytes_AS_STRING(encoded)
        if PyBytes_GET_SIZE(encodings):
            codes = PyBytes_AS_STRING(encodings)
        if (
            PyBytes_GET_SIZE(heads) != size * HEAD
            or (numbers != NULL and PyBytes_GET_SIZE(vectors) != size * self._dimension)
            or (done != NULL and PyBytes_GET_SIZE(encoded) != size)
            or (codes != NULL and PyBytes_GET_SIZE(encodings) != size * self._encoder_dimension)
        ):
            raise ValueError("a segment's parts are of unequal length")
        for i in range(size):
            row = &self._rows[self.count]
            memcpy(&row.id, head, 8)
            memcpy(&row.memory, head + 8, 8)
            memcpy(&row.created, head + 16, 8)
            memcpy(&row.digest, head + 24, 8)
            memcpy(&row.group, head + 32, 4)
            memcpy(&row.size, head + 36, 4)
            row.role = <uint8_t>head[40]
            head += HEAD
            row.embedded = flags[i] != 0
            row.encoded = done != NULL and done[i] != 0
            row.terms = hashed + 4 * at
            at += row.size
            if 4 * at > PyBytes_GET_SIZE(terms):
                raise ValueError("a segment has too few terms")
            row.vector = NULL if numbers == NULL else numbers + i * self._dimension
            row.encoding = NULL if codes == NULL else codes + i * self._encoder_dimension
            if row.id > after:
                self._sorted[self.count] = row
                self.count += 1
                self.terms += row.size
                if row.id > self.newest:
                    self.newest = row.id
            elif row.embedded or row.encoded:
                self.given += 1
        if 4 * at != PyBytes_GET_SIZE(terms):
            raise ValueError("a segment has too many terms")
        return 0

    cdef void _sort(self) noexcept nogil:
        """Merge runs that ascend already; there are few, as conversations go on one by one."""
        cdef Row **source = self._sorted
        cdef Row **target = self._sorted + self.count
        cdef Row **swap
        cdef Py_ssize_t first, middle, last, runs = 2
        while runs > 1:
            runs, first = 0, 0
            while first < self.count:
                middle = _end_of_run(source, first, self.count)
                last = _end_of_run(source, middle, self.count)
                _merge(source, first, middle, last, target)
                first = last
                runs += 1
            swap = source
            source = target
            target = swap
        if source != self._sorted:
            memcpy(self._sorted, source, self.count * sizeof(Row *))

    def behind(self, groups, created) -> bool:
        """Whether all of them belong behind rows that are older, of these groups and times."""
        cdef int64_t group, time
        if not len(groups) or not self.count:
            return True
        group, time = groups[-1], created[-1]
        return self._sorted[0].group > group or (
            self._sorted[0].group == group and self._sorted[0].created >= time
        )

    def merge(self, old, target) -> None:
        """Write older rows and these to other arrays; rows that are there already stay.

        old     arrays in the order of signals.ARRAYS
        target  room for all; other memory than `old` up to its end, or the same if `behind`
        """
        cdef Buffers source = Buffers(old, self._dimension, self._encoder_dimension, PyBUF_SIMPLE)
        cdef Buffers to = Buffers(target, self._dimension, self._encoder_dimension, PyBUF_WRITABLE)
        cdef int64_t held = source.arrays.starts[source.rows]
        if 4 * held != source.views[6].len:
            raise ValueError("terms of another length")
        if to.rows < source.rows + self.count or to.views[6].len < 4 * (held + self.terms):
            raise ValueError("too little room")
        if (
            to.arrays.ids == source.arrays.ids
            and self.count
            and _place(&source.arrays, 0, source.rows, self._sorted[0]) < source.rows
        ):
            raise ValueError("rows between others in their own place")
        if source.rows + self.count > MANY:
            with nogil:
                self._write(&source.arrays, source.rows, &to.arrays)
        else:
            self._write(&source.arrays, source.rows, &to.arrays)

    cdef void _write(self, Arrays *old, Py_ssize_t rows, Arrays *to) noexcept nogil:
        cdef Py_ssize_t i, read = 0, written = 0, place
        cdef int64_t shift = 0
        cdef Row *row
        for i in range(self.count):
            row = self._sorted[i]
            place = _place(old, read, rows, row)
            self._copy(old, read, place, to, written, shift)
            written += place - read
            read = place
            to.starts[written] = old.starts[read] + shift
            self._put(row, to, written)
            shift += row.size
            written += 1
        self._copy(old, read, rows, to, written, shift)
        written += rows - read
        to.starts[written] = old.starts[rows] + shift

    cdef void _copy(
        self, Arrays *old, Py_ssize_t read, Py_ssize_t end, Arrays *to, Py_ssize_t at, int64_t shift
    ) noexcept nogil:
        """Rows from `read` to `end` to place `at`, their terms moved by `shift`."""
        cdef Py_ssize_t count = end - read, i
        cdef int64_t terms = old.starts[end] - old.starts[read]
        if not count or (to.ids == old.ids and at == read):
            return
        memcpy(to.ids + at, old.ids + read, 8 * count)
        memcpy(to.memories + at, old.memories + read, 8 * count)
        memcpy(to.groups + at, old.groups + read, 8 * count)
        memcpy(to.created + at, old.created + read, 8 * count)
        memcpy(to.digests + at, old.digests + read, 8 * count)
        memcpy(to.terms + old.starts[read] + shift, old.terms + old.starts[read], 4 * terms)
        memcpy(
            to.vectors + at * self._dimension,
            old.vectors + read * self._dimension,
            count * self._dimension,
        )
        memcpy(
            to.encodings + at * self._encoder_dimension,
            old.encodings + read * self._encoder_dimension,
            count * self._encoder_dimension,
        )
        memcpy(to.roles + at, old.roles + read, count)
        memcpy(to.embedded + at, old.embedded + read, count)
        memcpy(to.encoded + at, old.encoded + read, count)
        for i in range(count):
            to.starts[at + i] = old.starts[read + i] + shift

    cdef void _put(self, Row *row, Arrays *to, Py_ssize_t at) noexcept nogil:
        """One of these rows to place `at`, whose start is there."""
        to.ids[at] = row.id
        to.memories[at] = row.memory
        to.groups[at] = row.group
        to.created[at] = row.created
        to.digests[at] = row.digest
        to.roles[at] = row.role
        to.embedded[at] = row.embedded
        to.encoded[at] = row.encoded
        memcpy(to.terms + to.starts[at], row.terms, 4 * row.size)
        _numbers(to.vectors + at * self._dimension, row.vector, self._dimension)
        _numbers(to.encodings + at * self._encoder_dimension, row.encoding, self._encoder_dimension)


cdef inline void _numbers(char *to, const char *numbers, Py_ssize_t dimension) noexcept nogil:
    if numbers == NULL:
        memset(to, 0, dimension)
    else:
        memcpy(to, numbers, dimension)


cdef inline bint _before(const Row *one, const Row *other) noexcept nogil:
    if one.group != other.group:
        return one.group < other.group
    if one.created != other.created:
        return one.created < other.created
    return one.id < other.id


cdef Py_ssize_t _end_of_run(Row **rows, Py_ssize_t first, Py_ssize_t count) noexcept nogil:
    if first == count:
        return count
    first += 1
    while first < count and not _before(rows[first], rows[first - 1]):
        first += 1
    return first


cdef void _merge(
    Row **rows, Py_ssize_t first, Py_ssize_t middle, Py_ssize_t last, Row **target
) noexcept nogil:
    cdef Py_ssize_t left = first, right = middle, at
    for at in range(first, last):
        if left < middle and (right == last or not _before(rows[right], rows[left])):
            target[at] = rows[left]
            left += 1
        else:
            target[at] = rows[right]
            right += 1


cdef Py_ssize_t _place(Arrays *old, Py_ssize_t low, Py_ssize_t high, const Row *row) noexcept nogil:
    """In front of which old row a newer one belongs."""
    cdef Py_ssize_t middle
    while low < high:
        middle = (low + high) >> 1
        if old.groups[middle] > row.group or (
            old.groups[middle] == row.group and old.created[middle] > row.created
        ):
            high = middle
        else:
            low = middle + 1
    return low
