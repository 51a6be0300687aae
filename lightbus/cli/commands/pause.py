"""``lightbus pause``."""

from __future__ import annotations

from typing import Any

import click

from lightbus.bus.client import BusClient
from lightbus.cli.acting import actor, because_option, on_the_bus, tell_pause, until_option
from lightbus.cli.completion import groups
from lightbus.cli.help import Command
from lightbus.cli.manifest_options import begin, manifest_options, scan_option
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
    more = [f"it has begun {counted(heeded.running, 'event')}, which it finishes"] if heeded.running else []
    more += [f"what is fired waits for it: {consequence(status)}" for status in target.groups]
    more += [
        f"{name} reads its events, too, and is a Lightbus 1.x or may not heed pauses"
        for name in pauses.without_card(target, heeded)
    ]
    nobody = "no process runs it now; it stays paused when one is started"
    tell_pause(target.group, ends, heeded, nobody=nobody, late="takes events still", more=more)
