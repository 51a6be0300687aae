"""``lightbus run``."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from io import TextIOWrapper
from pathlib import Path
from typing import Any, get_args

import click

from lightbus.cli.help import LOG, Command, shared_option
from lightbus.cli.manifest_options import manifest_options, read
from lightbus.cli.plugins import spoken
from lightbus.declared.settings import FEATURES, Feature
from lightbus.exceptions import MissingExtra
from lightbus.host import logs
from lightbus.host.banner import tell_start
from lightbus.host.host import Host
from lightbus.host.http import serving
from lightbus.host.processes.child import as_child, follow_supervisor
from lightbus.host.processes.crew import this_command
from lightbus.host.processes.imports import telling_imports
from lightbus.host.processes.overseer import Overseer, overseer_of
from lightbus.host.processes.reloading import Reloading
from lightbus.host.processes.reporter import reporting
from lightbus.host.processes.supervisor import Supervisor
from lightbus.host.shutdown import end_with
from lightbus.manifest import DEFAULT_FILE
from lightbus.manifest.model import LogFormat, Manifest
from lightbus.runtime.interpreter import refuse_shadows

logger = logging.getLogger(__name__)

_UNTOLD = (
    "NOTIFY_SOCKET is set, but with --reload nobody is told when this is ready or how it is: leave --reload "
    "out where a service manager starts it"
)


@click.command("run", cls=Command, epilog="Example: lightbus run -c config --log-level debug")
@click.option("-o", "--only", metavar="FEATURES", help="Do only these: any of rpcs,events,tasks,outbox.")
@click.option("-k", "--skip", metavar="FEATURES", help="Do all but these: any of rpcs,events,tasks,outbox.")
@click.option(
    "--processes",
    type=click.IntRange(1, 1024),
    metavar="N",
    help="How many processes host it, instead of as many as processes in the manifest says.",
)
@click.option(
    "--reload",
    is_flag=True,
    help="For development: start again whenever a module, what it imports from this project, or the "
    "manifest changes.",
)
@click.option("--web", is_flag=True, help="Also serve the console, as lightbus web does, by the keys of web.")
@click.option(
    "--fail-fast", is_flag=True, help="End with status 69 where Redis does not answer at the start."
)
@click.option(
    "-m",
    "--schema",
    type=click.Path(exists=True, path_type=Path),
    metavar="FILE_OR_DIRECTORY",
    help="Contracts of APIs of others, as lightbus dumpschema writes them, in place of those on the bus.",
)
@shared_option(
    LOG,
    "--log-format",
    type=click.Choice(get_args(LogFormat), case_sensitive=False),
    help="How log lines look: text for people, or json, one object a line. If neither this nor "
    "bus.log_format says it: text on a terminal and JSON elsewhere, as in a pipe or a file.",
)
@manifest_options
def command(
    only: str | None,
    skip: str | None,
    schema: Path | None,
    fail_fast: bool,
    reload: bool,
    web: bool,
    **options: Any,
) -> int:
    """Host the APIs, listeners and tasks of this project's bus modules until SIGTERM or Ctrl-C."""
    features = _features(only, skip)
    if reload and fail_fast:
        raise click.UsageError(
            "--fail-fast ends the host where it can't start, and --reload waits for a change then; leave one "
            "of them out"
        )
    number, overseer = begin_host(options), overseer_of(os.environ)
    has_console = web and (number is None or (reload and number == 1))

    def read_again() -> Manifest:
        manifest = read(**options)
        return as_child(manifest, number) if number is not None else manifest

    if reload and number is None:
        if overseer is not None:
            logger.warning(_UNTOLD)
        named = _files_named(options["config"], schema)
        return Reloading(read_again, this_command(), Path.cwd(), named).run()
    manifest = read_again()
    logs.configure(manifest.bus.log_level, manifest.bus.log_format)
    beside = partial(_console, manifest, has_console)
    if number is None:
        tell_start(manifest)
        if manifest.processes > 1:
            return Supervisor(manifest, this_command(), Path.cwd(), overseer, beside).run()
    for problem in manifest.notes if number in (None, 1) else ():
        if problem.severity == "warning":
            logger.warning("%s", problem)
    host = Host(
        manifest,
        features=features,
        fail_fast=fail_fast,
        reread=read_again,
        arguments=spoken(),
        number=number,
        beside=beside,
    )
    if schema is not None:
        host.bus.schema.load_local(schema)
    return host_until_end(host, overseer)


def _console(manifest: Manifest, is_wanted: bool) -> AbstractContextManager[None]:
    """Serve the console for as long as the host runs, where that is wanted.

    Raises:
        ConfigurationError: The address can't be listened at, or an extra is missing.
    """
    if not is_wanted:
        return nullcontext()
    # Not at the top: a host without it does without its memory.
    try:
        from lightbus.web.server import beside
    except ImportError as e:
        raise MissingExtra("lightbus run --web", "web") from e
    return beside(manifest)


def host_until_end(host: Host, overseer: Overseer | None) -> int:
    """Run a host, with what is told of it by HTTP and to whoever looks after it; returns the exit status."""
    with telling_imports(), serving(host), reporting(host, overseer, supervised=not host.is_alone):
        status = host.run(for_good=True)
        end_with(status)
    return status


def begin_host(options: Mapping[str, Any]) -> int | None:
    """Prepare this process for hosting; return which of a supervisor's processes it is, if it has one."""
    # Before any process is started that would be at a loss.
    refuse_shadows(Path.cwd())
    if isinstance(sys.stdout, TextIOWrapper):
        # Output of a handler is seen at once, also in a pipe or a file.
        sys.stdout.reconfigure(line_buffering=True)
    logs.configure(options["log_level"] or "info", options["log_format"])
    # Until the host is there to do something about it.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    return follow_supervisor()


def _files_named(manifests: Sequence[str], schema: Path | None) -> list[str]:
    """Return the manifests, and the files with contracts, that this process was told to read."""
    named = [*(manifests or [os.environ.get("LIGHTBUS_CONFIG") or DEFAULT_FILE])]
    if schema is not None:
        named += map(str, [schema, *sorted(schema.glob("*.json"))] if schema.is_dir() else [schema])
    return named


def _features(only: str | None, skip: str | None) -> tuple[Feature, ...] | None:
    if only and skip:
        raise click.UsageError("--only and --skip exclude each other")
    named = [name.strip() for name in (only or skip or "").split(",") if name.strip()]
    unknown = [name for name in named if name not in FEATURES]
    if unknown:
        raise click.UsageError(f"there is no feature {unknown[0]!r}; there are {', '.join(FEATURES)}")
    if not (only or skip):
        return None
    features = tuple(f for f in FEATURES if (f in named) == bool(only))
    if not features:
        raise click.UsageError(f"nothing is left to do; leave at least one of {', '.join(FEATURES)}")
    return features
