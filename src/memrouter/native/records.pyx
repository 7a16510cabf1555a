# cython: boundscheck=False, wraparound=False, cdivision=True
"""What store.sqlite.vault makes of the rows of a recall."""

from cpython.datetime cimport datetime_new, import_datetime
from cpython.object cimport PyObject_GenericSetAttr
from datetime import timezone
from libc.stdint cimport int64_t

import_datetime()

cdef object UTC = timezone.utc
cdef int64_t DAY_MS = 86_400_000
cdef int64_t ERA_DAYS = 146_097  # 400 years
cdef int64_t FIRST_MS = -62_135_596_800_000  # the year 1
cdef int64_t END_MS = 253_402_300_800_000  # the year 10,000


def moment(int64_t ms):
    """A Unix time in milliseconds, as a datetime. Raises OverflowError beyond the years it knows."""
    cdef int64_t day, left, era, of_era, year, of_year, month
    if ms < FIRST_MS or ms >= END_MS:
        raise OverflowError("date value out of range")
    ms -= FIRST_MS
    day = ms // DAY_MS + 306  # since March 1 of the year 0, so that a leap day is a year's last
    left = ms % DAY_MS
    era = day // ERA_DAYS
    of_era = day % ERA_DAYS
    year = (of_era - of_era // 1_460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year + year // 4 - year // 100)
    month = (5 * of_year + 2) // 153
    day = of_year - (153 * month + 2) // 5 + 1
    year += 400 * era
    if month < 10:
        month += 3
    else:
        month -= 9
        year += 1
    return datetime_new(
        year,
        month,
        day,
        left // 3_600_000,
        left // 60_000 % 60,
        left // 1_000 % 60,
        left % 1_000 * 1_000,
        UTC,
    )


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
