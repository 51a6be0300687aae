"""``lightbus pause``."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import click

from lightbus.bus.client import BusClient
from lightbus.cli.acting import actor, because_option, on_the_bus
from lightbus.cli.completion import groups
from lightbus.cli.help import Command
from lightbus.cli.manifest_options import begin, manifest_options, scan_option
from lightbus.cli.wording import complain
from lightbus.exceptions import InvalidParameters
from lightbus.host.logs import on_one_line
from lightbus.insight.control import pauses
from lightbus.insight.control.pauses import Heeded, Target
from lightbus.transports.unserved import consequence
from lightbus.values.wording import counted


@click.command("pause", cls=Command, epilog="Example: lightbus pause shop-mailer --until 2h")
@click.argument("listener", metavar="LISTENER", shell_complete=groups)
@click.option(
    "--until",
    metavar="TIME",
    help="When it goes on by itself: 2h for two hours from now, or 2026-01-31T12:00:00Z; left out, never.",
)
@because_option
@scan_option
@manifest_options
def command(listener: str, until: str | None, because: str, scan: bool, **options: Any) -> None:
    """Let a listener take no events, in all processes of its service, until it is resumed.

    What it has begun is finished. Events wait for it, also while its processes are started again.
    """
    manifest = begin(options)
    try:
        seconds = None if until is None else pauses.seconds_until(until)
    except InvalidParameters as e:
        raise click.BadParameter(str(e), param_hint="--until") from None

    async def act(client: BusClient, names: list[str]) -> tuple[Target, float | None, Heeded]:
        target = await pauses.find(client, names, listener, manifest.listeners, scan=scan)
        now = await client.transports().schema().now()
        ends = None if seconds is None else now + seconds
        return target, ends, await pauses.pause(client, target, ends, actor(because))

    target, ends, heeded = on_the_bus(manifest, act)
    when = "" if ends is None else f" until {_local(ends)}"
    print(f"paused: {on_one_line(target.group)}{when}")
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


def _local(at: float) -> str:
    return datetime.fromtimestamp(at).astimezone().isoformat(timespec="seconds")
