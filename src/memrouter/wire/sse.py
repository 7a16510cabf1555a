"""Server-sent events out of bytes, wherever these are cut.

Written for a copy of a provider's stream: whatever comes in, nothing is raised. Lines end at CR, LF
or CRLF and at nothing else; a client library that also splits at U+2028 corrupts JSON.
"""

from __future__ import annotations

Event = tuple[bytes, bytes]
"""(name, data); the name is b"" where the stream gives none."""

LIMIT_BYTES = 16 * 1024 * 1024
"""An event longer than this is skipped: a stream must not fill the memory."""

_BOM = b"\xef\xbb\xbf"


class SSEParser:
    """Turns bytes into events; an unfinished event at the end is never given out.

    Blank lines end events, so the bytes between two of them are one event at most. Those bytes are
    kept as pieces until the blank line comes, so that a long event costs linear time.
    """

    __slots__ = ("_after_cr", "_held", "_limit", "_pieces", "_skipping", "_started")

    def __init__(self, limit_bytes: int = LIMIT_BYTES) -> None:
        self._limit = limit_bytes
        self._started = False
        self._after_cr = False  # the last byte was a CR, so an LF now belongs to it
        self._pieces: list[bytes] = []
        self._held = 0
        self._skipping = False  # inside an event that is too long

    def feed(self, block: bytes) -> list[Event]:
        """Read the next bytes; return the events that they complete, in order."""
        if not self._started:
            block = self._start(block)
        if self._after_cr or b"\r" in block:
            block = self._newlines(block)
        if not block:
            return []
        pieces = self._pieces
        if pieces:
            if b"\n\n" not in block and not (block[0] == 10 and pieces[-1][-1] == 10):
                self._hold(block)
                return []
            pieces.append(block)
            block = b"".join(pieces)
            pieces.clear()
        chunks = block.split(b"\n\n")
        self._held = 0
        if self._skipping:  # then something was held, so there is a blank line in `block`
            del chunks[0]
            self._skipping = False
        self._hold(chunks.pop())
        return self._events(chunks)

    def _events(self, chunks: list[bytes]) -> list[Event]:
        events = []
        for chunk in chunks:
            # The shape that most providers send; everything else takes the long way.
            if chunk[:6] == b"data: " and b"\n" not in chunk:
                if len(chunk) <= self._limit:
                    events.append((b"", chunk[6:]))
            elif (event := self._event(chunk)) is not None:
                events.append(event)
        return events

    def _start(self, block: bytes) -> bytes:
        block = b"".join((*self._pieces, block))
        self._pieces.clear()
        if len(block) < len(_BOM) and _BOM.startswith(block):
            if block:
                self._pieces.append(block)
            return b""
        self._started = True
        return block.removeprefix(_BOM)

    def _newlines(self, block: bytes) -> bytes:
        """With LF for every line end; a CRLF may be cut in two."""
        if not block:
            return block
        if self._after_cr and block[0] == 10:
            block = block[1:]
            self._after_cr = False
            if not block:
                return block
        self._after_cr = block[-1] == 13
        return block.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _hold(self, block: bytes) -> None:
        """Keep the beginning of an event; of one that is too long, only its last byte."""
        if not self._held:
            block = block.lstrip(b"\n")  # a blank line more ends nothing
        if not block:
            return
        self._held += len(block)
        # One more byte than the limit may be the line end that the blank line will take along.
        if self._skipping or self._held > self._limit + 1:
            self._skipping = True
            self._pieces[:] = [block[-1:]]
        else:
            self._pieces.append(block)

    def _event(self, chunk: bytes) -> Event | None:
        chunk = chunk.lstrip(b"\n")
        if len(chunk) > self._limit:
            return None
        name = b""
        data: list[bytes] = []
        for line in chunk.split(b"\n"):
            field, _, value = line.partition(b":")
            if field == b"data":
                data.append(value.removeprefix(b" "))
            elif field == b"event":
                name = value.removeprefix(b" ")
        return (name, b"\n".join(data)) if data else None
