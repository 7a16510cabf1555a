# cython: boundscheck=False, wraparound=False, cdivision=True
"""Memory of the size of a vault's signals, apart from what lives for long and is small.

Signals come and go with their vaults. In the heap the gaps they leave fill with what stays, and
the process grows: by 80 MB with 1,000 vaults. Here they are mapped for themselves, and the next
ones are put where the last ones were: a new page costs as much as filling it.
"""

from cpython.buffer cimport PyBuffer_FillInfo
from posix.mman cimport MAP_ANONYMOUS, MAP_FAILED, MAP_PRIVATE, PROT_READ, PROT_WRITE, mmap, munmap

cdef enum:
    STEP = 65_536  # sizes are multiples of it
    KEPT = 8  # pieces that wait to be used again
    KEPT_BYTES = 4_194_304  # all of them

cdef void *_waiting[KEPT]
cdef size_t _sizes[KEPT]
cdef int _count = 0
cdef size_t _bytes = 0


cdef class Piece:
    """Some memory, not cleared, for as long as something points into it."""

    cdef void *_data
    cdef size_t _size
    cdef readonly Py_ssize_t nbytes

    def __cinit__(self, size_t size):
        """A piece of at least `size` bytes, of which `nbytes` may be used."""
        self.nbytes = size
        size = (size // STEP + 1) * STEP
        self._data = _used_again(size, &self._size)
        if self._data == NULL:
            self._size = size
            self._data = mmap(
                NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0
            )
            if self._data == MAP_FAILED:
                self._data = NULL
                raise MemoryError

    def __getbuffer__(self, Py_buffer *view, int flags):
        PyBuffer_FillInfo(view, self, self._data, self.nbytes, 0, flags)

    def __dealloc__(self):
        global _count, _bytes
        if self._data == NULL:
            return
        if self._size > KEPT_BYTES:
            munmap(self._data, self._size)
            return
        while _count == KEPT or _bytes + self._size > KEPT_BYTES:
            munmap(_waiting[0], _sizes[0])
            _taken(0)
        _waiting[_count], _sizes[_count] = self._data, self._size
        _count += 1
        _bytes += self._size


cdef void *_used_again(size_t size, size_t *found) noexcept:
    """A piece that waits and is up to a quarter too large; NULL if there is none."""
    cdef void *data
    cdef int i
    for i in range(_count - 1, -1, -1):
        if size <= _sizes[i] <= size + size // 4:
            data, found[0] = _waiting[i], _sizes[i]
            _taken(i)
            return data
    return NULL


cdef void _taken(int place) noexcept:
    """Close the gap in the list of those that wait, the oldest first."""
    global _count, _bytes
    cdef int i
    _bytes -= _sizes[place]
    _count -= 1
    for i in range(place, _count):
        _waiting[i], _sizes[i] = _waiting[i + 1], _sizes[i + 1]
