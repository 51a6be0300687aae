"""``lightbus outbox``: events in databases, and those of them that can't be sent."""

from __future__ import annotations

import importlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import click

from lightbus.cli.acting import actor, because_option, confirm, need_terminal
from lightbus.cli.help import Group
from lightbus.cli.manifest_options import begin, manifest_options, together
from lightbus.cli.outboxes import outboxes_in
from lightbus.cli.tables import Column, Table
from lightbus.cli.wording import line_width
from lightbus.exceptions import OutboxError, TransportUnavailable
from lightbus.host.checks import client_for
from lightbus.insight.audit import Actor, acting
from lightbus.manifest.model import Manifest
from lightbus.outbox.database import DatabaseFailed, Remote
from lightbus.outbox.relays import need_outbox
from lightbus.outbox.rows import Stuck
from lightbus.runtime.portal import run
from lightbus.values.wording import ago, counted

#: The most rows of one database that are listed.
_MOST = 10_000
_COLUMNS = (
    Column("id", is_number=True),
    Column("written"),
    Column("event", least=10),
    Column("key", least=5),
    Column("held", is_number=True),
    Column("database", least=10),
    Column("error", least=5),
)

command = Group(
    "outbox",
    help="Look at the events of outboxes that can't be sent, retry them or drop them; print the tables.",
    epilog="Example: lightbus outbox list",
)

_to_act = together(
    click.argument("ids", nargs=-1, type=int, metavar="[ID]..."),
    click.option("--all", "everything", is_flag=True, help="All of them."),
    click.option("--database", metavar="NAME", help="Only in this one, such as django:default."),
    because_option,
    manifest_options,
)


@command.command("list", epilog="Example: lightbus outbox list --json")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line, with everything.")
@click.option("--database", metavar="NAME", help="Only in this one, such as django:default.")
@manifest_options
def list_(as_json: bool, database: str | None, **options: Any) -> None:
    """List the events that can't be sent, and say how many wait."""
    found: list[tuple[str, Stuck]] = []
    told: list[str] = []

    async def look(remote: Remote) -> None:
        found.extend((remote.name, each) for each in await remote.stuck(_MOST))
        waiting = await remote.waiting()
        oldest = f", the oldest since {ago(waiting.oldest)}" if waiting.rows else ""
        told.append(f"{remote.name}: {counted(waiting.rows, 'event')} waiting{oldest}")

    _each(begin(options), database, look)
    if as_json:
        for name, each in found:
            print(json.dumps(_fields(name, each), ensure_ascii=False))
        return
    if found:
        with Table(_COLUMNS, line_width()) as table:
            for name, each in found:
                row = each.row
                event = f"{row.api}.{row.event}"
                table.add(row.seq, ago(each.age), event, row.key, each.held, name, each.error)
    for line in told:
        print(line)
    print(f"{counted(len(found), 'event')} that can't be sent")


@command.command("ddl", epilog="Example: lightbus outbox ddl --dialect postgresql > outbox.sql")
@click.option(
    "--dialect",
    type=click.Choice(("postgresql", "mysql", "sqlite")),
    required=True,
    help="The database they are for; MariaDB takes those for mysql.",
)
def ddl(dialect: str) -> None:
    """Print the statements that make the tables, where neither Django nor Alembic is to do it.

    They come from SQLAlchemy's definitions, so the extra sqlalchemy is needed: pip install
    'lightbus[sqlalchemy]'. Programs that use the tables do without it.
    """
    found = importlib.import_module("lightbus.sqlalchemy.ddl").statements(dialect)
    print("\n\n".join(f"{statement};" for statement in found))


@command.command("retry", epilog="Example: lightbus outbox retry 4711")
@_to_act
def retry(ids: tuple[int, ...], everything: bool, database: str | None, because: str, **options: Any) -> None:
    """Have events sent again that could not be sent, and then those of their keys that wait for them."""
    _act("sent again", ids, everything, begin(options), database, Remote.retry, actor(because))


@command.command("drop", epilog="Example: lightbus outbox drop 4711")
@_to_act
@click.option("--yes", is_flag=True, help="Do not ask first.")
def drop(
    ids: tuple[int, ...], everything: bool, yes: bool, database: str | None, because: str, **options: Any
) -> None:
    """Delete events that can't be sent for good; those that wait for them go on. Asks, unless --yes."""
    manifest = begin(options)
    if everything and not yes:
        need_terminal("this deletes events for good, and ")
        confirm("Drop all events that can't be sent for good?", "nothing was dropped")
    _act("dropped", ids, everything, manifest, database, Remote.drop, actor(because))


def _act(
    done: str,
    ids: Sequence[int],
    everything: bool,
    manifest: Manifest,
    database: str | None,
    act: Callable[[Remote, Sequence[int] | None], Awaitable[int]],
    by: Actor,
) -> None:
    if bool(ids) == everything:
        raise click.UsageError("say which ones by ids; or all of them by --all")
    if ids and database is None and len(manifest.outbox.names) > 1:
        raise click.UsageError("there are several databases with such ids; say which one by --database")
    number = 0

    async def use(remote: Remote) -> None:
        nonlocal number
        chosen = {"ids": " ".join(map(str, ids)) if ids else "all"}
        client = client_for(manifest)
        try:
            async with acting(client, by, f"outbox.{act.__name__}", remote.name, chosen) as doing:
                doing.count = await act(remote, None if everything else ids)
        finally:
            await client.close_async()
        number += doing.count

    _each(manifest, database, use)
    if ids and not number:
        raise click.ClickException("there is no such event; lightbus outbox list shows those there are")
    print(f"{counted(number, 'event')} {done}")


def _each(manifest: Manifest, database: str | None, use: Callable[[Remote], Awaitable[None]]) -> None:
    """Use each outbox of a manifest, or the one that is meant."""
    need_outbox(manifest)
    outboxes = outboxes_in(manifest)

    async def all_of_them() -> AsyncIterator[str]:
        for outbox in outboxes:
            remote = outbox()
            try:
                if database in (None, remote.name):
                    await use(remote)
                yield remote.name
            finally:
                await remote.close()

    async def names() -> list[str]:
        return [name async for name in all_of_them()]

    try:
        known = run(names())
    except (DatabaseFailed, OutboxError) as e:
        raise TransportUnavailable(f"the outbox can't be read: {e}") from e
    if database is not None and database not in known:
        raise click.UsageError(f"the manifest names no database {database!r}; it has {', '.join(known)}")


def _fields(name: str, stuck: Stuck) -> dict[str, Any]:
    row = stuck.row
    return {
        "id": row.seq,
        "database": name,
        "event": f"{row.api}.{row.event}",
        "event_id": row.event_id,
        "key": row.key,
        "held": stuck.held,
        "age": round(stuck.age, 3),
        "attempts": stuck.attempts,
        "error": stuck.error,
        "kwargs": row.kwargs,
    }
