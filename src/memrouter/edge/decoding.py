"""Decodes the copy of a compressed answer that memory reads; the client gets it as it came."""

from __future__ import annotations

import zlib

_LIMIT_BYTES = 64 << 20
"""Decoded bytes of one block beyond which it is taken for a bomb and no longer read."""


class Decoder:
    """Decodes gzip and deflate as it comes, and hands on what is not encoded. Never raises.

    What it cannot decode becomes empty: the reply is then incomplete, and is not stored.
    """

    def __init__(self, coding: bytes) -> None:
        name = coding.strip().lower()
        self._plain = name in {b"", b"identity"}
        self._broken = not self._plain and name not in {b"gzip", b"x-gzip", b"deflate"}
        # Two bytes tell whether a deflated answer has a head; some servers send it without.
        self._undecided = name == b"deflate"
        self._first = b""
        self._inflate: zlib._Decompress | None = None

    def decode(self, block: bytes) -> bytes:
        """The decoded bytes of the next block."""
        if self._plain:
            return block
        if self._undecided:
            block = self._first + block
            if len(block) < 2:
                self._first = block
                return b""
            self._undecided = False
            self._inflate = zlib.decompressobj(_form(block))
        return self._decoded(block)

    def _decoded(self, block: bytes) -> bytes:
        found: list[bytes] = []
        left = _LIMIT_BYTES
        while block and not self._broken:
            # Each member is a stream of its own: what was compressed in pieces.
            if self._inflate is None or self._inflate.eof:
                self._inflate = zlib.decompressobj(_GZIP)
            try:
                found.append(self._inflate.decompress(block, left))
            except zlib.error:
                self._broken = True
                break
            left -= len(found[-1])
            self._broken = left <= 0 or bool(self._inflate.unconsumed_tail)
            block = self._inflate.unused_data
        return found[0] if len(found) == 1 else b"".join(found)


_GZIP, _ZLIB, _HEADLESS = 31, 15, -15
"""What zlib calls window bits."""


def _form(first: bytes) -> int:
    if first.startswith(b"\x1f\x8b"):
        return _GZIP
    return _ZLIB if first[0] & 15 == 8 and (first[0] << 8 | first[1]) % 31 == 0 else _HEADLESS
