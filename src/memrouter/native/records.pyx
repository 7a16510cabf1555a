# cython: boundscheck=False, wraparound=False, cdivision=True
"""What store.sqlite.vault makes of the rows of a recall."""

from cpython.datetime cimport import_datetime, timedelta_new
from cpython.object cimport PyObject_GenericSetAttr
from datetime import datetime, timezone
from libc.stdint cimport int64_t

import_datetime()

cdef object UTC = timezone.utc
cdef object EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
cdef int64_t DAY_MS = 86_400_000
cdef int64_t FIRST_MS = -62_135_596_800_000  # the year 1
cdef int64_t END_MS = 253_402_300_800_000  # the year 10,000


def moment(int64_t ms):
    """A Unix time in milliseconds, as a datetime. Raises OverflowError beyond the years it knows."""
    cdef int64_t day, left
    if ms < FIRST_MS or ms >= END_MS:
        raise OverflowError("date value out of range")
    day = (ms - FIRST_MS) // DAY_MS + FIRST_MS // DAY_MS
    left = (ms - FIRST_MS) % DAY_MS
    return EPOCH + timedelta_new(day, left // 1_000, left % 1_000 * 1_000)


def chunks(list rows, tuple roles, type kind):
    """Rows of the statement `chunks` as Chunk."""
    cdef list found = []
    cdef tuple row
    cdef object chunk
    for row in rows:
        chunk = kind.__new__(kind)
        PyObject_GenericSetAttr(chunk, "id", row[0])
        PyObject_GenericSetAttr(chunk, "turn", row[1])
        PyObject_GenericSetAttr(chunk, "role", roles[<Py_ssize_t>row[2]])
        PyObject_GenericSetAttr(chunk, "text", row[3])
        PyObject_GenericSetAttr(chunk, "tokens", row[4])
        PyObject_GenericSetAttr(chunk, "created", moment(row[5]))
        PyObject_GenericSetAttr(chunk, "session", row[6])
        PyObject_GenericSetAttr(chunk, "conversation", row[7])
        PyObject_GenericSetAttr(chunk, "position", row[8])
        PyObject_GenericSetAttr(chunk, "digest", row[9])
        found.append(chunk)
    return found
