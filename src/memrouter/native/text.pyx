# cython: boundscheck=False, wraparound=False, cdivision=True
"""The parts of memrouter.tokens, memory.analysis and embed.pieces that look at each character."""

from libc.stdint cimport int16_t, int64_t, uint8_t


cdef extern from "Python.h":
    bint PyUnicode_IS_ASCII(object text)
    void *PyUnicode_DATA(object text)
    Py_ssize_t PyUnicode_GET_LENGTH(object text)


def total(str text, const int16_t[::1] parts):
    """The sum of what each byte of a text in UTF-8 counts; see tokens.estimate.

    parts  what a byte counts, shape (256,)
    """
    cdef bytes encoded
    cdef const uint8_t *data
    cdef Py_ssize_t length, i
    cdef int64_t found = 0
    if PyUnicode_IS_ASCII(text):
        data = <const uint8_t *>PyUnicode_DATA(text)
        length = PyUnicode_GET_LENGTH(text)
    else:
        encoded = text.encode("utf-8", "replace")
        data = encoded
        length = len(encoded)
    for i in range(length):
        found += parts[data[i]]
    return found
