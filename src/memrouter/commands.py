"""Commands on a vault: parse, one call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, BinaryIO, TypeVar

import click
from rich.console import Console

from memrouter.config import Config

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


COMMANDS = (import_, export, search)
