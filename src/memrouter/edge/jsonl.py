"""Reads uploads: JSONL as it comes, one memory a line, each bad line named (pure)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import msgspec

from memrouter.domain import Role
from memrouter.edge.headers import identifier
from memrouter.edge.memory_shapes import LineError, Name, UploadLine
from memrouter.errors import BadRequest, TooLarge

MAX_LINES = 10_000
"""Memories in one upload."""
MAX_BLANK_LINES = 100_000
MAX_LINE_BYTES = 4 << 20
MAX_NAMED_ERRORS = 100

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_MS = 100_000_000_000  # March 1973; seconds stay below it until the year 5138
_AHEAD = timedelta(days=1)  # clocks and time zones of others may be wrong by this much

_decoder = msgspec.json.Decoder(UploadLine)


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A memory that a line holds."""

    role: Role
    text: str
    created: datetime | None
    """None where the line says nothing: it is as old as its upload."""
    session: str = ""
    conversation: str = ""
    position: int | None = None
    model: str = ""


class _BadLine(Exception):
    """A line that is no memory; says why."""


class JsonLines:
    """Reads an upload as it comes, cut anywhere. Holds what it has read, and no bytes besides."""

    def __init__(self, session: str, now: datetime, max_lines: int = MAX_LINES) -> None:
        """session  of lines that name none
        max_lines  that are not blank
        """
        self.items: list[Item] = []
        self.count = 0
        """Lines that are not blank."""
        self.failed = 0
        self.errors: list[LineError] = []
        """Of the first lines that failed."""
        self._session = session
        self._now = now
        self._max_lines = max_lines
        self._number = 0
        self._blank = 0
        self._begun: list[bytes] = []
        self._begun_bytes = 0

    def feed(self, block: bytes) -> None:
        """Read the next bytes. Raises TooLarge once there are more lines than allowed."""
        *ended, rest = block.split(b"\n")
        for end in ended:
            self._begin(end)
            self._end()
        self._begin(rest)

    def finish(self) -> None:
        """Read the last line, if nothing ended it. Raises TooLarge."""
        if self._begun_bytes:
            self._end()

    def _begin(self, part: bytes) -> None:
        self._begun_bytes += len(part)
        if part and self._begun_bytes <= MAX_LINE_BYTES:
            self._begun.append(part)

    def _end(self) -> None:
        line, size = b"".join(self._begun), self._begun_bytes
        self._begun.clear()
        self._begun_bytes = 0
        self._number += 1
        if self._number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")
        if size <= MAX_LINE_BYTES and not line.strip():
            self._blank += 1
        else:
            self._read(line, size)
        if self.count > self._max_lines or self._blank > MAX_BLANK_LINES:
            raise TooLarge(
                f"The upload has more than {self._max_lines:,} lines; nothing of it was stored",
                "Split it into smaller files",
            )

    def _read(self, line: bytes, size: int) -> None:
        self.count += 1
        try:
            told = _decoded(line, size)
            self.items.append(_item(told, self._session, self._now))
        except _BadLine as e:
            self.failed += 1
            if len(self.errors) < MAX_NAMED_ERRORS:
                self.errors.append(LineError(line=self._number, reason=str(e)))


def _decoded(line: bytes, size: int) -> UploadLine:
    if size > MAX_LINE_BYTES:
        raise _BadLine(f"The line is longer than {MAX_LINE_BYTES:,} bytes")
    try:
        return _decoder.decode(line)
    except msgspec.ValidationError as e:
        raise _BadLine(f"Not a memory: {e}") from None
    except UnicodeDecodeError:
        raise _BadLine("Not valid UTF-8") from None
    except (msgspec.DecodeError, RecursionError) as e:
        raise _BadLine(f"Not valid JSON: {e}") from None


def _item(line: UploadLine, session: str, now: datetime) -> Item:
    if not line.content.strip():
        raise _BadLine("content is blank")
    return Item(
        role=line.role or "user",
        text=line.content,
        created=None if line.timestamp is None else _time(line.timestamp, now),
        session=_id(line.session_id, "session_id") or session,
        conversation=_id(line.conversation_id, "conversation_id"),
        position=line.position,
        model=line.model or "",
    )


def _id(value: Name | None, name: str) -> str:
    try:
        return "" if value is None else identifier(str(value), name)
    except BadRequest as e:
        raise _BadLine(str(e)) from None


def _time(timestamp: float, now: datetime) -> datetime:
    if timestamp < 0:
        raise _BadLine("timestamp is negative: send milliseconds since 1970")
    if timestamp < _FIRST_MS:
        raise _BadLine("timestamp is in seconds, it seems: send milliseconds since 1970")
    if timestamp > (now + _AHEAD - _EPOCH) / timedelta(milliseconds=1):
        raise _BadLine("timestamp is in the future: send milliseconds since 1970")
    return _EPOCH + timedelta(milliseconds=int(timestamp))
