"""Commands on a vault: parse, one call."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import click
from rich.console import Console

from memrouter.config import Config
from memrouter.counts import counted

Command = TypeVar("Command", bound=Callable[..., Any])


def _of_a_vault(command: Command) -> Command:
    """Options that name a vault."""
    for option in (
        click.option("--session", default="", help="One session of it."),
        click.option("--user", default="", help="A user whom this account key has named."),
        click.option(
            "--key",
            required=True,
            help="Whose memory: a key's id as `memrouter keys list` shows it, or the key itself.",
        ),
    ):
        command = option(command)
    return command


@click.command("import")
@click.argument("file", type=click.File("rb"))
@_of_a_vault
@click.pass_obj
def import_(
    config: Callable[[], Config], file: BinaryIO, key: str, user: str, session: str
) -> None:
    """Store the memories of FILE, JSONL as `memrouter export` writes it; - reads the input.

    A line is {"content": "…"}, with "role", "timestamp" (Unix milliseconds), "session_id" and
    "conversation_id" if you like. What is stored already is skipped, so an import that broke off
    can be run again. Lines without "session_id" go into --session, or into core. Bad lines are
    named, the others stored; the status is 1 then.
    """
    from memrouter.offline import store_file  # noqa: PLC0415 - help must not load the store

    console = Console(stderr=True)
    if not store_file(config(), key, user, session, file, console):
        raise SystemExit(1)


@click.command()
@click.argument("file", type=click.File("wb"), default="-")
@_of_a_vault
@click.pass_obj
def export(config: Callable[[], Config], file: BinaryIO, key: str, user: str, session: str) -> None:
    """Write a whole vault, or one --session of it, to FILE as JSONL; without FILE, show it."""
    from memrouter.offline import write_file  # noqa: PLC0415

    write_file(config(), key, user, session, file)


@click.command()
@click.argument("query")
@click.option("--limit", type=click.IntRange(1, 1_000), default=10, show_default=True)
@_of_a_vault
@click.pass_obj
def search(
    config: Callable[[], Config], query: str, limit: int, key: str, user: str, session: str
) -> None:
    """Show what a vault holds on QUERY, best first: core, or one --session alone."""
    from memrouter.offline import show_found  # noqa: PLC0415

    show_found(config(), key, user, session, query, limit, Console())


@click.group()
def vaults() -> None:
    """Encrypt, decrypt, find and delete vaults."""


@vaults.command()
@click.pass_obj
def encrypt(config: Callable[[], Config]) -> None:
    """Encrypt every plain file of the data folder.

    With MEMROUTER_ENCRYPT_VAULTS on, the server does so as vaults are used; this does all at once.
    Killed at any moment, it has lost nothing. Files in use are left for the next time.
    """
    _convert(config, encrypt=True)


@vaults.command()
@click.pass_obj
def decrypt(config: Callable[[], Config]) -> None:
    """Decrypt every encrypted file of the data folder. The setting must be off, the server stopped.

    Killed at any moment, it has lost nothing.
    """
    _convert(config, encrypt=False)


def _convert(config: Callable[[], Config], *, encrypt: bool) -> None:
    from memrouter.custody import convert  # noqa: PLC0415

    if not convert(config(), Console(stderr=True), encrypt=encrypt):
        raise SystemExit(1)


@vaults.command()
@click.option("--user", default="", help="A user whom this account key has named.")
@click.option("--key", required=True, help="A key's id as `memrouter keys list` shows it.")
@click.pass_obj
def find(config: Callable[[], Config], key: str, user: str) -> None:
    """Show the id of the vault of a key or user: its file's name, and what `restore` asks for."""
    from memrouter.custody import find_vault  # noqa: PLC0415

    click.echo(find_vault(config(), key, user))


@vaults.command()
@click.option("--user", default="", help="A user whom this account key has named.")
@click.option(
    "--key", required=True, help="Whose vault: a key's id as `memrouter keys list` shows it."
)
@click.confirmation_option(prompt="Everything in this vault is deleted. Go on?")
@click.pass_obj
def delete(config: Callable[[], Config], key: str, user: str) -> None:
    """Delete a vault: of an encrypted one its key, so that no copy can be read; then the file.

    The memory key stays. `memrouter keys revoke` takes it away.
    """
    from memrouter.custody import delete_vault  # noqa: PLC0415

    deleted = delete_vault(config(), key, user)
    click.echo(f"Deleted {counted(deleted, 'memory', 'memories')} and the vault")


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.pass_obj
def backup(config: Callable[[], Config], folder: Path) -> None:
    """Copy the data folder into FOLDER, while the server runs or not.

    Run again, it goes on where it broke off, copies only what changed, and removes what was
    deleted. Encrypted vaults stay encrypted; secret.key is not copied: keep it elsewhere. FOLDER
    may not lie inside the data folder.
    """
    from memrouter.custody import back_up  # noqa: PLC0415

    if not back_up(config(), folder, Console(stderr=True)):
        raise SystemExit(1)


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, exists=True, path_type=Path))
@click.option("--vault", help="One vault of it, by its id: the name of its file.")
@click.option("--force", is_flag=True, help="Overwrite what is there; take an unfinished backup.")
@click.pass_obj
def restore(config: Callable[[], Config], folder: Path, vault: str | None, force: bool) -> None:
    """Put a backup from FOLDER into the data folder, checked file by file. Stop the server before.

    Nothing is overwritten without --force. SECRET_KEY must be the one of the backup, or have it
    behind a comma.
    """
    from memrouter.custody import put_back  # noqa: PLC0415

    if not put_back(config(), folder, Console(stderr=True), vault=vault, force=force):
        raise SystemExit(1)


@click.group()
def secrets() -> None:
    """Rotate SECRET_KEY."""


@secrets.command()
@click.pass_obj
def rotate(config: Callable[[], Config]) -> None:
    """Seal everything that is stored under SECRET_KEY anew, under the first one.

    Put the new one in front (MEMROUTER_SECRET_KEY=new,old, or both in secret.key), restart the
    server, run this, then take the old one away.
    """
    from memrouter.custody import rotate as run  # noqa: PLC0415

    wrapped, providers = run(config())
    of_files, of_providers = counted(wrapped, "key"), counted(providers, "key")
    click.echo(f"Sealed {of_files} of files and {of_providers} of providers anew")


@click.group()
def embedder() -> None:
    """Choose what makes vectors of memories, see what is in use; also while the server runs."""


@embedder.command("use")
@click.argument("name")
@click.option("--no-wait", is_flag=True, help="Leave the work to the server.")
@click.pass_obj
def embedder_use(config: Callable[[], Config], name: str, no_wait: bool) -> None:
    """Have every vault embedded by NAME: a folder with an ONNX sentence encoder, a model's name
    (fetched by fastembed), an endpoint of the settings, or `static`, the built-in one alone.

    Vaults are embedded anew in the background, by the server or, where none runs, here. Recall goes
    on meanwhile: what a vault has serves until it is done. It may be broken off and called again.
    """
    from memrouter.reembedding import use  # noqa: PLC0415

    use(config(), name, Console(), wait=not no_wait)


@embedder.command("show")
@click.pass_obj
def embedder_show(config: Callable[[], Config]) -> None:
    """Show which embedder is in use, and how many vaults have it."""
    from memrouter.reembedding import show  # noqa: PLC0415

    show(config(), Console())


COMMANDS = (import_, export, search, backup, restore, vaults, secrets, embedder)
