# cython: boundscheck=False, wraparound=False, cdivision=True
"""The turns of a prompt's messages; see memrouter.wire.turns."""

from cpython.dict cimport PyDict_CheckExact, PyDict_GetItemWithError
from cpython.object cimport PyObject, PyObject_GenericSetAttr
from cpython.unicode cimport PyUnicode_CheckExact
from libc.stdint cimport int64_t


cdef extern from "Python.h":
    int PyUnicode_KIND(object text)
    void *PyUnicode_DATA(object text)
    Py_ssize_t PyUnicode_GET_LENGTH(object text)
    Py_UCS4 PyUnicode_READ(int kind, void *data, Py_ssize_t at)
    Py_ssize_t PyUnicode_FindChar(object text, Py_UCS4 ch, Py_ssize_t start, Py_ssize_t end, int direction)
    bint Py_UNICODE_ISSPACE(Py_UCS4 ch)


cdef class Reader:
    """Makes turns of messages that are one text; see wire.turns."""

    cdef object turn, digest, estimate
    cdef dict roles
    cdef tuple telling, heads
    cdef str letters
    cdef int64_t flat

    def __init__(
        self, type turn, digest, estimate, dict roles, tuple telling, tuple heads, int64_t flat
    ):
        """
        turn     the class of turns
        digest   makes the digest of a turn of its role and text
        estimate  tells how many tokens a text has
        roles    what a role is called in messages → the role
        telling  fields that say more of a message than its text does, unless they are null
        heads    how texts begin that no user wrote all of
        flat     tokens of a message beside its text
        """
        self.turn = turn
        self.digest = digest
        self.estimate = estimate
        self.roles = roles
        self.telling = telling
        self.heads = heads
        self.letters = "".join({head[0] for head in heads})
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
        cdef int64_t count = self.flat + self.estimate(text)
        cdef object turn = self.turn.__new__(self.turn)
        cdef bint said = start >= 0 and role != "system"
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
        PyObject_GenericSetAttr(turn, "_digest", self.digest(role, text))
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
