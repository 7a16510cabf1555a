"""Copies of a data folder, made while it is used; and the way back.

A backup is a folder like the one it is of, with a manifest: one line a file, added when its copy is
whole. So a run that broke off goes on where it was, and the next one copies only what changed.
Encrypted files stay encrypted under the same keys, and `keyring.db` goes along, its keys wrapped.
`secret.key` does not. What was deleted from the data folder goes from the backup with the next run.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import apsw
import msgspec

from memrouter.errors import Conflict, MemrouterError, NotFound, StoreError, VaultCorrupted
from memrouter.store.sqlite import keyring
from memrouter.store.sqlite.database import make_folder, mapped, unlock
from memrouter.store.sqlite.files import Files, copied, kind, shared

MANIFEST = "manifest.jsonl"
_FORMAT = 1
_LAST = ("backlog.db", "usage.db", "directory.db", keyring.FILE)
"""After the vaults, so that nothing is in a vault whose owner or key is not there."""
_SETTLED_S = 0.1
"""A file that changed so short a time ago may change again without looking it."""

Seen = tuple[int, ...]


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """The first line of a manifest."""

    format: int = _FORMAT
    complete: bool = False
    made: str = ""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One file of a backup."""

    file: str
    sha256: str
    size: int
    seen: Seen = ()
    """What the file looked like before it was copied; () if it may have been changing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a backup or restore did."""

    copied: int = 0
    unchanged: int = 0
    removed: int = 0
    failed: Sequence[tuple[str, str]] = ()
    """Files that could not be read, and why."""


OnFile = Callable[[int, int], None]
"""Told how many files are done, of how many."""


def backup(files: Files, target: Path, made: str, on_file: OnFile) -> Report:
    """Bring a backup up to date; a server may write meanwhile. Raises StoreError."""
    with mapped(target):
        target.mkdir(mode=0o700, parents=True, exist_ok=True)
    if target.resolve() == files.folder.resolve():
        raise Conflict("This is the data folder itself", "Name another folder")
    if not (target / MANIFEST).exists() and any(target.iterdir()):
        raise Conflict(f"{target} holds something that is no backup", "Name an empty folder")
    held = {entry.file: entry for entry in _entries(target)}
    names = list(_names(files.folder))
    done: dict[str, Entry] = {}
    failed: list[tuple[str, str]] = []
    fresh = 0
    with mapped(target), _appended(target / MANIFEST) as manifest:
        for number, name in enumerate(names, start=1):
            try:
                entry = _brought(files, target, name, held.get(name))
            except MemrouterError as e:
                failed.append((name, str(e)))
                if name in held:
                    done[name] = held[name]  # the copy before is better than none
            else:
                if entry is not None:
                    done[name] = entry
                    if entry is not held.get(name):
                        fresh += 1
                        manifest.write(msgspec.json.encode(entry) + b"\n")
                        manifest.flush()
            on_file(number, len(names))
    removed = _clean(target, set(done))
    _write(target, Head(complete=True, made=made), list(done.values()))
    return Report(copied=fresh, unchanged=len(done) - fresh, removed=removed, failed=tuple(failed))


def restore(
    source: Path, files: Files, scratch: Path, *, only: str | None, force: bool, on_file: OnFile
) -> Report:
    """Put a backup, or one vault of it, into a data folder that no server uses.

    scratch  an empty folder for the time being
    raises   Conflict if something would be overwritten and not `force`; NotFound; StoreError
    """
    entries = _verified_list(source, only, force=force)
    _check_free(files, entries, force=force)
    backed = _keys_of(source, files, scratch)
    failed: list[tuple[str, str]] = []
    try:
        for number, entry in enumerate(entries, start=1):
            try:
                _put_back(source, backed, files, entry)
            except MemrouterError as e:
                failed.append((entry.file, str(e)))
            on_file(number, len(entries))
    finally:
        backed.keyring.close()
    return Report(copied=len(entries) - len(failed), failed=tuple(failed))


def _names(folder: Path) -> Iterator[str]:
    for path in sorted((folder / "vaults").glob("*/*.db")):
        yield str(path.relative_to(folder))
    yield from (name for name in _LAST if (folder / name).exists())


