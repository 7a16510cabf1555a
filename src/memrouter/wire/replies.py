"""What all readers of provider answers do alike: collect text, usage and how it ended."""

from __future__ import annotations

from collections.abc import Callable

import orjson

from memrouter.domain import Json, Reply, Usage
from memrouter.wire import raw
from memrouter.wire.sse import SSEParser
from memrouter.wire.written import assistant_text

LIMIT_BYTES = 64 * 1024 * 1024
"""A longer answer is not read: an upstream must not fill the memory."""

_TRIES = 8
"""How often a body is decoded on the guess that it is whole."""


class Draft:
    """A reply as far as it has been read."""

    __slots__ = ("_bytes", "_texts", "ended", "failed", "id", "usage", "withheld")

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._bytes = 0
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
        self._bytes += len(text)
        if self._bytes > LIMIT_BYTES:
            self.failed = True
            self._texts.clear()
        else:
            self._texts.append(text)

    def reply(self) -> Reply:
        """What memory keeps of it."""
        text = "" if self.withheld else assistant_text("".join(self._texts))
        return Reply(
            text=text, complete=self.ended and not self.failed, usage=self.usage, id=self.id
        )


Read = Callable[[Draft, Json], bool]
"""Puts one event of a stream, or a whole body, into a draft; True if that was the format's end."""


def event_of(data: bytes) -> Json | None:
    """A stream's event decoded; None if it is no JSON object."""
    try:
        event = orjson.loads(data)
    except orjson.JSONDecodeError:
        try:
            event = orjson.loads(raw.without_lone_surrogates(data))
        except orjson.JSONDecodeError:
            return None
    return event if isinstance(event, dict) else None


class StreamReader:
    """Reads server-sent events, each of which `read` puts into the draft."""

    __slots__ = ("_draft", "_read", "_sse", "done")

    def __init__(self, read: Read) -> None:
        self._draft = Draft()
        self._read = read
        self._sse = SSEParser()
        self.done = False

    def feed(self, block: bytes) -> None:
        """See ReplyReader.feed."""
        for _, data in self._sse.feed(block):
            if self.done or not data:
                continue
            if data == b"[DONE]":
                self._draft.ended = self.done = True
            elif (event := event_of(data)) is not None:
                self.done = self._read(self._draft, event)
            else:
                self._draft.failed = True

    def finish(self) -> Reply:
        """See ReplyReader.finish."""
        return self._draft.reply()


class WholeReader:
    """Reads an answer that is one JSON object, which `read` puts into the draft."""

    __slots__ = ("_blocks", "_body", "_bytes", "_read", "_tries")

    def __init__(self, read: Read) -> None:
        self._read = read
        self._blocks: list[bytes] = []
        self._bytes = 0
        self._tries = 0
        self._body: Json | None = None

    @property
    def done(self) -> bool:
        """Whether a whole object has been read."""
        return self._body is not None

    def feed(self, block: bytes) -> None:
        """See ReplyReader.feed."""
        if self._body is not None or self._bytes > LIMIT_BYTES:
            return
        self._bytes += len(block)
        self._blocks.append(block)
        if self._bytes > LIMIT_BYTES:
            self._blocks.clear()
        elif self._tries < _TRIES and block.rstrip().endswith(b"}"):
            self._tries += 1
            self._decode()

    def finish(self) -> Reply:
        """See ReplyReader.finish."""
        if self._body is None:
            self._decode()
        draft = Draft()
        if self._body is not None:
            self._read(draft, self._body)
        return draft.reply()

    def _decode(self) -> None:
        body = b"".join(self._blocks)
        self._body = event_of(body)
        self._blocks = [] if self._body is not None else [body]
