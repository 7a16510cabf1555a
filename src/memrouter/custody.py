"""What an operator does with a whole data folder from the command line."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from memrouter import app, offline, start
from memrouter.config import Config
from memrouter.counts import counted
from memrouter.domain import Analysis
from memrouter.errors import Conflict, MemrouterError
from memrouter.memory import analysis
from memrouter.secrets import Sealer
from memrouter.store.sqlite import backlog, backups, checking
from memrouter.store.sqlite.files import kind

_OTHERS = ("directory.db", "usage.db", "backlog.db")


def convert(config: Config, console: Console, *, encrypt: bool) -> bool:
    """Encrypt or decrypt every file; whether all are so now."""
    if config.encrypt_vaults and not encrypt:
        raise Conflict(
            "MEMROUTER_ENCRYPT_VAULTS is on: what is decrypted would be encrypted when it is used",
            "Stop the server, set it to false, then decrypt",
        )
    folder = start.data_folder(config)
    files = app.open_files(config, folder)
    converted, failed = 0, []
    with progress(console) as shown:
        paths = list(files_of(folder))
        task = shown.add_task("Encrypting" if encrypt else "Decrypting", total=len(paths))
        for path in paths:
            try:
                converted += files.convert(path, encrypt=encrypt)
            except MemrouterError as e:
                failed.append(f"{path.name}: {e}")
            shown.advance(task)
    files.close()
    tell(console, failed)
    what = "Encrypted" if encrypt else "Decrypted"
    left = len(paths) - converted - len(failed)
    were = "was" if left == 1 else "were"
    console.print(f"{what} {counted(converted, 'file')}; {left:,} {were} already")
    if failed:
        console.print("Files in use are converted with the server stopped: run this again then")
    elif encrypt and not config.encrypt_vaults:
        console.print("New vaults will be plain: set MEMROUTER_ENCRYPT_VAULTS=true")
    return not failed


def find_vault(config: Config, key: str, user: str) -> str:
    """The id of the vault of a key or user."""

    async def find(opened: offline.Opened) -> str:
        return opened.scope.vault

    return offline.with_vault(config, key, user, "", find)


def delete_vault(config: Config, key: str, user: str) -> int:
    """Delete the vault of a key or user, its key before its file; return the memories deleted."""

    async def delete(opened: offline.Opened) -> int:
        return await opened.parts.store.destroy(opened.scope.vault)

    return offline.with_vault(config, key, user, "", delete)


def rotate(config: Config) -> tuple[int, int]:
    """Seal everything anew under the first SECRET_KEY; return how many keys of files, of providers.

    Raises VaultLocked or SealBroken if one of them was sealed under a secret that is not given.
    """
    folder = start.data_folder(config)
    sealer = Sealer(start.secret_key(config, folder))
    files = app.open_files(config, folder)

    async def providers() -> int:
        directory = app.open_directory(config)
        try:
            return await directory.reseal(sealer.reseal)
        finally:
            await directory.close()

    try:
        wrapped = files.keyring.rewrap()
    finally:
        files.close()
    return wrapped, asyncio.run(providers())


def back_up(config: Config, target: Path, console: Console) -> bool:
    """Bring a backup up to date, whether a server runs or not; whether all files are in it.

    Raises Conflict if it would lie in the data folder, or something else is there.
    """
    folder = start.data_folder(config)
    if target.resolve().is_relative_to(folder.resolve()):
        # It would go with what it is for, and a server may clean up there.
        raise Conflict(f"{target} lies in the data folder", "Name a folder elsewhere")
    files = app.open_files(config, folder)
    try:
        with progress(console) as shown:
            made = datetime.now(UTC).isoformat(timespec="seconds")
            report = backups.backup(files, target, made, shower(shown, "Backing up"))
    finally:
        files.close()
    tell(console, [f"{name}: {why}" for name, why in report.failed])
    console.print(
        f"{counted(report.copied, 'file')} copied, {report.unchanged:,} unchanged,"
        f" {report.removed:,} gone"
    )
    if not config.secret_key:
        console.print(
            f"{start.SECRET_FILE} is not in it: keep a copy elsewhere, nothing else opens"
        )
        console.print("encrypted vaults and stored provider keys")
    return not report.failed


def put_back(
    config: Config, source: Path, console: Console, *, vault: str | None, force: bool
) -> bool:
    """Restore a backup, or one vault of it, into the data folder; whether all of it is there.

    Raises Conflict if a server uses the folder, or something would be overwritten unasked.
    """
    folder = start.data_folder(config)
    if in_use(folder):
        raise Conflict(f"A server uses {folder}", "Stop it, or restore into another folder")
    files = app.open_files(config, folder)
    try:
        with (
            tempfile.TemporaryDirectory(dir=folder, prefix=".restore-") as scratch,
            progress(console) as shown,
        ):
            report = backups.restore(
                source,
                files,
                Path(scratch),
                only=vault,
                force=force,
                on_file=shower(shown, "Restoring"),
            )
    finally:
        files.close()
    tell(console, [f"{name}: {why}" for name, why in report.failed])
    console.print(f"{counted(report.copied, 'file')} restored and checked")
    return not report.failed


def examine_deeply(config: Config, console: Console, *, repair: bool) -> bool:
    """Check every vault, say what to do where one is not right; whether all are."""
    folder = start.data_folder(config)
    files = app.open_files(config, folder)
    rules = Analysis(version=analysis.VERSION, terms=analysis.index_terms)
    bad = waiting = 0
    try:
        with progress(console) as shown:
            paths = sorted((folder / "vaults").glob("*/*.db"))
            task = shown.add_task("Checking", total=len(paths))
            for path in paths:
                found = checking.examine(files, path, rules)
                if found and repair:
                    mended, left = checking.repair(files, path, rules)
                    waiting += mended
                    tell(console, [f"{path.stem}: {line}: repaired" for line in found if not left])
                    found = left
                bad += bool(found)
                tell(console, [f"{path.stem}: {line}" for line in found])
                shown.advance(task)
    finally:
        files.close()
    whole = len(paths) - bad
    are = "is" if whole == 1 else "are"
    console.print(f"{whole:,} of {counted(len(paths), 'vault')} {are} whole")
    if waiting:
        new = "gets a new vector" if waiting == 1 else "get new vectors"
        console.print(f"{counted(waiting, 'chunk')} {new} when the server starts")
    if bad:
        console.print(
            "→ `memrouter doctor --deep --repair` makes anew what the texts give; what is"
        )
        console.print("  damaged comes from a backup: `memrouter restore DIR --vault ID --force`")
    return not bad


def in_use(folder: Path) -> bool:
    """Whether a process has the vaults of a data folder open."""
    return any(backlog.lives(path) for path in (folder / "run").glob("*.lock"))


def files_of(folder: Path) -> Iterator[Path]:
    """Every file of a data folder that may be encrypted."""
    yield from sorted((folder / "vaults").glob("*/*.db"))
    yield from (folder / name for name in _OTHERS if (folder / name).exists())


def kinds(folder: Path) -> dict[str, int]:
    """How many files are plain, and how many encrypted."""
    count = {"plain": 0, "encrypted": 0, "new": 0}
    for path in files_of(folder):
        count[kind(path)] += 1
    return count


def progress(console: Console) -> Progress:
    """A bar with numbers, gone when it is done."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, TimeRemainingColumn(), console=console, transient=True)


def shower(shown: Progress, what: str) -> Callable[[int, int], None]:
    """What tells a bar how many are done, of how many."""
    task = shown.add_task(what, total=None)

    def show(done: int, total: int) -> None:
        shown.update(task, completed=done, total=total)

    return show


def tell(console: Console, failed: list[str]) -> None:
    """Show what failed, a line each."""
    for line in failed:
        console.print(line, markup=False, highlight=False)
