# cython: boundscheck=False, wraparound=False, cdivision=True
"""What memory.context does for each memory of a block."""

from cpython.datetime cimport (
    datetime,
    datetime_day,
    datetime_hour,
    datetime_minute,
    datetime_month,
    import_datetime,
    timedelta_days,
    timedelta_seconds,
    tzinfo,
)
from libc.stdint cimport int64_t, uint8_t


cdef extern from "Python.h":
    bint PyUnicode_IS_ASCII(object text)
    void *PyUnicode_DATA(object text)
    Py_ssize_t PyUnicode_GET_LENGTH(object text)
    object PyUnicode_FromStringAndSize(const char *text, Py_ssize_t size)


import_datetime()

cdef enum:
    DAY = 86_400
    ROOM = 128


cdef struct Line:
    char text[ROOM]
    int length


cdef inline void put(Line *line, const char *text) noexcept:
    while text[0] and line.length < ROOM:
        line.text[line.length] = text[0]
        line.length += 1
        text += 1


cdef inline void put_number(Line *line, int64_t number, int digits) noexcept:
    """A number with so many digits at least."""
    cdef char reverse[24]
    cdef int length = 0
    while length < digits or number:
        reverse[length] = <char>(c"0" + number % 10)
        number //= 10
        length += 1
    while length and line.length < ROOM:
        length -= 1
        line.text[line.length] = reverse[length]
        line.length += 1


def plain(str text):
    """Whether nothing of a text can be meant as more than text: printable, in ASCII, no bracket
    that may begin a tag or a mark of ours. It may hold line feeds.
    """
    cdef const uint8_t *data
    cdef Py_ssize_t i
    if not PyUnicode_IS_ASCII(text):
        return False
    data = <const uint8_t *>PyUnicode_DATA(text)
    for i in range(PyUnicode_GET_LENGTH(text)):
        if data[i] < 32 and data[i] != c"\n" or data[i] == 127 or data[i] == c"<" or data[i] == c"[":
            return False
    return True


def mark(datetime created, datetime now, tzinfo zone, tuple units, tuple weekdays, tuple months):
    """See context.mark.

    units  (name, seconds), the largest first; names in ASCII, here and of days and months
    """
    cdef object since = now - created
    cdef object local = created.astimezone(zone)
    cdef int64_t seconds = <int64_t>timedelta_days(since) * DAY + timedelta_seconds(since)
    cdef int hour = datetime_hour(local)
    cdef Line line
    line.length = 0
    put(&line, "[MEMORY - ")
    put_age(&line, seconds, units)
    put(&line, " (")
    put(&line, <const char *>PyUnicode_DATA(weekdays[local.weekday()]))
    put(&line, ", ")
    put(&line, <const char *>PyUnicode_DATA(months[datetime_month(local) - 1]))
    put(&line, " ")
    put_number(&line, datetime_day(local), 1)
    put(&line, ", ")
    put_number(&line, hour % 12 if hour % 12 else 12, 1)
    put(&line, ":")
    put_number(&line, datetime_minute(local), 2)
    put(&line, " AM)] " if hour < 12 else " PM)] ")
    return PyUnicode_FromStringAndSize(line.text, line.length)


cdef int put_age(Line *line, int64_t seconds, tuple units) except -1:
    cdef int64_t size
    for name, size in units:
        if seconds >= size:
            put_number(line, seconds // size, 1)
            put(line, " ")
            put(line, <const char *>PyUnicode_DATA(name))
            put(line, "s ago" if seconds // size > 1 else " ago")
            return 0
    put(line, "just now")
    return 0
