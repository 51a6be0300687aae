"""``lightbus resume``."""

from __future__ import annotations

from typing import Any

import click

from lightbus.bus.client import BusClient
from lightbus.cli.acting import actor, because_option, on_the_bus, tell_resume
from lightbus.cli.completion import groups
from lightbus.cli.help import Command
from lightbus.cli.manifest_options import begin, manifest_options, scan_option
from lightbus.host.logs import on_one_line
from lightbus.insight.control import pauses
from lightbus.insight.control.pauses import Heeded, Target


@click.command("resume", cls=Command, epilog="Example: lightbus resume shop-mailer")
@click.argument("listener", metavar="LISTENER", shell_complete=groups)
@because_option
@scan_option
@manifest_options
def command(listener: str, because: str, scan: bool, **options: Any) -> None:
    """Let a listener that was paused go on, with what has come meanwhile."""
    manifest = begin(options)

    async def act(client: BusClient, names: list[str]) -> tuple[Target, Heeded]:
        target = await pauses.find(client, names, listener, manifest.listeners, scan=scan)
        if target.pause is None:
            raise click.ClickException(f"the listener {on_one_line(target.group)} is not paused")
        return target, await pauses.resume(client, target, by=actor(because))

    target, heeded = on_the_bus(manifest, act)
    tell_resume(target.group, heeded, nobody="no process runs it now", late="does not take events yet")
