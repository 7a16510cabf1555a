"""What a disk may hold after a power cut, from a journal of what was written and synced (pure).

The model is the strictest that POSIX allows. Contents are safe once a sync of the file that began
after they were written has ended; names, once a sync of their folder has. Everything else is
there, or not, or, of contents, in part: a write may be torn at any sector.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath

_HEAD = struct.Struct("=BIQQ")
_SECTOR = 512


@dataclass(frozen=True, slots=True)
class Record:
    """One line of the journal; see native/disk.c. `A` is ours: what a client was told is stored."""

    op: str
    path: str
    offset: int = 0
    data: bytes = b""

    def packed(self) -> bytes:
        path = self.path.encode()
        head = _HEAD.pack(ord(self.op), len(path), self.offset, len(self.data))
        return head + path + self.data


def read(data: bytes) -> Iterator[Record]:
    """The records of a journal; an unfinished one at its end is left out."""
    at = 0
    while at + _HEAD.size <= len(data):
        op, named, offset, length = _HEAD.unpack_from(data, at)
        at += _HEAD.size
        # A truncation tells the new length, and a sync its number, in `offset`.
        end = at + named + length
        if end > len(data):
            return
        path = data[at : at + named].decode("utf-8", "surrogateescape")
        yield Record(chr(op), path, offset, data[at + named : end])
        at = end


@dataclass(slots=True)
class _File:
    safe: bytearray = field(default_factory=bytearray)
    loose: list[Record] = field(default_factory=list)
    """Changes since, oldest first."""
    begun: dict[int, int] = field(default_factory=dict)
    """Sync under way → how many of `loose` it covers."""


@dataclass(slots=True)
class Disk:
    """The state of a disk as the journal is followed."""

    files: dict[str, _File] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)
    """Names that are safe."""
    loose_names: list[Record] = field(default_factory=list)
    begun: dict[int, int] = field(default_factory=dict)

    def follow(self, record: Record) -> None:
        """Take in the next record."""
        match record.op:
            case "C":
                self.files[record.path] = _File()
                self.loose_names.append(record)
            case "L":
                self.files[record.path] = self._file(record.data.decode())
                self.loose_names.append(record)
            case "D" | "U":
                self.loose_names.append(record)
            case "W" | "T":
                self._file(record.path).loose.append(record)
            case "B":
                if (file := self.files.get(record.path)) is not None:
                    file.begun[record.offset] = len(file.loose)
                self.begun[record.offset] = len(self.loose_names)
            case "E":
                self._synced(record)

    def cut(self, dice: random.Random) -> dict[str, bytes | None]:
        """What may be found after a power cut now: path → contents, or None for a folder."""
        luck = dice.choice((0.0, 0.5, 1.0))
        names = set(self.names)
        for record in self.loose_names:
            if dice.random() < luck:
                _rename(names, record)
        found: dict[str, bytes | None] = {}
        for name in sorted(names):
            if any(str(parent) in self._folders - names for parent in PurePosixPath(name).parents):
                continue
            file = self.files.get(name)
            found[name] = None if file is None else _cut(file, luck, dice)
        return found

    @property
    def _folders(self) -> set[str]:
        return {r.path for r in self.loose_names if r.op == "D"}

    def _file(self, path: str) -> _File:
        return self.files.setdefault(path, _File())

    def _synced(self, record: Record) -> None:
        if (file := self.files.get(record.path)) is not None:
            covered = file.begun.pop(record.offset, 0)
            for change in file.loose[:covered]:
                _apply(file.safe, change)
            del file.loose[:covered]
            for number in file.begun:
                file.begun[number] = max(0, file.begun[number] - covered)
        self._names_synced(record, self.begun.pop(record.offset, 0))

    def _names_synced(self, record: Record, covered: int) -> None:
        """A sync of a folder makes the names in it safe."""
        left = []
        for n, loose in enumerate(self.loose_names):
            if n < covered and str(PurePosixPath(loose.path).parent) == record.path:
                _rename(self.names, loose)
            else:
                left.append(loose)
        if len(left) != len(self.loose_names):
            gone = len(self.loose_names) - len(left)
            self.loose_names[:] = left
            for number in self.begun:  # pessimistic: they may cover fewer than they did
                self.begun[number] = max(0, self.begun[number] - gone)


def _rename(names: set[str], record: Record) -> None:
    if record.op == "U":
        names.discard(record.path)
    else:
        names.add(record.path)


def _apply(contents: bytearray, change: Record) -> None:
    if change.op == "T":
        del contents[change.offset :]
        contents.extend(bytes(change.offset - len(contents)))
        return
    contents.extend(bytes(max(0, change.offset - len(contents))))
    contents[change.offset : change.offset + len(change.data)] = change.data


def _cut(file: _File, luck: float, dice: random.Random) -> bytes:
    contents = bytearray(file.safe)
    for change in file.loose:
        if dice.random() >= luck:
            continue
        if change.op == "W" and luck == 0.5 and dice.random() < 0.3:
            torn = dice.randrange(len(change.data) // _SECTOR + 1) * _SECTOR
            change = Record("W", change.path, change.offset, change.data[:torn])  # noqa: PLW2901
        _apply(contents, change)
    return bytes(contents)
