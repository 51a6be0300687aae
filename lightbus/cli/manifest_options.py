"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args

import click
from click.shell_completion import CompletionItem

from lightbus.cli.help import LOG, MANIFEST, shared_option
from lightbus.host import logs
from lightbus.manifest.load import load
from lightbus.manifest.making.overrides import FLAGS
from lightbus.manifest.model import LogFormat, LogLevel, Manifest

F = TypeVar("F", bound=Callable[..., Any])


def complete_files(context: click.Context, option: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Let the shell complete the names of files and folders."""
    return [CompletionItem(incomplete, type="file")]


def together(*options: Callable[[F], F]) -> Callable[[F], F]:
    """Make one decorator of several options of a command, which its help lists in this order."""

    def decorate(function: F) -> F:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


#: The options from which :func:`read` makes a manifest.
manifest_options = together(
    shared_option(
        MANIFEST,
        "-c",
        "--config",
        "config",
        multiple=True,
        metavar="PATH",
        shell_complete=complete_files,
        help="A manifest: file, folder or URL; may be repeated, the later one wins.",
    ),
    shared_option(
        MANIFEST,
        "--set",
        "overrides",
        multiple=True,
        metavar="KEY=VALUE",
        help="Set one key of the manifest.",
    ),
    shared_option(
        MANIFEST,
        "-b",
        "--bus",
        "modules",
        metavar="MODULE",
        help="The bus module to import; several with commas.",
    ),
    shared_option(
        MANIFEST,
        "-s",
        "--service-name",
        metavar="NAME",
        help="The service that this process belongs to.",
    ),
    shared_option(MANIFEST, "-p", "--process-name", metavar="NAME", help="The name of this process."),
    shared_option(
        LOG,
        "--log-level",
        type=click.Choice(get_args(LogLevel), case_sensitive=False),
        metavar="LEVEL",
        help="The least severe lines that are written: debug, info, warning, error or critical.",
    ),
    shared_option(
        MANIFEST, "--trust-remote", is_flag=True, help="Let a manifest from a URL name modules and handlers."
    ),
    shared_option(
        MANIFEST,
        "--transport",
        metavar="NAME",
        help="The transport to use for everything, such as memory.",
    ),
)


#: Of commands that look for streams.
scan_option = click.option(
    "--scan",
    is_flag=True,
    help="Search each Redis as a whole for streams that nobody has noted, such as those of Lightbus 1.x.",
)


def format_option(*forms: str, help: str, short: str | None = None) -> Callable[[F], F]:
    """Declare ``--format``, of which the command gets ``form``.

    Args:
        forms: The forms, the default first.
        help: What each of them is.
        short: A letter for it, such as ``-F``.
    """
    names = ("--format", "form") if short is None else (short, "--format", "form")
    return click.option(*names, type=click.Choice(forms), default=forms[0], show_default=True, help=help)


def begin(options: Mapping[str, Any], level: str = "error", style: LogFormat | None = None) -> Manifest:
    """Log from a level on, unless ``--log-level`` says another, and read the manifest.

    Raises:
        ManifestError: It has problems.
    """
    logs.configure(options["log_level"] or level, style)
    return read(**options)


def read(**options: Any) -> Manifest:
    """Read the manifest that a command's options describe.

    Raises:
        ManifestError: It has problems.
    """
    return _read(options, unfilled=False)


def read_unfilled(**options: Any) -> Manifest:
    """Read the manifest that a command's options describe, without the variables and secrets of any place.

    Raises:
        ManifestError: It has problems.
    """
    return _read(options, unfilled=True)


def _read(options: Mapping[str, Any], *, unfilled: bool) -> Manifest:
    # Not every command has an option for each of them.
    given = {name: options[name] for name in (*FLAGS, "transport") if options.get(name)}
    flags = {name: value if isinstance(value, tuple) else str(value) for name, value in given.items()}
    return load(
        options["config"],
        overrides=options["overrides"],
        flags=flags,
        cwd=Path.cwd(),
        trust_remote=options["trust_remote"],
        unfilled=unfilled,
    )