def _brought(files: Files, target: Path, name: str, held: Entry | None) -> Entry | None:
    """The entry of a file whose copy is up to date; None if the file is gone."""
    path, copy = files.folder / name, target / name
    with shared(path), mapped(path):
        if not path.exists():
            return None
        seen = _seen(path)
        if held is not None and seen and held.seen == seen and _size(copy) == held.size:
            return held
        key = None if name == keyring.FILE else files.key(path)
        part = copy.with_name(copy.name + ".part")
        make_folder(copy.parent)
        for end in ("", "-journal", "-wal", "-shm"):
            part.with_name(part.name + end).unlink(missing_ok=True)
        os.close(os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        _copy(path, part, key)
        entry = Entry(file=name, sha256=_digest(part), size=_size(part), seen=seen)
        part.replace(copy)
    return entry


def _copy(path: Path, part: Path, key: bytes | None) -> None:
    """Copy one state of a file, whoever writes it meanwhile."""
    source, copy = apsw.Connection(str(path)), apsw.Connection(str(part))
    try:
        # Reading must not change it: the next run would take it for changed.
        source.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        source.set_busy_timeout(10_000)
        unlock(source, key)
        unlock(copy, key)
        copy.execute("PRAGMA synchronous = OFF")
        with copy.backup("main", source, "main") as copying:
            while not copying.done:
                copying.step(-1)
    finally:
        source.close()
        copy.close()
    opened = os.open(part, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _seen(path: Path) -> Seen:
    """What would differ if the file had been written; () if it was a moment ago."""
    state = path.stat()
    seen, newest = [state.st_ino, state.st_size, state.st_mtime_ns], state.st_mtime
    log = path.with_name(path.name + "-wal")
    if _size(log):
        state = log.stat()
        seen += [state.st_size, state.st_mtime_ns]
        newest = max(newest, state.st_mtime)
    return () if time.time() - newest < _SETTLED_S else tuple(seen)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _clean(target: Path, kept: set[str]) -> int:
    """Remove copies of what is no more, and what a run that broke off has left."""
    removed = 0
    with mapped(target):
        for path in [*target.glob("*.db*"), *(target / "vaults").glob("*/*")]:
            if path.is_file() and str(path.relative_to(target)) not in kept:
                removed += path.suffix == ".db"
                path.unlink()
    return removed


def _entries(folder: Path) -> list[Entry]:
    """The files that a manifest lists; a last line that broke off is not one."""
    return list(_manifest(folder)[1])


def _manifest(folder: Path) -> tuple[Head, list[Entry]]:
    path = folder / MANIFEST
    head, rows = Head(), {}
    if not path.exists():
        return head, []
    for line in path.read_bytes().splitlines():
        try:
            if line.startswith(b'{"format"'):
                head = msgspec.json.decode(line, type=Head)
            else:
                entry = msgspec.json.decode(line, type=Entry)
                rows[entry.file] = entry
        except msgspec.DecodeError:
            continue
    if head.format != _FORMAT:
        raise StoreError(
            f"The backup has format {head.format}, this memrouter knows {_FORMAT}",
            "Use the memrouter that made it, or a newer one",
        )
    return head, list(rows.values())


def _write(target: Path, head: Head, entries: Sequence[Entry]) -> None:
    fresh = target / f"{MANIFEST}.new"
    with mapped(fresh):
        fresh.unlink(missing_ok=True)
        with _appended(fresh) as file:
            file.write(b"\n".join(map(msgspec.json.encode, (head, *entries))) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(target / MANIFEST)


def _appended(path: Path) -> BinaryIO:
    """A file to write at the end of, that only its owner may read."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
    return os.fdopen(os.open(path, flags, 0o600), "ab")


def _verified_list(source: Path, only: str | None, *, force: bool) -> list[Entry]:
    if not (source / MANIFEST).exists():
        raise NotFound(f"There is no backup in {source}", "`memrouter backup` makes one")
    head, entries = _manifest(source)
    if not head.complete and not force:
        raise Conflict(
            f"The backup in {source} is not finished",
            "Run `memrouter backup` again; or --force to take what is there",
        )
    if only is not None:
        entries = [entry for entry in entries if Path(entry.file).stem == only]
        if not entries:
            raise NotFound(
                f"The backup in {source} holds no vault {only}", "Look into its manifest"
            )
    return [entry for entry in entries if entry.file != keyring.FILE]


def _check_free(files: Files, entries: Sequence[Entry], *, force: bool) -> None:
    there = [entry.file for entry in entries if (files.folder / entry.file).exists()]
    if there and not force:
        more = f" and {len(there) - 1} more" if len(there) > 1 else ""
        raise Conflict(
            f"{there[0]}{more} would be overwritten", "Restore into a new folder, or use --force"
        )


def _keys_of(source: Path, files: Files, scratch: Path) -> Files:
    """The keys of a backup, read from a copy: a backup is never written."""
    if (source / keyring.FILE).exists():
        shutil.copyfile(source / keyring.FILE, scratch / keyring.FILE)
    return files.elsewhere(scratch)


def _put_back(source: Path, backed: Files, files: Files, entry: Entry) -> None:
    copy, path = source / entry.file, files.folder / entry.file
    with mapped(copy):
        if not copy.exists() or _digest(copy) != entry.sha256:
            raise VaultCorrupted(f"{entry.file} is not what was backed up", "Use an older backup")
    old = backed.key(copy)
    keep = files.encrypt or kind(copy) == "encrypted"
    copied(copy, path, old, files.keyring.make(path.stem) if keep else None)
