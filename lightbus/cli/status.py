"""``lightbus status``."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from lightbus.checks import client_for
from lightbus.exceptions import TransportError, TransportUnavailable
from lightbus.logs import on_one_line
from lightbus.manifest.model import Manifest
from lightbus.overview import ApiStatus, ListenerStatus, Overview, ProcessStatus, overview
from lightbus.portal import run

from .options import begin, manifest_options

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

#: Seconds between two looks.
_INTERVAL = 2.0
#: Seconds that one of them may take.
_PATIENCE = 5.0
#: What a table may take where no terminal limits it.
_WIDTH = 200


@click.command("status", epilog="Example: lightbus status --watch")
@click.option("-w", "--watch", is_flag=True, help="Look again every 2 seconds, until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="One line of JSON per look.")
@manifest_options
def command(watch: bool, as_json: bool, **options: Any) -> None:
    """Show the processes on the bus, who serves which API, and what waits for each listener.

    Nothing has to run for that: it is what Redis knows.
    """
    manifest = begin(options, "error", "text")
    show = _show_json if as_json else _watch if watch and sys.stdout.isatty() else _print
    run(show(_looks(manifest, watch)))


async def _looks(manifest: Manifest, watch: bool) -> AsyncIterator[Overview | str]:
    """Look once, or again and again; later on it may be told why there is nothing to see."""
    client = client_for(manifest)
    listened = {name: options.pairs for name, options in manifest.listeners.items() if options.enabled}
    try:
        first = await overview(client, manifest.apis, listened)
        yield first
        if first.unreachable and not watch:
            raise TransportUnavailable("\n".join(first.unreachable))
        while watch:
            await asyncio.sleep(_INTERVAL)
            try:
                async with asyncio.timeout(_PATIENCE):
                    look: Overview | str = await overview(client, manifest.apis, listened)
            except TransportError as e:
                look = str(e)
            except TimeoutError:
                addresses = sorted({address for _, _, address in client.transports().made()})
                look = f"no answer from {', '.join(addresses)}; trying again"
            yield look
    finally:
        await client.close_async()


async def _show_json(looks: AsyncIterator[Overview | str]) -> None:
    async for look in looks:
        shown = {"error": look} if isinstance(look, str) else asdict(look)
        click.echo(json.dumps(shown, ensure_ascii=False))


async def _print(looks: AsyncIterator[Overview | str]) -> None:
    console = _console()
    async for look in looks:
        console.print(_rendered(look))


async def _watch(looks: AsyncIterator[Overview | str]) -> None:
    from rich.live import Live

    with Live(console=_console(), auto_refresh=False, screen=True) as live:
        async for look in looks:
            live.update(_rendered(look), refresh=True)


def _console() -> Console:
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else _WIDTH, markup=False, highlight=False)


def _rendered(look: Overview | str) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    if isinstance(look, str):
        return Text(look)
    return Group(
        _table(
            "Processes",
            ("service", "process", "owns", "serves", "listens", "last heard of"),
            [
                (p.service or "?", p.name, *map(", ".join, (p.owns, p.serves, p.listens)), _last(p))
                for p in look.processes
            ],
        ),
        _table(
            "APIs",
            ("api", "owner", "contract", "served by", "waiting", "running"),
            [_api(api) for api in look.apis],
        ),
        _table(
            "Listeners",
            ("service", "listener", "stream", "lag", "pending", "retrying", "dead", "processes"),
            [_listener(listener) for listener in look.listeners],
        ),
        *map(Text, map(on_one_line, (*look.notes, *look.unreachable))),
    )


def _last(process: ProcessStatus) -> str:
    return "now" if process.idle is None else f"{process.idle:.0f} s ago"


def _api(it: ApiStatus) -> tuple[str, ...]:
    of_all = it.name.startswith("internal.")
    return (
        it.name,
        it.owner or ("each service" if of_all else "nobody"),
        "published" if it.is_published else "-",
        ", ".join(it.processes) or ("-" if of_all else "nobody"),
        str(it.waiting),
        str(it.running),
    )


def _listener(it: ListenerStatus) -> tuple[str, ...]:
    lag = str(it.lag) if it.lag_is_exact else f"~{it.lag}"
    counts = (lag, str(it.pending), str(it.retrying), str(it.dead))
    return (it.service, it.name, it.stream, *counts, ", ".join(it.processes) or "nobody")


def _table(title: str, columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> RenderableType:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        is_number = column in ("lag", "pending", "retrying", "dead", "waiting", "running")
        table.add_column(column, justify="right" if is_number else "left", overflow="fold")
    for row in rows or [("none", *("" for _ in columns[1:]))]:
        table.add_row(*(Text(on_one_line(cell)) for cell in row))
    return table
