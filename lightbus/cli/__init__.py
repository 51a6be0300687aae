"""The command ``lightbus``: one file per command, loaded when it is named."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

import click
from click.shell_completion import CompletionItem

from lightbus import __version__
from lightbus.cli import completion
from lightbus.cli.help import Group
from lightbus.exceptions import ConfigurationError, LightbusException, TransportUnavailable
from lightbus.host.shutdown import (
    EXIT_CONFIG,
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_UNAVAILABLE,
    EXIT_USAGE,
    end_with,
)
from lightbus.runtime.interpreter import prepare_streams

#: Said here, so that no command's module is imported to list them.
COMMANDS = {
    "acl": "Write users for Redis who may do what their services do.",
    "audit": "Show who has done what to the bus.",
    "call": "Call a procedure.",
    "check": "Say everything that is wrong with the manifest.",
    "completion": "Print what makes a shell complete commands.",
    "config": "Show what is configured, or what can be.",
    "contract": "Compare, print and copy the contracts of APIs.",
    "dlq": "Look after events that were put aside.",
    "doctor": "Look at everything at once, and say what to do.",
    "dumpconfigschema": "Write the JSON Schema of a manifest, for editors.",
    "dumpschema": "Write the contracts of this project's APIs.",
    "export": "Write what runs this service: systemd, Docker, Kubernetes.",
    "fire": "Fire an event.",
    "graph": "Draw who owns, calls and listens to which API.",
    "group": "Look after the groups of listeners.",
    "init": "Write a first manifest and bus module.",
    "inspect": "Search the events on the bus.",
    "outbox": "Look after events in databases that can't be sent.",
    "pause": "Let a listener take no events for a while.",
    "plan": "Say what a deployment changes on the bus.",
    "relay": "Send events of outboxes, and do nothing else.",
    "resume": "Let a listener that was paused go on.",
    "run": "Host this project's APIs, listeners and tasks.",
    "schedule": "Look at what is called at set times; run it now; pause it.",
    "shell": "Try the bus out in Python.",
    "status": "Show who is on the bus, and what waits there.",
    "types": "Write a module of typed clients.",
    "version": "Print the versions of Lightbus and what it uses.",
    "web": "Show the bus in a browser.",
}


class _Commands(Group):
    """Imports a command's module when it is needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            # A plugin's, if anybody's.
            return super().get_command(ctx, cmd_name)
        command: click.Command = importlib.import_module(f"{__name__}.commands.{cmd_name}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if completion.is_asked() and args[0] in COMMANDS and not completion.wants_option():
            # Looking for plugins takes longer than all else, and they add no names.
            return super().resolve_command(ctx, args)
        offered = importlib.import_module("importlib.metadata").entry_points(group="lightbus_plugins")
        if any(not entry.value.startswith("lightbus.") for entry in offered):
            importlib.import_module(f"{__name__}.plugins").extend(self, ctx, args)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(sorted(COMMANDS.items()))

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        found = [CompletionItem(n, help=text) for n, text in COMMANDS.items() if n.startswith(incomplete)]
        return [*found, *click.Command.shell_complete(self, ctx, incomplete)]


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Example: lightbus init && lightbus run",
)
@click.version_option(__version__, prog_name="lightbus")
def cli() -> None:
    """Host and use a message bus for Python services over Redis."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit.

    The status is 0, or 1 for a failure, 64 for misuse, 69 if Redis stays away, 78 for a wrong
    configuration, 130 after Ctrl-C.
    """
    prepare_streams()
    if completion.is_asked():
        completion.answer(cli)
    try:
        status = _run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader has enough, as `head` does. Python would try to write the rest when it ends. (What fails
        # while a command runs ends in click, in the same way.)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = EXIT_FAILED
    sys.exit(status)


def program() -> None:
    """Be the program: as :func:`main`, and once Ctrl-C has ended the command, it changes nothing any more.

    Who presses it again while the last threads end gets neither a traceback nor another status.
    """
    try:
        try:
            main()
        except KeyboardInterrupt:
            raise SystemExit(EXIT_INTERRUPTED) from None
    except SystemExit as e:
        if e.code == EXIT_INTERRUPTED:
            end_with(EXIT_INTERRUPTED)
        raise


def _run(arguments: Sequence[str] | None) -> int:
    try:
        # Left to click, it is in colour on a terminal.
        colour = False if os.environ.get("NO_COLOR") else None
        status = cli.main(args=arguments, prog_name="lightbus", standalone_mode=False, color=colour)
    except click.UsageError as e:
        e.show()
        return EXIT_USAGE
    except click.ClickException as e:
        e.show()
        return EXIT_FAILED
    except click.exceptions.Abort:
        return EXIT_INTERRUPTED
    except ConfigurationError as e:
        _complain(str(e))
        return EXIT_CONFIG
    except LightbusException as e:
        _complain(f"{type(e).__name__}: {e}")
        return EXIT_UNAVAILABLE if isinstance(e, TransportUnavailable) else EXIT_FAILED
    except OSError as e:
        if e.filename is None:
            raise
        _complain(f"{e.filename}: {e.strerror}")
        return EXIT_FAILED
    return status if isinstance(status, int) else 0


def _complain(text: str) -> None:
    # Not at the top: what it imports takes longer than the help.
    importlib.import_module(f"{__name__}.wording").complain(text)
