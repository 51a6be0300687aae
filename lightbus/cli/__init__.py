"""The command ``lightbus``: one file per command, loaded when it is named."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

import click

from lightbus import __version__
from lightbus.exceptions import ConfigurationError, LightbusException

EXIT_FAILED = 1
EXIT_USAGE = 64
EXIT_CONFIG = 78

_COMMANDS = (
    *("call", "check", "config", "contract", "dlq", "dumpconfigschema", "dumpschema", "fire", "init"),
    "run",
)


class _Commands(click.Group):
    """Imports a command's module when it is needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            # A plugin's, if anybody's.
            return super().get_command(ctx, cmd_name)
        command: click.Command = importlib.import_module(f"{__name__}.{cmd_name}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        offered = importlib.import_module("importlib.metadata").entry_points(group="lightbus_plugins")
        if any(not entry.value.startswith("lightbus.") for entry in offered):
            importlib.import_module(f"{__name__}.plugins").extend(self, ctx, args)
        return super().resolve_command(ctx, args)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="lightbus")
def cli() -> None:
    """Host and use a message bus for Python services over Redis."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0, 1 for a failure, 64 for misuse, 78 for a wrong configuration."""
    try:
        status = cli.main(args=arguments, prog_name="lightbus", standalone_mode=False)
    except click.UsageError as e:
        e.show()
        sys.exit(EXIT_USAGE)
    except click.ClickException as e:
        e.show()
        sys.exit(EXIT_FAILED)
    except click.exceptions.Abort:
        sys.exit(130)
    except ConfigurationError as e:
        print(e, file=sys.stderr)
        sys.exit(EXIT_CONFIG)
    except LightbusException as e:
        print(f"{type(e).__name__}: {e}", file=sys.stderr)
        sys.exit(EXIT_FAILED)
    sys.exit(status if isinstance(status, int) else 0)
