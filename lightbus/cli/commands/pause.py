"""``lightbus pause``."""

from __future__ import annotations

from typing import Any

import click

from lightbus.bus.client import BusClient
from lightbus.cli.acting import actor, because_option, in_time, on_the_bus, until_option
from lightbus.cli.completion import groups
from lightbus.cli.help import Command
from lightbus.cli.manifest_options import begin, manifest_options, scan_option
from lightbus.cli.wording import complain
from lightbus.host.logs import on_one_line
from lightbus.insight.control import pauses
from lightbus.insight.control.pauses import Heeded, Target
from lightbus.transports.unserved import consequence
from lightbus.values.wording import counted


@click.command("pause", cls=Command, epilog="Example: lightbus pause shop-mailer --until 2h")
@click.argument("listener", metavar="LISTENER", shell_complete=groups)
@until_option
@because_option
@scan_option
@manifest_options
def command(listener: str, until: float | None, because: str, scan: bool, **options: Any) -> None:
    """Let a listener take no events, in all processes of its service, until it is resumed.

    What it has begun is finished. Events wait for it, also while its processes are started again.
    """
    manifest = begin(options)

    async def act(client: BusClient, names: list[str]) -> tuple[Target, float | None, Heeded]:
        target = await pauses.find(client, names, listener, manifest.listeners, scan=scan)
        ends = await pauses.end_in(client, until)
        return target, ends, await pauses.pause(client, target, ends, actor(because))

    target, ends, heeded = on_the_bus(manifest, act)
    print(f"paused: {on_one_line(target.group)}{in_time(ends)}")
    if not (heeded.by or heeded.not_by):
        complain("no process runs it now; it stays paused when one is started")
    if heeded.running:
        complain(f"it has begun {counted(heeded.running, 'event')}, which it finishes")
    for status in target.groups:
        complain(on_one_line(f"what is fired waits for it: {consequence(status)}"))
    for name in pauses.without_card(target, heeded):
        complain(on_one_line(f"{name} reads its events, too, and is a Lightbus 1.x or may not heed pauses"))
    if heeded.not_by:
        raise click.ClickException(on_one_line(pauses.not_heeded(heeded, "takes events still")))
