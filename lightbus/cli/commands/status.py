"""``lightbus status``."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, Literal

import click

from lightbus.cli.help import Command
from lightbus.cli.manifest_options import begin, format_option, manifest_options, scan_option
from lightbus.cli.outboxes import how_full, outboxes_in
from lightbus.cli.wording import line_width
from lightbus.exceptions import ConfigurationError, TransportError, TransportUnavailable
from lightbus.host.checks import client_for
from lightbus.insight.overview import OutboxStatus, Overview, overview
from lightbus.manifest.model import Manifest
from lightbus.outbox.relays import Outbox
from lightbus.runtime.portal import run

if TYPE_CHECKING:
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

#: Seconds between two looks.
_INTERVAL = 2.0
#: Seconds that one of them may take.
_PATIENCE = 5.0


@click.command("status", cls=Command, epilog="Example: lightbus status --watch")
@click.option("-w", "--watch", is_flag=True, help="Look again every 2 seconds, until Ctrl-C.")
@click.option("--json", "form", flag_value="json", help="As --format json.")
@format_option("text", "json", help="Tables for people, or one line of JSON per look, with everything.")
@scan_option
@manifest_options
def command(watch: bool, form: Literal["text", "json"], scan: bool, **options: Any) -> None:
    """Show the processes on the bus, who serves which API, and what waits for each listener.

    Nothing has to run for that: it is what Redis knows. The first column of each table says what needs help.
    """
    manifest = begin(options, "error", "text")
    looks = _looks(manifest, watch, scan)
    run(_show_json(looks) if form == "json" else _show(looks, watch=watch))


async def _looks(manifest: Manifest, watch: bool, scan: bool) -> AsyncIterator[Overview | str]:
    """Look once, or again and again; later on it may be told why there is nothing to see."""
    client = client_for(manifest)
    listened = {name: options.pairs for name, options in manifest.listeners.items() if options.enabled}
    own = _own_outboxes(manifest)
    try:
        first = await overview(client, manifest.apis, listened, scan=scan)
        yield await _with_outboxes(first, client.service_name, *own)
        if first.unreachable and not watch:
            raise TransportUnavailable("\n".join(first.unreachable))
        while watch:
            await asyncio.sleep(_INTERVAL)
            try:
                async with asyncio.timeout(_PATIENCE):
                    seen = await overview(client, manifest.apis, listened)
                look: Overview | str = await _with_outboxes(seen, client.service_name, *own)
            except TransportError as e:
                look = str(e)
            except TimeoutError:
                addresses = sorted({address for _, _, address in client.transports().made()})
                look = f"no answer from {', '.join(addresses)}; trying again"
            yield look
    finally:
        await client.close_async()


def _own_outboxes(manifest: Manifest) -> tuple[Sequence[Outbox], list[str]]:
    """Return what connects to the outboxes of a manifest; or sentences that say why that can't be done."""
    try:
        return (outboxes_in(manifest) if manifest.outbox.names else ()), []
    except ConfigurationError as e:
        return (), [f"how full the outboxes are can't be told: {line}" for line in str(e).splitlines()]


async def _with_outboxes(
    seen: Overview, service: str, outboxes: Sequence[Outbox], notes: Sequence[str]
) -> Overview:
    """Add how full the outboxes of this service are, as their databases say."""
    known = {(it.service, it.name): it for it in seen.outboxes}
    notes = [*seen.notes, *notes]
    async for name, found in how_full(outboxes):
        # A service without a name in the manifest has that of its first API.
        key = next((each for each in known if each[1] == name and service in ("", each[0])), (service, name))
        it = known.setdefault(key, OutboxStatus(*key))
        if isinstance(found, str):
            notes.append(f"the outbox {name} can't be read: {found}")
        else:
            known[key] = replace(it, rows=found.rows, oldest=found.oldest, failed=found.failed)
    return replace(seen, notes=notes, outboxes=[known[key] for key in sorted(known)])


async def _show_json(looks: AsyncIterator[Overview | str]) -> None:
    async for look in looks:
        shown = {"error": look} if isinstance(look, str) else asdict(look)
        click.echo(json.dumps(shown, ensure_ascii=False))


async def _show(looks: AsyncIterator[Overview | str], *, watch: bool) -> None:
    from lightbus.cli.status_screen import Look, looked, screen
    from lightbus.cli.tables import console

    output, last = console(), Look(None, 0.0)
    is_live = watch and sys.stdout.isatty()
    with _live(output) if is_live else nullcontext() as live:
        async for look in looks:
            last = Look(last.seen, last.at, look) if isinstance(look, str) else looked(look, last)
            clock = f"lightbus status at {time.strftime('%H:%M:%S')}, every {_INTERVAL:g} s; Ctrl-C ends it"
            lines = screen(last, line_width(), output.height if live else None, clock if watch else "")
            if live:
                live.update(_joined(lines), refresh=True)
            else:
                # At once: a line by itself takes several times as long, and a bus may have a thousand.
                output.print(_joined(lines))


def _live(output: Console) -> Live:
    from rich.live import Live

    return Live(console=output, auto_refresh=False, screen=True)


def _joined(lines: Iterator[Text]) -> Text:
    from rich.text import Text

    return Text("\n", no_wrap=True).join(lines)
