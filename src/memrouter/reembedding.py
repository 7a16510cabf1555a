"""`memrouter embedder`: choose what makes vectors, bring the vaults after it, see how far it is."""

from __future__ import annotations

import asyncio
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from memrouter import app, choice, start
from memrouter.app import Parts
from memrouter.choice import STATIC
from memrouter.config import Config
from memrouter.domain import Scope
from memrouter.errors import ConfigError

_LOOK_S = 0.3


def use(config: Config, name: str, console: Console, *, wait: bool) -> None:
    """Choose an embedder by name or folder, and bring all vaults after it.

    wait  whether to stay until all are done; otherwise a server does it, or the next start of one
    """
    if config.embedder:
        raise ConfigError(
            f"The setting `embedder` chooses {config.embedder!a}",
            "Change it there, or leave it empty (MEMROUTER_EMBEDDER) and choose here",
        )
    folder = start.data_folder(config)
    chosen = _named(config, name)
    parts = app.build(config, folder)
    try:
        if chosen != STATIC and parts.load is not None:
            with console.status(f"Loading {name}"):
                parts.load(chosen)  # what cannot be loaded is not chosen
    except BaseException:
        asyncio.run(parts.close())
        raise
    choice.write(folder, choice.read(folder).changed(chosen))
    asyncio.run(_changed_over(config, parts, console, wait=wait))


async def _changed_over(config: Config, old: Parts, console: Console, *, wait: bool) -> None:
    await old.close()
    folder = old.folder
    if choice.read(folder).done:
        console.print("In use, and every vault has it.")
        return
    if not wait:
        console.print("Chosen. A server brings the vaults after it: `memrouter embedder show`")
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as bar:
        await _followed(config, folder, bar)
    console.print("Done: every vault has it.")


async def _followed(config: Config, folder: Path, bar: Progress) -> None:
    """Work on the change, or watch whoever does, until it is done."""
    task = bar.add_task("Looking at the vaults", total=None)
    wanted = choice.read(folder).use

    def told(state: choice.Progress) -> None:
        if state.use != wanted or state.error:
            bar.update(task, description=state.error or "Waiting for the server")
        elif state.counted < state.vaults:
            bar.update(task, description="Vaults", total=state.vaults, completed=state.counted)
        else:
            bar.update(task, description="Embedding", total=state.chunks, completed=state.encoded)

    while True:
        found = choice.read(folder)
        if found.use != wanted:
            raise ConfigError("Another was chosen meanwhile", "See `memrouter embedder show`")
        if found.done:
            return
        with choice.leading(folder) as lead:
            if lead:  # no server runs: the work is done here
                parts = app.build(config, folder)
                try:
                    switching = app.switching_of(parts, app.backlog_of(parts))
                    assert switching is not None
                    await switching.change_over(told)
                finally:
                    await parts.close()
                continue
        told(choice.progress(folder))
        await asyncio.sleep(_LOOK_S)


def show(config: Config, console: Console) -> None:
    """Tell what is in use and how far the vaults are."""
    asyncio.run(_shown(config, console))


async def _shown(config: Config, console: Console) -> None:
    folder = start.data_folder(config)
    parts = app.build(config, folder)
    by: dict[str, list[int]] = {}
    try:
        async for vault in parts.store.vaults():
            stats = await parts.store.stats(Scope(vault=vault))
            name = " + ".join(n for n in (stats.embedder, stats.encoder) if n) or "none yet"
            row = by.setdefault(name, [0, 0, 0])
            row[0] += 1
            row[1] += stats.chunks
            row[2] += max(stats.pending, stats.unencoded)
    finally:
        await parts.close()
    source = "setting `embedder`" if config.embedder else "memrouter embedder use"
    chosen = parts.choice
    by_whom = "default" if chosen == choice.Choice() and not config.embedder else source
    console.print(f"In use: {chosen.use} ({by_whom})", highlight=False, markup=False)
    if not chosen.done:
        console.print("Vaults are being brought after it; what they have serves meanwhile.")
    if error := choice.progress(folder).error:
        console.print(f"It does not go on: {error}", highlight=False, markup=False)
    table = Table("vectors", "vaults", "chunks", "waiting", box=None)
    for name, numbers in sorted(by.items()):
        table.add_row(name, *(f"{n:,}" for n in numbers))
    console.print(table)


def _named(config: Config, name: str) -> str:
    """What was typed as it is kept: folders by their whole path."""
    path = Path(name).expanduser()
    named = name == STATIC or name in config.embeddings
    return str(path.resolve()) if path.is_dir() and not named else name
