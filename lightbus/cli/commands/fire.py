"""``lightbus fire``."""

from __future__ import annotations

from typing import Any

import click

from lightbus.cli.arguments import parse, split
from lightbus.cli.completion import events, parameters_of
from lightbus.cli.help import Command
from lightbus.cli.manifest_options import begin, manifest_options
from lightbus.cli.plugins import act
from lightbus.cli.project import project_bus


@click.command(
    "fire",
    cls=Command,
    epilog="Example: lightbus fire auth.user_registered username=admin email=admin@example.com",
)
@click.argument("event", shell_complete=events)
@click.argument("arguments", nargs=-1, metavar="[NAME=VALUE]...", shell_complete=parameters_of("events"))
@click.option("--json", "whole", metavar="OBJECT", help="All arguments as one JSON object.")
@manifest_options
def command(event: str, arguments: tuple[str, ...], whole: str | None, **options: Any) -> None:
    """Fire EVENT, such as auth.user_registered, and print its id.

    Only the service that owns an API fires its events, so the bus modules are imported first. Values are JSON
    where they parse, else strings.
    """
    api_name, name = split(event)
    kwargs = parse(arguments, whole)
    manifest = begin(options)
    client = project_bus(manifest, fires_imported=True).client
    print(act(client, manifest, lambda: client.fire_event(api_name, name, kwargs)).id)
