"""What all readers of provider answers do alike: collect text, usage and how it ended."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import orjson

from memrouter.domain import Json, Reply, Usage
from memrouter.wire import raw
from memrouter.wire.sse import SSEParser
from memrouter.wire.turns import joined
from memrouter.wire.written import assistant_text

LIMIT_BYTES = 64 * 1024 * 1024
"""A longer answer is not read: an upstream must not fill the memory."""

_PIECE_BYTES = 64
"""What a text takes besides its characters: endless streams come in small pieces."""
_TRIES = 8
"""How often a body is decoded on the guess that it is whole."""


class Draft:
    """A reply as far as it has been read."""

    __slots__ = ("_pieces", "_size", "ended", "failed", "id", "usage", "withheld")

    def __init__(self) -> None:
        self._pieces: list[list[str]] = [[]]
        self._size = 0
        self.ended = False
        """Whether the format's own end was seen."""
        self.failed = False
        """Whether it cannot be trusted: an error, or something that could not be read."""
        self.withheld = False
        """Whether the provider or the model refused: what came until then is no answer."""
        self.usage: Usage | None = None
        self.id: str | None = None

    def add(self, text: str) -> None:
        """Append text of the model."""
        self._size += len(text) + _PIECE_BYTES
        if self._size > LIMIT_BYTES:
            self.failed = True
            self._pieces = [[]]
        else:
            self._pieces[-1].append(text)

    def begin_piece(self) -> None:
        """Let what comes be a text of its own: something that is no text stands before it."""
        if self._pieces[-1]:
            self._pieces.append([])

    def restart(self, pieces: Sequence[str]) -> None:
        """Take these texts for all that came until now."""
        self._pieces = [[]]
        self._size = 0
        for piece in pieces:
            self.begin_piece()
            self.add(piece)

    def reply(self) -> Reply:
        """What memory keeps of it."""
        if len(self._pieces) == 1:  # nearly all
            text = assistant_text("".join(self._pieces[0]))
            text = "" if text.isspace() else text
        else:
            text = joined(assistant_text("".join(piece)) for piece in self._pieces)
        return Reply(
            text="" if self.withheld else text,
            complete=self.ended and not self.failed,
            usage=self.usage,
            id=self.id,
        )


Read = Callable[[Draft, Json], bool]
"""Puts one event of a stream, or a whole body, into a draft; True if that was the format's end."""


def events_of(data: bytes) -> list[Json] | None:
    """A JSON object, or the objects of a JSON array; None if it is neither."""
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        try:
            value = orjson.loads(raw.without_lone_surrogates(data))
        except orjson.JSONDecodeError:
            return None
    if isinstance(value, list):
        return [item for item in value if isinstance(item, dict)]
    return [value] if isinstance(value, dict) else None


Usual = Callable[[Draft, bytes], bool]
"""Puts the data of an event that is as most of a stream are into a draft; False if it is not."""


class StreamReader:
    """Reads server-sent events, each of which `usual` or else `read` puts into the draft."""

    __slots__ = ("_draft", "_read", "_sse", "_usual", "done")

    def __init__(self, read: Read, usual: Usual = lambda draft, data: False) -> None:
        self._draft = Draft()
        self._read = read
        self._usual = usual
        self._sse = SSEParser()
        self.done = False

    def feed(self, block: bytes) -> None:
        """See ReplyReader.feed."""
        for _, data in self._sse.feed(block):
            if not data or self._usual(self._draft, data):
                continue
            if data == b"[DONE]":
                self._draft.ended = self.done = True
            elif (events := events_of(data)) is not None:
                for event in events:
                    self.done = self._read(self._draft, event) or self.done
            else:
                self._draft.failed = True

    def finish(self) -> Reply:
        """See ReplyReader.finish."""
        return self._draft.reply()


class WholeReader:
    """Reads an answer that is JSON: one object, or an array of what would be a stream's events.

    A whole body is put into a draft by `usual` or else by `read`.
    """

    __slots__ = ("_blocks", "_body", "_bytes", "_draft", "_read", "_tries", "_usual")

    def __init__(self, read: Read, usual: Usual = lambda draft, data: False) -> None:
        self._read = read
        self._usual = usual
        self._draft = Draft()
        self._blocks: list[bytes] = []
        self._bytes = 0
        self._tries = 0
        self._body: list[Json] | None = None

    @property
    def done(self) -> bool:
        """Whether the whole of it has been read."""
        return self._body is not None

    def feed(self, block: bytes) -> None:
        """See ReplyReader.feed."""
        if self._body is not None or self._bytes > LIMIT_BYTES:
            return
        self._bytes += len(block)
        self._blocks.append(block)
        if self._bytes > LIMIT_BYTES:
            self._blocks.clear()
        elif self._tries < _TRIES and self._looks_whole():
            self._tries += 1
            self._decode()

    def finish(self) -> Reply:
        """See ReplyReader.finish."""
        if self._body is None:
            self._decode()
        for event in self._body or ():
            self._read(self._draft, event)
        self._body = []
        return self._draft.reply()

    def _looks_whole(self) -> bool:
        start, end = self._blocks[0].lstrip()[:1], self._blocks[-1].rstrip()[-1:]
        return (start, end) in ((b"{", b"}"), (b"[", b"]"))

    def _decode(self) -> None:
        body = b"".join(self._blocks)
        self._body = [] if self._usual(self._draft, body) else events_of(body)
        self._blocks = [body] if self._body is None else []
