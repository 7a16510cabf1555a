"""`memrouter doctor`: is everything in place, and if not, what to do."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from time import perf_counter

from rich.console import Console

from memrouter import custody, demo, native, start
from memrouter.app import Parts, build
from memrouter.config import Config
from memrouter.counts import counted
from memrouter.domain import Target
from memrouter.errors import MemrouterError
from memrouter.upstream.providers import Provider
from memrouter.upstream.target import Sent, key_headers

_SLOW_EMBED_MS = 50.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One finding."""

    ok: bool | None
    """None where there is nothing to judge."""
    what: str
    found: str
    todo: str = ""


async def examine(config: Config, console: Console) -> bool:
    """Run every check and print a line each; return whether all is well."""
    folder = start.data_folder(config)
    parts = build(config, folder)
    well = True
    try:
        for check in (_store, _compiled, _embedder, _providers, _traffic):
            for line in await _guarded(check, parts):
                well = well and line.ok is not False
                _print(console, line)
    finally:
        await parts.close()
    return well


async def _guarded(check: Callable[[Parts], Awaitable[list[Line]]], parts: Parts) -> list[Line]:
    try:
        return await check(parts)
    except MemrouterError as e:
        what = check.__name__.strip("_")
        return [Line(ok=False, what=what, found=str(e), todo=e.hint)]


def _print(console: Console, line: Line) -> None:
    mark = {True: "[green]ok  [/green]", False: "[red]FAIL[/red]", None: "[yellow]--  [/yellow]"}
    console.print(f"{mark[line.ok]} {line.what:<12} {line.found}", highlight=False)
    if line.todo:
        console.print(f"     {'':<12} → {line.todo}", highlight=False)


async def _store(parts: Parts) -> list[Line]:
    began = perf_counter()
    await parts.store.check()
    took = (perf_counter() - began) * 1000
    free = shutil.disk_usage(parts.folder).free
    kinds = custody.kinds(parts.folder)
    lines = [Line(ok=True, what="store", found=f"{parts.folder} writable, commit in {took:.1f} ms")]
    lines.append(_encryption(kinds["plain"], kinds["encrypted"], parts.config.encrypt_vaults))
    if free < 1 << 30:
        lines.append(
            Line(
                ok=False,
                what="disk",
                found=f"{free >> 20} MiB free",
                todo="Free some space: a full disk stops storing, not answering",
            )
        )
    return lines


def _encryption(plain: int, encrypted: int, wanted: bool) -> Line:
    found = f"{counted(encrypted, 'file')} encrypted, {plain:,} plain"
    if wanted and plain:
        todo = "They are encrypted when they are used; `memrouter vaults encrypt` does it now"
        return Line(ok=None, what="encryption", found=found, todo=todo)
    if encrypted and not wanted:
        todo = "New vaults are plain: set MEMROUTER_ENCRYPT_VAULTS=true, or decrypt the others"
        return Line(ok=None, what="encryption", found=found, todo=todo)
    return Line(ok=True, what="encryption", found=found if wanted else "off")


async def _compiled(_parts: Parts) -> list[Line]:
    missing = [name for name in native.MODULES if native.compiled(name) is None]
    if not missing:
        return [Line(ok=True, what="compiled", found="all there is to compile")]
    found = f"not {', '.join(missing)}: Python does the same in about twice the time"
    todo = "Install a C compiler and Python's headers, then install memrouter again"
    return [Line(ok=None, what="compiled", found=found, todo=todo)]


async def _embedder(parts: Parts) -> list[Line]:
    question = "Where does my sister live now?"
    asked = await parts.embedder.query(question, {})
    began = perf_counter()
    for _ in range(20):
        await parts.embedder.query(question, {})
    each = (perf_counter() - began) * 1000 / 20
    found = f"{parts.embedder.name}, {len(asked.plain)} dimensions, {each:.2f} ms a query"
    slow = each > _SLOW_EMBED_MS
    todo = "Recall may pass its time budget; use a smaller model" if slow else ""
    return [Line(ok=not slow, what="embedder", found=found, todo=todo)]


async def _providers(parts: Parts) -> list[Line]:
    rows = [row for row in parts.providers.rows if row.configured]
    if not rows:
        return [
            Line(
                ok=None,
                what="providers",
                found="none configured: clients must bring keys (X-Provider-Key)",
                todo="Set MEMROUTER_PROVIDERS__OPENAI__API_KEY=sk-… to serve without",
            )
        ]
    return list(await asyncio.gather(*(_provider(parts, row) for row in rows)))


async def _provider(parts: Parts, row: Provider) -> Line:
    dialect = row.native
    url = f"{row.base(dialect)}/models"
    what = row.name
    named = f"MEMROUTER_PROVIDERS__{row.name.upper()}"
    try:
        auth = key_headers(row, dialect, Sent())
        extra = [("anthropic-version", "2023-06-01")] if dialect == "anthropic" else []
        async with asyncio.timeout(15):
            answer = await parts.upstream.send(
                "GET", Target(provider=row.name, url=url, headers=auth), extra, b""
            )
            await answer.close()
    except (MemrouterError, TimeoutError) as e:
        hint = getattr(e, "hint", "") or "Check the network from here to there"
        return Line(ok=False, what=what, found=str(e) or "no answer in 15 s", todo=hint)
    if answer.status in {401, 403}:
        todo = f"Check {named}__API_KEY"
        return Line(ok=False, what=what, found=f"refuses the key ({answer.status})", todo=todo)
    if answer.status >= 500:
        return Line(ok=False, what=what, found=f"answers {answer.status}", todo="Ask the provider")
    if answer.status == 404:
        todo = f"If requests fail too, check {named}__BASE_URL"
        return Line(ok=None, what=what, found="reachable, lists no models", todo=todo)
    return Line(ok=True, what=what, found="reachable, key accepted")


async def _traffic(_parts: Parts) -> list[Line]:
    """The demo, unseen: a server of its own, two conversations, a restart."""
    began = perf_counter()
    try:
        knew = await asyncio.to_thread(demo.run, Console(quiet=True))
    except (RuntimeError, OSError) as e:
        todo = "Run `memrouter demo` to see what happens"
        return [Line(ok=False, what="traffic", found=str(e), todo=todo)]
    took = perf_counter() - began
    if not knew:
        todo = "Run `memrouter demo` to see where it stops"
        return [Line(ok=False, what="traffic", found="a turn was not remembered", todo=todo)]
    found = f"relayed, stored, recalled after a restart, in {took:.1f} s"
    return [Line(ok=True, what="traffic", found=found)]
