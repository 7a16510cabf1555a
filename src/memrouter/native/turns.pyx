# cython: boundscheck=False, wraparound=False, cdivision=True
"""What is made for each message of a prompt: its turn (see memrouter.wire.turns), its digest and
the digests of the conversation up to it (see memrouter.domain, memory.lineage).
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_CheckExact, PyDict_GetItemWithError
from cpython.object cimport PyObject, PyObject_GenericSetAttr
from cpython.unicode cimport PyUnicode_CheckExact
from libc.stdint cimport int16_t, int64_t, uint8_t


cdef extern from "Python.h":
    bint PyUnicode_IS_ASCII(object text)
    int PyUnicode_KIND(object text)
    void *PyUnicode_DATA(object text)
    Py_ssize_t PyUnicode_GET_LENGTH(object text)
    Py_UCS4 PyUnicode_READ(int kind, void *data, Py_ssize_t at)
    Py_ssize_t PyUnicode_FindChar(object text, Py_UCS4 ch, Py_ssize_t start, Py_ssize_t end, int direction)
    bint Py_UNICODE_ISSPACE(Py_UCS4 ch)


# BLAKE2b as RFC 7693 has it; hashlib takes longer to make an object than to hash a line of text.
cdef extern from *:
    """
    #include <stdint.h>
    #include <string.h>

    typedef struct {
        uint64_t h[8], count;
        uint8_t block[128];
        size_t held;
    } Blake;

    static const uint64_t BLAKE_START[8] = {
        0x6a09e667f3bcc908ULL, 0xbb67ae8584caa73bULL, 0x3c6ef372fe94f82bULL, 0xa54ff53a5f1d36f1ULL,
        0x510e527fade682d1ULL, 0x9b05688c2b3e6c1fULL, 0x1f83d9abfb41bd6bULL, 0x5be0cd19137e2179ULL,
    };

    static inline uint64_t blake_word(const uint8_t *at)
    {
        return (uint64_t)at[0] | (uint64_t)at[1] << 8 | (uint64_t)at[2] << 16
            | (uint64_t)at[3] << 24 | (uint64_t)at[4] << 32 | (uint64_t)at[5] << 40
            | (uint64_t)at[6] << 48 | (uint64_t)at[7] << 56;
    }

    #define BLAKE_TURN(x, n) ((x) >> (n) | (x) << (64 - (n)))
    #define BLAKE_MIX(a, b, c, d, x, y) do { \\
        a += b + (x); d = BLAKE_TURN(d ^ a, 32); c += d; b = BLAKE_TURN(b ^ c, 24); \\
        a += b + (y); d = BLAKE_TURN(d ^ a, 16); c += d; b = BLAKE_TURN(b ^ c, 63); \\
    } while (0)
    #define BLAKE_ROUND(i, j, k, l, m, n, o, p, q, r, s, t, u, w, x, y) do { \\
        BLAKE_MIX(v0, v4, v8, v12, m_[i], m_[j]); BLAKE_MIX(v1, v5, v9, v13, m_[k], m_[l]); \\
        BLAKE_MIX(v2, v6, v10, v14, m_[m], m_[n]); BLAKE_MIX(v3, v7, v11, v15, m_[o], m_[p]); \\
        BLAKE_MIX(v0, v5, v10, v15, m_[q], m_[r]); BLAKE_MIX(v1, v6, v11, v12, m_[s], m_[t]); \\
        BLAKE_MIX(v2, v7, v8, v13, m_[u], m_[w]); BLAKE_MIX(v3, v4, v9, v14, m_[x], m_[y]); \\
    } while (0)

    static void blake_compress(Blake *b, const uint8_t *block, size_t size, int last)
    {
        uint64_t m_[16];
        for (int i = 0; i < 16; i++)
            m_[i] = blake_word(block + 8 * i);
        b->count += size;
        uint64_t v0 = b->h[0], v1 = b->h[1], v2 = b->h[2], v3 = b->h[3];
        uint64_t v4 = b->h[4], v5 = b->h[5], v6 = b->h[6], v7 = b->h[7];
        uint64_t v8 = BLAKE_START[0], v9 = BLAKE_START[1];
        uint64_t v10 = BLAKE_START[2], v11 = BLAKE_START[3];
        uint64_t v12 = BLAKE_START[4] ^ b->count, v13 = BLAKE_START[5];
        uint64_t v14 = last ? ~BLAKE_START[6] : BLAKE_START[6], v15 = BLAKE_START[7];
        BLAKE_ROUND(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
        BLAKE_ROUND(14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3);
        BLAKE_ROUND(11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4);
        BLAKE_ROUND(7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8);
        BLAKE_ROUND(9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13);
        BLAKE_ROUND(2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9);
        BLAKE_ROUND(12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11);
        BLAKE_ROUND(13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10);
        BLAKE_ROUND(6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5);
        BLAKE_ROUND(10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0);
        BLAKE_ROUND(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
        BLAKE_ROUND(14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3);
        b->h[0] ^= v0 ^ v8; b->h[1] ^= v1 ^ v9; b->h[2] ^= v2 ^ v10; b->h[3] ^= v3 ^ v11;
        b->h[4] ^= v4 ^ v12; b->h[5] ^= v5 ^ v13; b->h[6] ^= v6 ^ v14; b->h[7] ^= v7 ^ v15;
    }

    /* size: of the digest; a key has at most 64 bytes */
    static void blake_begin(Blake *b, size_t size, const uint8_t *key, size_t length)
    {
        memcpy(b->h, BLAKE_START, sizeof b->h);
        b->h[0] ^= 0x01010000 ^ (uint64_t)length << 8 ^ size;
        b->count = 0;
        b->held = 0;
        if (length) {
            memset(b->block, 0, 128);
            memcpy(b->block, key, length);
            b->held = 128;
        }
    }

    static void blake_add(Blake *b, const uint8_t *data, size_t size)
    {
        if (!size)
            return;
        size_t room = 128 - b->held;
        if (size > room) {
            memcpy(b->block + b->held, data, room);
            blake_compress(b, b->block, 128, 0);
            data += room;
            size -= room;
            while (size > 128) {
                blake_compress(b, data, 128, 0);
                data += 128;
                size -= 128;
            }
            b->held = 0;
        }
        memcpy(b->block + b->held, data, size);
        b->held += size;
    }

    static void blake_end(Blake *b, uint8_t *digest, size_t size)
    {
        memset(b->block + b->held, 0, 128 - b->held);
        blake_compress(b, b->block, b->held, 1);
        for (size_t i = 0; i < size; i++)
            digest[i] = b->h[i / 8] >> 8 * (i % 8);
    }
    """
    ctypedef struct Blake:
        pass
    void blake_begin(Blake *b, size_t size, const uint8_t *key, size_t length) nogil
    void blake_add(Blake *b, const uint8_t *data, size_t size) nogil
    void blake_end(Blake *b, uint8_t *digest, size_t size) nogil


cdef enum:
    SIZE = 16  # domain.DIGEST_BYTES


cdef inline void add(Blake *state, bytes data) noexcept:
    blake_add(state, <const uint8_t *>PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))


cdef inline bytes ended(Blake *state):
    cdef uint8_t found[SIZE]
    blake_end(state, found, SIZE)
    return PyBytes_FromStringAndSize(<char *>found, SIZE)


def digest(str role, str text):
    """See domain.turn_digest."""
    cdef Blake state
    cdef bytes encoded = role.encode()
    text = text.strip()
    blake_begin(&state, SIZE, NULL, 0)
    add(&state, encoded)
    add(&state, b"\0")
    if PyUnicode_IS_ASCII(text):
        blake_add(&state, <const uint8_t *>PyUnicode_DATA(text), PyUnicode_GET_LENGTH(text))
    else:
        encoded = text.encode("utf-8", "replace")
        add(&state, encoded)
    return ended(&state)


cdef bytes linked(bytes parent, bytes own):
    cdef Blake state
    blake_begin(
        &state, SIZE, <const uint8_t *>PyBytes_AS_STRING(parent), PyBytes_GET_SIZE(parent)
    )
    add(&state, own)
    return ended(&state)


def chains(bytes parent, digests):
    """See lineage.chains."""
    cdef list found = []
    if PyBytes_GET_SIZE(parent) > 64:
        raise ValueError("a key has at most 64 bytes")
    for own in digests:
        parent = linked(parent, own)
        found.append(parent)
    return found


def prompt_keys(bytes root, turns):
    """See lineage.prompt_keys.

    root  of the scope
    """
    cdef Blake running, copy
    cdef list keys = []
    cdef tuple ids
    blake_begin(&running, SIZE, NULL, 0)
    add(&running, root)
    for turn in turns:
        add(&running, turn.digest)
        ids = (*turn.calls, *turn.answers)
        if ids:
            add(&running, "\0".join(ids).encode("utf-8", "replace"))
        copy = running
        keys.append(ended(&copy))
    return keys


cdef class Reader:
    """Makes turns of messages that are one text; see wire.turns."""

    cdef object turn, find
    cdef dict roles
    cdef tuple telling, heads
    cdef str letters
    cdef const int16_t[::1] parts
    cdef int64_t flat

    def __init__(self, type turn, dict roles, tuple telling, tuple heads, parts, int64_t flat):
        """
        turn     the class of turns
        roles    what a role is called in messages → the role
        telling  fields that say more of a message than its text does, unless they are null
        heads    how texts begin that no user wrote all of
        parts    thousandths of a token that a byte counts, shape (256,)
        flat     tokens of a message beside its text
        """
        self.turn = turn
        self.roles = roles
        self.telling = telling
        self.heads = heads
        self.letters = "".join({head[0] for head in heads})
        self.parts = parts
        self.flat = flat

    def read(self, list messages, find):
        """The turns of messages, in order; `find` makes those that are not one plain text."""
        cdef list found = []
        for message in messages:
            made = self.plain(message)
            found.append(find(message) if made is None else made)
        return tuple(found)

    cdef object plain(self, message):
        """The turn of a message; None where more than its text must be looked at."""
        cdef PyObject *value
        cdef str role, text
        cdef Py_ssize_t start
        if not PyDict_CheckExact(message):
            return None
        value = PyDict_GetItemWithError(message, "content")
        if value is NULL or not PyUnicode_CheckExact(<object>value):
            return None
        text = <object>value
        value = PyDict_GetItemWithError(message, "role")
        if value is NULL or not PyUnicode_CheckExact(<object>value):
            return None
        value = PyDict_GetItemWithError(self.roles, <object>value)
        if value is NULL:
            return None
        role = <object>value
        if len(<dict>message) > 2:
            for field in self.telling:
                value = PyDict_GetItemWithError(message, field)
                if value is not NULL and <object>value is not None:
                    return None
        start = start_of(text)
        if start >= 0 and not self.own(role, text, start):
            return None
        return self.made(role, text, start)

    cdef bint own(self, str role, str text, Py_ssize_t start):
        """Whether its author wrote all of it: nothing in it looks like what programs add.

        start  see `start_of`
        """
        cdef Py_UCS4 letter = read_at(text, start)
        if role == "assistant":
            return letter != c"<"
        if role == "system":
            return True
        if PyUnicode_FindChar(text, c"<", start, PyUnicode_GET_LENGTH(text), 1) >= 0:
            return False
        if PyUnicode_FindChar(self.letters, letter, 0, PyUnicode_GET_LENGTH(self.letters), 1) < 0:
            return True
        return not text[:200].lstrip().startswith(self.heads)

    cdef object made(self, str role, str text, Py_ssize_t start):
        cdef int64_t count = self.flat
        cdef object turn = self.turn.__new__(self.turn)
        cdef bint said = start >= 0 and role != "system"
        if PyUnicode_GET_LENGTH(text):
            count += max(1, thousandths(text, self.parts) // 1000)
        if start < 0:
            text = ""
        PyObject_GenericSetAttr(turn, "role", role)
        PyObject_GenericSetAttr(turn, "text", text)
        PyObject_GenericSetAttr(turn, "written", said)
        PyObject_GenericSetAttr(turn, "memory", True)
        PyObject_GenericSetAttr(turn, "tokens", count)
        PyObject_GenericSetAttr(turn, "calls", ())
        PyObject_GenericSetAttr(turn, "answers", ())
        PyObject_GenericSetAttr(turn, "glued", False)
        PyObject_GenericSetAttr(turn, "signed", False)
        PyObject_GenericSetAttr(turn, "_digest", digest(role, text))
        return turn


cdef Py_ssize_t start_of(str text):
    """Where its first character is that is no white space; -1 if there is none."""
    cdef Py_ssize_t at
    for at in range(PyUnicode_GET_LENGTH(text)):
        if not Py_UNICODE_ISSPACE(read_at(text, at)):
            return at
    return -1


cdef inline Py_UCS4 read_at(str text, Py_ssize_t at):
    return PyUnicode_READ(PyUnicode_KIND(text), PyUnicode_DATA(text), at)


cdef int64_t thousandths(str text, const int16_t[::1] parts):
    """See tokens.thousandths_by_numpy."""
    cdef bytes encoded
    cdef const uint8_t *data
    cdef Py_ssize_t length, i
    cdef int64_t found = 0
    if PyUnicode_IS_ASCII(text):
        data = <const uint8_t *>PyUnicode_DATA(text)
        length = PyUnicode_GET_LENGTH(text)
    else:
        encoded = text.encode("utf-8", "replace")
        data = <const uint8_t *>PyBytes_AS_STRING(encoded)
        length = PyBytes_GET_SIZE(encoded)
    for i in range(length):
        found += parts[data[i]]
    return found
