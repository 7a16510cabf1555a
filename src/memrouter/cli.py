"""The command line: parse, one call, print."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from memrouter import __version__
from memrouter.commands import COMMANDS
from memrouter.config import PREFIX, Config, load, named
from memrouter.domain import KeyId
from memrouter.errors import ConfigError, Conflict, MemrouterError, NotFound
from memrouter.ports import Directory

Result = TypeVar("Result")

_BEGIN = {"serve", "restore"}
"""Commands that may make a data folder; `demo` has one of its own."""


class _Group(click.Group):
    """Turns our errors into a message and a hint, without a traceback."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except MemrouterError as e:
            message = str(e)
            if isinstance(e, ConfigError) and e.setting:
                name = named(e.setting, os.environ, ctx.params.get("file"))
                message = f"{name}: {e.told}"
            hint = f"\n{e.hint}" if e.hint else ""
            raise click.ClickException(f"{message}{hint}") from None


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="memrouter")
@click.option(
    "--config",
    "file",
    type=click.Path(dir_okay=False, path_type=Path),
    envvar="MEMROUTER_CONFIG",
    help="TOML file of settings [default: memrouter.toml here, if there is one].",
)
@click.option("--data-dir", help="Where vaults and keys live; as MEMROUTER_DATA_DIR.")
@click.pass_context
def cli(ctx: click.Context, file: Path | None, data_dir: str | None) -> None:
    """A memory router for LLM apps: change the base URL, and every user has a private memory.

    Start with `memrouter demo` (no provider key needed), then `memrouter serve`. Every setting is
    an environment variable (MEMROUTER_PORT=9000) or a line of memrouter.toml (port = 9000); see
    docs/reference/settings.md.
    """
    os.umask(0o077)  # data folders, backups and exports are their owner's alone
    if data_dir:
        os.environ[PREFIX + "DATA_DIR"] = data_dir
    if file:
        os.environ[PREFIX + "CONFIG"] = str(file)

    def config() -> Config:
        from memrouter import start  # noqa: PLC0415 - help must come at once

        loaded = load(os.environ, file)
        if ctx.invoked_subcommand not in _BEGIN:
            start.refuse_missing(loaded)
        return loaded

    ctx.obj = config


@cli.command()
@click.option("--host", help="Address to listen on [default: 127.0.0.1]; 0.0.0.0 for all.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on [default: 8484].")
@click.option(
    "--workers", type=click.IntRange(1), help="Processes over the same data [default: 1]."
)
@click.pass_obj
def serve(
    config: Callable[[], Config], host: str | None, port: int | None, workers: int | None
) -> None:
    """Start the router.

    The first start makes an account key and shows it once. Stop with Ctrl-C or SIGTERM: running
    requests finish (MEMROUTER_STOP_TIMEOUT_S), what was accepted is stored.
    """
    from memrouter.server import serve as run  # noqa: PLC0415 - help must not load the server

    for name, value in (("HOST", host), ("PORT", port), ("WORKERS", workers)):
        if value is not None:
            os.environ[PREFIX + name] = str(value)
    run(config(), click.echo)


@cli.command()
def demo() -> None:
    """See a memory last across two conversations and a restart. Needs no provider key."""
    from memrouter.demo import run  # noqa: PLC0415

    if not run(Console()):
        raise SystemExit(1)


@cli.command()
@click.option("--deep", is_flag=True, help="Check every vault instead, each row of it.")
@click.option(
    "--repair",
    is_flag=True,
    help="As --deep, and make anew what is wrong and can be made from the memories.",
)
@click.pass_obj
def doctor(config: Callable[[], Config], deep: bool, repair: bool) -> None:
    """Check that everything is in place; say what to do where it is not.

    The store, the embedder and its speed, each configured provider and its key, and a whole
    request through a server started for it. Ends with status 1 if anything is wrong.

    --deep reads every vault: what SQLite finds, rows whose owners are gone, what recall scores
    against the texts, chunks without vectors.

    --repair does so, too, and makes anew what memories give in vaults that are not right: indexes
    and index terms at once, vectors when the server starts next. Rows whose owners are gone are
    deleted; memories stay as they are. Damaged pages come only from a backup: `memrouter restore
    FOLDER --vault ID --force`.
    """
    if deep or repair:
        from memrouter.custody import examine_deeply  # noqa: PLC0415

        if not examine_deeply(config(), Console(), repair=repair):
            raise SystemExit(1)
        return
    from memrouter.doctor import examine  # noqa: PLC0415

    if not asyncio.run(examine(config(), Console())):
        raise SystemExit(1)


