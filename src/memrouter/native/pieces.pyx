# cython: boundscheck=False, wraparound=False, cdivision=True
"""The parts of embed.pieces that add up vectors. Rows are added in the order of the text."""

from cpython.dict cimport PyDict_GetItem
from cpython.object cimport PyObject
from libc.math cimport sqrt
from libc.stdint cimport uint16_t, uint32_t
from libc.string cimport memcpy, memset


cdef extern from "Python.h":
    int PyUnicode_KIND(object text)
    void *PyUnicode_DATA(object text)
    Py_UCS4 PyUnicode_READ(int kind, void *data, Py_ssize_t at)
    Py_ssize_t PyUnicode_GET_LENGTH(object text)
    str PyUnicode_Substring(object text, Py_ssize_t start, Py_ssize_t end)


cdef extern from *:
    """
    #if defined(__GNUC__) || defined(__clang__)
    #define FETCH(p) __builtin_prefetch(p)
    #else
    #define FETCH(p)
    #endif
    """
    void FETCH(const void *p) noexcept nogil


cdef void fetch(const float *row, Py_ssize_t count) noexcept:
    """Have a row in the processor's cache by the time that it is added."""
    cdef Py_ssize_t i
    for i in range(0, count, 16):
        FETCH(row + i)


cdef void add(float *total, const float *row, Py_ssize_t count) noexcept:
    cdef Py_ssize_t i
    for i in range(count):
        total[i] += row[i]


cdef void add_weighted(float *total, const float *row, float weight, Py_ssize_t count) noexcept:
    cdef Py_ssize_t i
    for i in range(count):
        total[i] += weight * row[i]


cdef class Adder:
    """See pieces.Adder."""

    cdef const float[:, ::1] table
    cdef dict pieces

    def __init__(self, const float[:, ::1] table, dict pieces):
        self.table = table
        self.pieces = pieces

    def total(self, str text, float[::1] plain):
        memset(&plain[0], 0, self.table.shape[1] * sizeof(float))
        return self.sum(text, None, &plain[0], NULL)

    def both(self, str text, dict rarity not None, float[:, ::1] found):
        memset(&found[0, 0], 0, 2 * self.table.shape[1] * sizeof(float))
        return self.sum(text, rarity, &found[0, 0], &found[1, 0])

    cdef bint sum(self, str text, dict rarity, float *plain, float *weighted) except -1:
        cdef Py_ssize_t length = PyUnicode_GET_LENGTH(text), at = 0, start, i, size
        cdef Py_ssize_t dimension = self.table.shape[1], place
        cdef int width = PyUnicode_KIND(text)
        cdef void *data = PyUnicode_DATA(text)
        cdef PyObject *held
        cdef list found = []
        cdef tuple known
        cdef float weight
        while at < length:
            start = at
            while at < length and PyUnicode_READ(width, data, at) == 32:
                at += 1
            while at < length and PyUnicode_READ(width, data, at) != 32:
                at += 1
            held = PyDict_GetItem(self.pieces, PyUnicode_Substring(text, start, at))
            if held == NULL:
                return False
            known = <tuple>held
            place = known[0]
            fetch(&self.table[place, 0], dimension)
            found.append(known)
        for known in found:
            place = known[0]
            add(plain, &self.table[place, 0], dimension)
            if weighted == NULL:
                continue
            size = len(known)
            for i in range(1, size, 2):
                held = PyDict_GetItem(rarity, known[i])
                if held != NULL:
                    weight = <object>held
                    place = known[i + 1]
                    add_weighted(weighted, &self.table[place, 0], weight, dimension)
        return True


def to_length_1(float[:, ::1] rows):
    """Divide rows by their lengths, which are returned; zeros stay."""
    cdef Py_ssize_t i, j, dimension = rows.shape[1]
    cdef double squares
    cdef float length
    cdef list lengths = []
    for i in range(rows.shape[0]):
        squares = 0
        for j in range(dimension):
            squares += <double>rows[i, j] * rows[i, j]
        length = <float>sqrt(squares)
        lengths.append(length)
        if length > 0:
            for j in range(dimension):
                rows[i, j] /= length
    return lengths


cdef float REBASED = 5.192296858534828e33  # 2 ** 112: exponents count from elsewhere


cdef void add_half(float *total, const uint16_t *row, Py_ssize_t count) noexcept:
    """Add numbers of 16 bits, all of them finite."""
    cdef Py_ssize_t i
    cdef uint32_t bits
    cdef float value
    for i in range(count):
        bits = <uint32_t>(row[i] & 0x7FFF) << 13
        memcpy(&value, &bits, 4)
        value *= REBASED
        total[i] += -value if row[i] & 0x8000 else value


def add_tokens(list ids, list offsets, list words, const uint16_t[:, ::1] table, float[:, ::1] sums):
    """Sums of the vectors of a piece's tokens: all of them, and those of each word.

    offsets  where each token starts and ends
    words    where each word starts and ends
    table    a vector a token, bits of numbers of 16 bits
    sums     of all, then of each word; zeros
    returns  whether each token is part of a word
    """
    cdef Py_ssize_t dimension = table.shape[1], count = len(words), at = 0, number
    cdef Py_ssize_t start, end, first, last, token
    cdef bint inside = True
    if count:
        first, last = words[0]
    for number in range(len(ids)):
        token = ids[number]
        start, end = offsets[number]
        add_half(&sums[0, 0], &table[token, 0], dimension)
        while at < count and last <= start:
            at += 1
            if at < count:
                first, last = words[at]
        if at < count and first < end:
            add_half(&sums[at + 1, 0], &table[token, 0], dimension)
        else:
            inside = False
    return inside
