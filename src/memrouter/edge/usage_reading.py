"""Reads the usage of answers that memory does not read, at next to no cost while they pass by."""

from __future__ import annotations

import json
from collections import deque

from memrouter.domain import Json, Reply, Usage
from memrouter.edge.exchange import Exchange
from memrouter.wire.format import ReplyReader, WireFormat

_HEAD_BYTES = 4 << 10
_TAIL_BYTES = 1 << 10
_HELD_BYTES = 1 << 20


class StreamedUsage:
    """Reads the usage of a stream that memory does not read; costs next to nothing a block.

    Formats give their figures in the first event and the last ones, so only those are read, at
    the end. Where there are none, all is read, so that the text can be counted.
    """

    __slots__ = ("_dropped", "_head", "_held", "_held_bytes", "_wire", "done")

    def __init__(self, wire: WireFormat) -> None:
        self._wire = wire
        self._head = b""
        self._held: deque[bytes] = deque()
        self._held_bytes = 0
        self._dropped = 0
        self.done = False

    def feed(self, block: bytes) -> None:
        """See ReplyReader.feed."""
        if len(self._head) < _HEAD_BYTES:
            self._head += block[:_HEAD_BYTES]
        self._held.append(block)
        self._held_bytes += len(block)
        while self._held_bytes > _HELD_BYTES and len(self._held) > 1:
            gone = len(self._held.popleft())
            self._held_bytes -= gone
            self._dropped += gone

    def finish(self) -> Reply:
        """See ReplyReader.finish; `text` only where there are no figures."""
        held = b"".join(self._held)
        if len(held) > 2 * _TAIL_BYTES:
            tail = _from_event_at(held, len(held) - _TAIL_BYTES)
            reply = self._read(_to_first_event(self._head), tail)
            # A provider that does not count may say 0: the whole text is read then.
            if reply.complete and reply.usage is not None and reply.usage.input_tokens > 0:
                return reply
        if self._dropped:
            return self._read(_to_last_event(self._head), _from_next_event(held))
        return self._read(held)

    def _read(self, *blocks: bytes) -> Reply:
        reader = self._wire.reader(streamed=True)
        for block in blocks:
            reader.feed(block)
        return reader.finish()


_ENDS = (b"\n\n", b"\r\n\r\n", b"\r\r")
"""What may stand between two events."""


def _to_first_event(data: bytes) -> bytes:
    return data[: min((at + len(end) for end in _ENDS if (at := data.find(end)) >= 0), default=0)]


def _to_last_event(data: bytes) -> bytes:
    return data[: max(data.rfind(end) + len(end) if end in data else 0 for end in _ENDS)]


def _from_next_event(data: bytes) -> bytes:
    starts = [at + len(end) for end in _ENDS if (at := data.find(end)) >= 0]
    return data[min(starts) :] if starts else b""


def _from_event_at(data: bytes, place: int) -> bytes:
    """From the start of the event that `place` is in: the last may be most of a stream."""
    starts = [at + len(end) for end in _ENDS if (at := data.rfind(end, 0, place)) >= 0]
    return data[max(starts) :] if starts else data


_LAST_BYTES = 8 << 10


class PassedUsage:
    """Reads the usage at the end of an answer in no format of ours: `"usage": {…}` in its last
    bytes, as OpenAI's other endpoints have it."""

    __slots__ = ("_last", "done")

    def __init__(self) -> None:
        self._last = b""
        self.done = False

    def feed(self, block: bytes) -> None:
        """See ReplyReader.feed."""
        self._last = (self._last + block[-_LAST_BYTES:])[-_LAST_BYTES:]

    def finish(self) -> Reply:
        """See ReplyReader.finish; never any text."""
        _, found, after = self._last.rpartition(b'"usage"')
        if not found:
            return Reply()
        written = after.decode("utf-8", "replace").lstrip().removeprefix(":").lstrip()
        try:
            usage, _ = json.JSONDecoder().raw_decode(written)
        except (ValueError, RecursionError):
            return Reply()
        if not isinstance(usage, dict):
            return Reply()
        sent = _first_count(usage, "prompt_tokens", "input_tokens", "total_tokens")
        received = _first_count(usage, "completion_tokens", "output_tokens")
        received = max(received, _first_count(usage, "total_tokens") - sent)
        found_any = bool(sent or received)
        return Reply(
            complete=found_any,
            usage=Usage(input_tokens=sent, output_tokens=received) if found_any else None,
        )


def _first_count(usage: Json, *names: str) -> int:
    for name in names:
        count = usage.get(name)
        if isinstance(count, int) and not isinstance(count, bool) and count > 0:
            return count
    return 0


def reader(x: Exchange, kind: bytes) -> ReplyReader | None:
    """What reads the usage of an answer that memory does not read.

    kind  its content type, lower case
    """
    streamed = kind.startswith(b"text/event-stream")
    if x.wire is not None:
        return StreamedUsage(x.wire) if streamed else x.wire.reader(streamed=False)
    return PassedUsage() if streamed or kind.startswith(b"application/json") else None
