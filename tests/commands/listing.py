"""All commands of the command line, as click knows them."""

from __future__ import annotations

from collections.abc import Iterator

import click

from lightbus.cli import cli

Path = tuple[str, ...]


def commands(group: click.Group = cli, path: Path = ()) -> Iterator[tuple[Path, click.Command]]:
    """Go through every command and group, each with its name in words."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


ALL = dict(commands())
LEAVES = {path: command for path, command in ALL.items() if not isinstance(command, click.Group)}
#: The options of everything that reads a manifest.
SHARED = {
    *("config", "overrides", "modules", "service_name", "process_name", "log_level", "trust_remote"),
    "transport",
}


def own_options(command: click.Command) -> list[click.Option]:
    """The options that a command does not share with all others."""
    return [p for p in command.params if isinstance(p, click.Option) and p.name not in SHARED]


def reads_manifest(command: click.Command) -> bool:
    """Whether a command takes the shared options."""
    return {parameter.name for parameter in command.params} >= SHARED