@cli.group()
def keys() -> None:
    """Create, list, rotate and revoke keys; also while the server runs."""


@keys.command("create")
@click.argument("name", default="New Key")
@click.option("--account", is_flag=True, help="An account key: it may mint and manage keys.")
@click.pass_obj
def keys_create(config: Callable[[], Config], name: str, account: bool) -> None:
    """Mint a memory key labelled NAME and print it; it is never shown again.

    One key a user of your app: each has a vault of its own.
    """
    from memrouter.edge.auth import digest, masked, mint  # noqa: PLC0415

    key = mint()

    async def create(directory: Directory) -> None:
        owner = await directory.first_account() or await directory.add_account()
        await directory.add_key(
            owner,
            digest(key),
            masked=masked(key),
            name=name,
            now=datetime.now(UTC),
            is_account=account,
        )

    _with_directory(config(), create)
    click.echo(key)


@keys.command("list")
@click.pass_obj
def keys_list(config: Callable[[], Config]) -> None:
    """List keys by id; the keys themselves are not kept."""

    async def rows(directory: Directory) -> list[tuple[str, ...]]:
        account = await directory.first_account()
        if account is None:
            return []
        return [
            (
                k.id,
                k.masked,
                escape(k.name),
                "account" if k.is_account else "",
                f"{k.created:%Y-%m-%d}",
            )
            for k in await directory.keys(account)
        ]

    table = Table("id", "key", "name", "kind", "created", box=None)
    for row in _with_directory(config(), rows):
        table.add_row(*row)
    Console().print(table)


@keys.command("rotate")
@click.argument("id")
@click.pass_obj
def keys_rotate(config: Callable[[], Config], id: str) -> None:
    """Give key ID a new secret and print it; its memory stays, the old secret is dead."""
    from memrouter.edge.auth import digest, masked, mint  # noqa: PLC0415

    key = mint()

    async def rotate(directory: Directory) -> None:
        account = await directory.first_account()
        now = datetime.now(UTC)
        if account is None or not await directory.rotate_key(
            account, KeyId(id), digest(key), masked(key), now
        ):
            raise _no_key(id)

    _with_directory(config(), rotate)
    click.echo(key)


@keys.command("revoke")
@click.argument("id")
@click.pass_obj
def keys_revoke(config: Callable[[], Config], id: str) -> None:
    """Revoke key ID at once; its memory stays in the account."""

    async def revoke(directory: Directory) -> None:
        account = await directory.first_account()
        keys = await directory.keys(account) if account else ()
        if [key.id for key in keys if key.is_account] == [id]:
            raise Conflict(
                "This is the last account key",
                "Make another first: `memrouter keys create NAME --account`",
            )
        if account is None or not await directory.revoke_key(account, KeyId(id), datetime.now(UTC)):
            raise _no_key(id)

    _with_directory(config(), revoke)
    click.echo(f"Revoked {id}")


def _no_key(id: str) -> NotFound:
    return NotFound(f"There is no key {id}", "`memrouter keys list` shows the ids")


def _with_directory(config: Config, work: Callable[[Directory], Awaitable[Result]]) -> Result:
    from memrouter.app import open_directory  # noqa: PLC0415

    async def run() -> Result:
        directory = open_directory(config)
        try:
            return await work(directory)
        finally:
            await directory.close()

    return asyncio.run(run())


for _command in COMMANDS:
    cli.add_command(_command)


def main() -> None:
    """Entry point of the `memrouter` command."""
    cli(prog_name="memrouter")


if __name__ == "__main__":
    main()
