"""``lightbus config``."""

from __future__ import annotations

from typing import Any

import click

from lightbus.cli.help import Group
from lightbus.cli.manifest_options import manifest_options, read
from lightbus.manifest.printing.effective import show
from lightbus.manifest.printing.jsonschema import json_schema


@click.group("config", cls=Group, epilog="Example: lightbus config show")
def command() -> None:
    """Show what is configured, or what can be."""


@command.command("show", epilog="Example: lightbus config show -c config --origin")
@manifest_options
@click.option("--origin", is_flag=True, help="Add the file and line of each value.")
def show_command(origin: bool, **options: Any) -> None:
    """Print the effective manifest as YAML, with every layer merged and secrets hidden."""
    print(show(read(**options), origin=origin), end="")


@command.command("schema", epilog="Example: lightbus config schema > lightbus.schema.json")
def schema_command() -> None:
    """Print the JSON Schema of a manifest, for editors; installed plugins and transports included."""
    print(json_schema(), end="")
