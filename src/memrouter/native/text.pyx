# cython: boundscheck=False, wraparound=False, cdivision=True
"""The parts of memrouter.tokens and memory.analysis that look at each character."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_GetItem
from cpython.object cimport PyObject
from libc.stdint cimport int16_t, int64_t, uint8_t, uint32_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcpy


cdef extern from "Python.h":
    bint PyUnicode_IS_ASCII(object text)
    int PyUnicode_KIND(object text)
    void *PyUnicode_DATA(object text)
    Py_UCS4 PyUnicode_READ(int kind, void *data, Py_ssize_t at)
    Py_ssize_t PyUnicode_GET_LENGTH(object text)
    str PyUnicode_Substring(object text, Py_ssize_t start, Py_ssize_t end)
    bint Py_UNICODE_ISALNUM(Py_UCS4 c)
    bint Py_UNICODE_ISUPPER(Py_UCS4 c)


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


# The rest stands for parts of memory.analysis, over texts in NFKC.

cdef enum:
    WORD = 1
    PAIRED = 2

cdef enum:  # what a word says of who wrote it, as analysis._learned marks it
    OWN = 1
    SPEAKER = 2
    ASKS = 4
    ODD = 8

cdef uint8_t LATIN[256]
cdef uint32_t CRC[256]


cdef void prepare() noexcept:
    cdef uint32_t i, bit, value
    for i in range(256):
        LATIN[i] = WORD if Py_UNICODE_ISALNUM(i) or i == 95 else 0
        value = i
        for bit in range(8):
            value = (value >> 1) ^ (0xEDB88320 if value & 1 else 0)
        CRC[i] = value


prepare()


cdef inline int kind_of(Py_UCS4 c) noexcept:
    """WORD, PAIRED, or 0 for what stands between words; see analysis._WORD."""
    if c < 256:
        return LATIN[c]
    if c >= 0x0E00 and (
        0x4E00 <= c <= 0x9FFF or 0x3040 <= c <= 0x30FF or 0xAC00 <= c <= 0xD7A3
        or c <= 0x0EFF or 0x1000 <= c <= 0x109F or 0x1780 <= c <= 0x17FF
        or 0x3400 <= c <= 0x4DBF or 0x20000 <= c <= 0x3FFFF
    ):
        return PAIRED
    return WORD if Py_UNICODE_ISALNUM(c) else 0


cdef inline uint32_t hashed(uint32_t before, uint32_t c) noexcept:
    """CRC-32, not yet inverted, of what came before and a paired character in UTF-8."""
    if c >= 0x10000:
        before = CRC[(before ^ (0xF0 | c >> 18)) & 255] ^ before >> 8
        before = CRC[(before ^ (0x80 | c >> 12 & 63)) & 255] ^ before >> 8
    else:
        before = CRC[(before ^ (0xE0 | c >> 12)) & 255] ^ before >> 8
    before = CRC[(before ^ (0x80 | c >> 6 & 63)) & 255] ^ before >> 8
    return CRC[(before ^ (0x80 | c & 63)) & 255] ^ before >> 8


cdef struct Buffer:
    char *data
    Py_ssize_t used
    Py_ssize_t room


cdef char *space(Buffer *buffer, Py_ssize_t size) except NULL:
    """Where the next `size` bytes go."""
    cdef char *data
    if buffer.used + size > buffer.room:
        buffer.room = 2 * (buffer.used + size)
        data = <char *>realloc(buffer.data, buffer.room)
        if data == NULL:
            raise MemoryError
        buffer.data = data
    buffer.used += size
    return buffer.data + buffer.used - size


cdef int add_pairs(
    Buffer *buffer, int width, void *data, Py_ssize_t start, Py_ssize_t end
) except -1:
    """Terms of a run of paired characters: each of them, then each two."""
    cdef Py_ssize_t count = end - start, i
    cdef uint32_t *terms = <uint32_t *>space(buffer, 4 * (2 * count - 1))
    cdef uint32_t first = 0
    cdef Py_UCS4 c
    for i in range(count):
        c = PyUnicode_READ(width, data, start + i)
        if i:
            terms[count + i - 1] = ~hashed(first, c)
        first = hashed(0xFFFFFFFF, c)
        terms[i] = ~first
    return 0


cdef inline bint apart(int width, void *data, Py_ssize_t at, Py_ssize_t length) noexcept:
    """Whether what is at a place, beside a word, is no part of it for the expression \\w+."""
    return not 0 <= at < length or not Py_UNICODE_ISALNUM(PyUnicode_READ(width, data, at))


def index(str text, dict known, object learned):
    """The hashed terms of a text, and whether its author says something of themselves in it.

    known    of words as they are written: a byte of marks, then their hashed terms
    learned  makes them for a word that is not there
    returns  the terms, and what of it words show: 1 that they do, 0 if nothing does, 2 more where
             paired characters may show it too; -1 where it must be found out another way
    """
    cdef Py_ssize_t length = PyUnicode_GET_LENGTH(text), at = 0, start, before = -2, size
    cdef int width = PyUnicode_KIND(text), kind, marks, asked = 0, said = 0, paired = 0
    cdef void *data = PyUnicode_DATA(text)
    cdef PyObject *held
    cdef object word, packed
    cdef Buffer buffer
    buffer.used, buffer.room = 0, 2 * length + 256
    buffer.data = <char *>malloc(buffer.room)
    if buffer.data == NULL:
        raise MemoryError
    try:
        while at < length:
            kind = kind_of(PyUnicode_READ(width, data, at))
            if kind == 0:
                at += 1
                continue
            start = at
            at += 1
            while at < length and kind_of(PyUnicode_READ(width, data, at)) == kind:
                at += 1
            if kind == PAIRED:
                add_pairs(&buffer, width, data, start, at)
                paired = 2
                continue
            word = PyUnicode_Substring(text, start, at)
            held = PyDict_GetItem(known, word)
            packed = <object>held if held != NULL else <bytes?>learned(word)
            size = PyBytes_GET_SIZE(packed) - 1
            if size > 0:
                memcpy(space(&buffer, size), PyBytes_AS_STRING(packed) + 1, size)
            marks = PyBytes_AS_STRING(packed)[0]
            if marks and not (apart(width, data, start - 1, length) and apart(width, data, at, length)):
                marks &= ODD
            if marks and said >= 0:
                if marks & ODD:
                    said = -1
                elif marks & OWN:
                    said = 1
                elif marks & SPEAKER and not (
                    asked and start == before + 1 and PyUnicode_READ(width, data, before) == 32
                ):
                    said = 1
            asked = marks & ASKS
            before = at
        return PyBytes_FromStringAndSize(buffer.data, buffer.used), said if said < 0 else said | paired
    finally:
        free(buffer.data)


def query_words(str text, dict known, object learned):
    """The words of a query in NFKC; see question._words.

    known    of words as they are written: see question._Known
    learned  makes what is known of a word that is not there, or negated
    """
    cdef Py_ssize_t length = PyUnicode_GET_LENGTH(text), at = 0, start
    cdef int width = PyUnicode_KIND(text), kind
    cdef void *data = PyUnicode_DATA(text)
    cdef bint named, negated
    cdef Py_UCS4 c
    cdef long clues = 0
    cdef PyObject *held
    cdef list found = [], terms = [], authors = []
    cdef object word, one
    cdef tuple made
    while at < length:
        c = PyUnicode_READ(width, data, at)
        kind = kind_of(c)
        if kind == 0:
            at += 1
            continue
        start = at
        at += 1
        while at < length and kind_of(PyUnicode_READ(width, data, at)) == kind:
            at += 1
        named = Py_UNICODE_ISUPPER(c) and inside(width, data, start)
        negated = False
        if at + 1 < length:
            c = PyUnicode_READ(width, data, at)
            if c == 39 or c == 0x2019:  # ' or ’
                c = PyUnicode_READ(width, data, at + 1)
                negated = c == 116 or c == 84
        word = PyUnicode_Substring(text, start, at)
        held = NULL if negated else PyDict_GetItem(known, word)
        made = <tuple>held if held != NULL else <tuple?>learned(word, negated)
        found.append(made[2] if named else made[1])
        clues |= <long>made[0]
        for one in <tuple>made[3]:
            terms.append(one)
        for one in <tuple>made[4]:
            authors.append(one)
    return found, clues, terms, authors


cdef bint inside(int width, void *data, Py_ssize_t start) noexcept:
    """See analysis._inside."""
    cdef Py_ssize_t at = start - 1
    cdef Py_UCS4 c
    while at >= 0 and at >= start - 3:
        c = PyUnicode_READ(width, data, at)
        if not (c in u"\"'“‘(* "):
            return not (c in u".!?:\n")
        at -= 1
    return False
