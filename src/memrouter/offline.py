"""Work on a vault from the command line: import, export, search, whether a server runs or not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import BinaryIO, TypeVar

from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from memrouter import app, start
from memrouter.app import Parts, Remembering
from memrouter.config import Config
from memrouter.counts import counted
from memrouter.domain import Budget, Hit, KeyId, KeyRecord, Scope, VaultId
from memrouter.edge import auth, export
from memrouter.edge.jsonl import JsonLines
from memrouter.edge.upload import Chains, Uploads
from memrouter.errors import Forbidden, NotFound
from memrouter.memory.backlog import BATCH, ENCODED

T = TypeVar("T")

_BLOCK_BYTES = 1 << 16
_BATCH = 5_000  # memories stored at a time
_ANY_NUMBER = 1 << 62
_ALL_TOKENS = 1 << 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A vault, and what works on it."""

    scope: Scope
    parts: Parts
    rooms: Remembering


def store_file(
    config: Config, key: str, user: str, session: str, file: BinaryIO, console: Console
) -> bool:
    """Store a JSONL file of any length, tell how it went; False if any line failed."""

    async def store(opened: Opened) -> tuple[JsonLines, int]:
        read = JsonLines(opened.scope.session, opened.parts.clock.now(), _ANY_NUMBER)
        new = await _store(opened, read, file)
        with Progress(console=console, transient=True) as progress:
            await _embed(opened, progress)
        return read, new

    read, new = with_vault(config, key, user, session, store, new=True)
    for error in read.errors:
        console.print(f"line {error.line}: {error.reason}", markup=False, highlight=False)
    if read.failed > len(read.errors):
        console.print(f"and {read.failed - len(read.errors):,} more")
    console.print(f"Stored {counted(new, 'new memory', 'new memories')}{_of(read, new)}")
    return not read.failed


def _of(read: JsonLines, new: int) -> str:
    lines = f" from {counted(read.count, 'item')}"
    known = read.count - read.failed - new
    if not known:
        return lines
    return f"{lines}; {known:,} {'was' if known == 1 else 'were'} there already"


def write_file(config: Config, key: str, user: str, session: str, file: BinaryIO) -> None:
    """Write a vault, or one session of it, as JSONL."""

    async def write(opened: Opened) -> None:
        async for block in export.lines(opened.parts.store, opened.scope):
            file.write(block)

    with_vault(config, key, user, session, write)


def show_found(
    config: Config, key: str, user: str, session: str, query: str, limit: int, console: Console
) -> None:
    """Show what a vault holds on a query, best first; in a session, of that session alone."""

    async def find(opened: Opened) -> tuple[Hit, ...]:
        found = await opened.rooms.finder.find(
            opened.scope,
            query,
            budget=Budget(memories=limit, tokens=_ALL_TOKENS),
            floor=False,
            core=not session,
            now=opened.parts.clock.now().astimezone(opened.rooms.settings.zone),
        )
        return found.hits

    zone = config.zone()
    table = Table("score", "time", "role", "text", box=None)
    for hit in with_vault(config, key, user, session, find):
        chunk = hit.chunk
        time = f"{chunk.created.astimezone(zone):%Y-%m-%d %H:%M}"
        table.add_row(f"{hit.score:.2f}", time, chunk.role, Text(_inert(chunk.text)))
    console.print(table)


def _inert(text: str) -> str:
    """A text that a terminal shows and does not obey."""
    return "".join(c if c.isprintable() or c == "\n" else " " for c in text)


def with_vault(
    config: Config,
    key: str,
    user: str,
    session: str,
    work: Callable[[Opened], Awaitable[T]],
    *,
    new: bool = False,
) -> T:
    """Run `work` on the vault of a key or user. Raises NotFound, Forbidden.

    new  whether the user may be one whom nobody has named yet
    """

    async def run() -> T:
        parts = app.build(config, start.data_folder(config))
        try:
            vault = await _vault(parts, key, user, new=new)
            rooms = app.remembering(parts, lambda _scope, _stored: None)
            scope = Scope(vault=vault, session=session)
            return await work(Opened(scope=scope, parts=parts, rooms=rooms))
        finally:
            await parts.close()

    return asyncio.run(run())


async def _vault(parts: Parts, key: str, user: str, *, new: bool) -> VaultId:
    """The vault of a key, or of a user whom its account has named. Raises NotFound, Forbidden."""
    record = await _key(parts, key)
    if record is None or record.revoked is not None:
        raise NotFound("There is no such key", "`memrouter keys list` shows the ids")
    if not user:
        return record.vault
    if not record.is_account:
        raise Forbidden("This key has no users", "Name an account key, or leave out --user")
    if new:
        return await parts.directory.user_vault(record.account, user)
    vault = await parts.directory.known_user(record.account, user)
    if vault is None:
        raise NotFound("This account has no such user", "Look at the spelling of --user")
    return vault


async def _key(parts: Parts, key: str) -> KeyRecord | None:
    if auth.is_memory_key(key):
        return await parts.directory.key(auth.digest(auth.split(key)[0]))
    account = await parts.directory.first_account()
    return await parts.directory.key_by_id(account, KeyId(key)) if account else None


async def _store(opened: Opened, read: JsonLines, file: BinaryIO) -> int:
    """Store what a file holds while it is read; what is stored already is skipped.

    returns  how many memories were new
    """
    parts, rooms = opened.parts, opened.rooms
    uploads = Uploads(parts.store, rooms.historian, rooms.memory, parts.clock)
    chains = Chains()
    new = 0
    block = b"."
    while block:
        block = await asyncio.to_thread(file.read, _BLOCK_BYTES)
        read.feed(block) if block else read.finish()
        if not block or len(read.items) >= _BATCH:
            new += await uploads.store(opened.scope.vault, read.items, chains)
            read.items.clear()
    return new


async def _embed(opened: Opened, progress: Progress) -> None:
    parts, scope = opened.parts, Scope(vault=opened.scope.vault)
    stats = await parts.store.stats(scope)
    task = progress.add_task("Embedding", total=stats.pending + stats.unencoded)
    backlog = app.backlog_of(parts, on_embedded=lambda count: progress.update(task, advance=count))
    while await backlog.drain_some(scope.vault) >= BATCH:
        pass
    while await backlog.encode_some(scope.vault) >= ENCODED:
        pass
