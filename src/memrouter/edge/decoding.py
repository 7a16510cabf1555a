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
        # 32 + 15: gzip or zlib by its head; -15: deflate without one, as some servers send it.
        self._inflate = zlib.decompressobj(47)
        self._maybe_headless = name == b"deflate"

    def decode(self, block: bytes) -> bytes:
        """The decoded bytes of the next block."""
        if self._plain:
            return block
        if self._broken:
            return b""
        try:
            data = self._inflate.decompress(block, _LIMIT_BYTES)
        except zlib.error:
            return self._headless(block)
        self._maybe_headless = False
        if self._inflate.unconsumed_tail:
            self._broken = True
        return data

    def _headless(self, block: bytes) -> bytes:
        if not self._maybe_headless:
            self._broken = True
            return b""
        self._maybe_headless = False
        self._inflate = zlib.decompressobj(-15)
        return self.decode(block)
