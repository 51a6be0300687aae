"""The help of commands: a command's own options first, those that many share in sections below."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from lightbus.declared.names import meant

F = TypeVar("F", bound=Callable[..., Any])

#: The sections of shared options.
LOG, MANIFEST = "Log", "Manifest"
_OWN = "Options"


class _Shared(click.Option):
    """An option that the help lists in a section.

    Args:
        section: The section's title.
    """

    def __init__(self, *args: Any, section: str, **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.section = section


class Command(click.Command):
    """A command whose help lists its options by section."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, the command's own first."""
        sections: dict[str, list[tuple[str, str]]] = {_OWN: [], LOG: [], MANIFEST: []}
        for option in self.get_params(ctx):
            record = option.get_help_record(ctx) if isinstance(option, click.Option) else None
            if record is not None:
                sections[option.section if isinstance(option, _Shared) else _OWN].append(record)
        for title, records in sections.items():
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)


class Group(click.Group):
    """A command with commands of its own; a slip of their names is told with the one that was meant."""

    command_class = Command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that is named, and its arguments.

        Raises:
            UsageError: There is none of that name.
        """
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as e:
            near = meant(args[0], {*self.list_commands(ctx), *self.commands})
            if near is None:
                raise
            # Some versions of click look for one, too, but not among commands that are not imported yet.
            raise click.UsageError(f"{e.message} Did you mean {near}?", ctx) from None


def shared_option(section: str, *names: str, **attributes: Any) -> Callable[[F], F]:
    """Declare an option that the help lists in a section; otherwise as ``click.option``."""
    return click.option(*names, cls=_Shared, section=section, **attributes)
