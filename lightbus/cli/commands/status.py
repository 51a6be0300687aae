"""``lightbus status``."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import asdict
from itertools import groupby
from typing import TYPE_CHECKING, Any

import click

from lightbus.cli.manifest_options import begin, manifest_options, scan_option
from lightbus.exceptions import TransportError, TransportUnavailable
from lightbus.host.checks import client_for
from lightbus.host.logs import on_one_line
from lightbus.insight.overview import ApiStatus, ListenerStatus, Overview, ProcessStatus, overview
from lightbus.manifest.model import Manifest
from lightbus.runtime.portal import run
from lightbus.transports.unserved import duration

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

#: Seconds between two looks.
_INTERVAL = 2.0
#: Seconds that one of them may take.
_PATIENCE = 5.0
#: The most ended processes that are shown one by one, and the most that read a listener's events.
_MOST_ENDED = 3
_MOST_READERS = 5
#: The longest name that is shown in full.
_LONGEST = 80
#: The width of a table, if no terminal limits it.
_WIDTH = 200


@click.command("status", epilog="Example: lightbus status --watch")
@click.option("-w", "--watch", is_flag=True, help="Look again every 2 seconds, until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="One line of JSON per look.")
@scan_option
@manifest_options
def command(watch: bool, as_json: bool, scan: bool, **options: Any) -> None:
    """Show the processes on the bus, who serves which API, and what waits for each listener.

    Nothing has to run for that: it is what Redis knows.
    """
    manifest = begin(options, "error", "text")
    show = _show_json if as_json else _watch if watch and sys.stdout.isatty() else _print
    run(show(_looks(manifest, watch, scan)))


async def _looks(manifest: Manifest, watch: bool, scan: bool) -> AsyncIterator[Overview | str]:
    """Look once, or again and again; later on it may be told why there is nothing to see."""
    client = client_for(manifest)
    listened = {name: options.pairs for name, options in manifest.listeners.items() if options.enabled}
    try:
        first = await overview(client, manifest.apis, listened, scan=scan)
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
            list(_processes(look.processes)),
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


def _processes(processes: list[ProcessStatus]) -> Iterator[tuple[str, ...]]:
    """Go through the rows of processes; those of a service not known to live are one, where they are many."""
    for service, group in groupby(processes, lambda p: p.service):
        all_ = list(group)
        gone = [[p for p in all_ if p.state == state] for state in ("ended", "unknown")]
        many = [ended for ended in gone if len(ended) > _MOST_ENDED]
        for p in all_:
            if not any(p in folded for folded in many):
                yield p.service or "?", p.name, *map(", ".join, (p.owns, p.serves, p.listens)), _last(p)
        for folded in many:
            listeners = sorted({name for p in folded for name in p.listens})
            last = min(folded, key=lambda p: p.idle or 0.0)
            yield service or "?", f"({len(folded)} more)", "", "", ", ".join(listeners), _last(last)


def _last(process: ProcessStatus) -> str:
    if process.idle is None:
        return "now"
    state = {"alive": "", "ended": "ended, ", "unknown": "1.x, "}[process.state]
    return f"{state}{duration(process.idle)} ago"


def _api(it: ApiStatus) -> tuple[str, ...]:
    of_all = it.name.startswith("internal.")
    owner, served = ("each service", "-") if of_all else ("nobody", "nobody")
    if it.is_1x:
        owner, served = "a Lightbus 1.x", "not known (1.x)"
    return (
        it.name,
        it.owner or owner,
        "published" if it.is_published else "-",
        ", ".join(it.processes) or served,
        str(it.waiting),
        str(it.running),
    )


def _listener(it: ListenerStatus) -> tuple[str, ...]:
    lag = str(it.lag) if it.lag_is_exact else f"~{it.lag}"
    counts = (lag, str(it.pending), str(it.retrying), str(it.dead))
    readers = list(it.processes[:_MOST_READERS])
    if len(it.processes) > _MOST_READERS:
        readers.append(f"{len(it.processes) - _MOST_READERS} more")
    ended = f" ({it.ended} ended)" if it.ended else ""
    return (it.service, it.name, it.stream, *counts, (", ".join(readers) or "nobody") + ended)


def _table(title: str, columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> RenderableType:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        is_number = column in ("lag", "pending", "retrying", "dead", "waiting", "running")
        table.add_column(column, justify="right" if is_number else "left", overflow="fold")
    for row in rows or [("none", *("" for _ in columns[1:]))]:
        table.add_row(*(Text(on_one_line(_cut(cell))) for cell in row))
    return table


def _cut(cell: str) -> str:
    """Shorten the names in a cell: they come from the bus, where they may be of any length."""
    names = (name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…" for name in cell.split(", "))
    return ", ".join(names)
