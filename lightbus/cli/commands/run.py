"""``lightbus run``."""

from __future__ import annotations

import logging
import os
import signal
import sys
from io import TextIOWrapper
from pathlib import Path
from typing import Any, get_args

import click

from lightbus.cli.manifest_options import manifest_options, read
from lightbus.cli.plugins import spoken
from lightbus.declared.settings import FEATURES, Feature
from lightbus.host import logs
from lightbus.host.host import Host
from lightbus.host.http import serving
from lightbus.host.processes.overseer import overseer_of
from lightbus.host.processes.reporter import reporting
from lightbus.host.shutdown import end_with
from lightbus.host.supervisor import Supervisor, as_child, follow_supervisor, this_command
from lightbus.manifest.model import LogFormat, Manifest
from lightbus.runtime.interpreter import refuse_shadows

logger = logging.getLogger(__name__)


@click.command("run", epilog="Example: lightbus run -c config --log-level debug")
@manifest_options
@click.option(
    "--log-format",
    type=click.Choice(get_args(LogFormat), case_sensitive=False),
    help="How log lines look, as bus.log_format; text on a terminal and JSON elsewhere, if neither says it.",
)
@click.option("-o", "--only", metavar="FEATURES", help="Do only these: any of rpcs,events,tasks.")
@click.option("-k", "--skip", metavar="FEATURES", help="Do all but these: any of rpcs,events,tasks.")
@click.option(
    "-m",
    "--schema",
    type=click.Path(exists=True, path_type=Path),
    metavar="FILE_OR_DIRECTORY",
    help="Contracts of APIs of others, as lightbus dumpschema writes them, in place of those on the bus.",
)
@click.option(
    "--fail-fast", is_flag=True, help="End with status 69 where Redis does not answer at the start."
)
def command(only: str | None, skip: str | None, schema: Path | None, fail_fast: bool, **options: Any) -> int:
    """Host the APIs, listeners and tasks of this project's bus modules until SIGTERM or Ctrl-C."""
    features = _features(only, skip)
    # Before any process is started that would be at a loss.
    refuse_shadows(Path.cwd())
    if isinstance(sys.stdout, TextIOWrapper):
        # Output of a handler is seen at once, also in a pipe or a file.
        sys.stdout.reconfigure(line_buffering=True)
    logs.configure(options["log_level"] or "info", options["log_format"])
    # Until the host is there to do something about it.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    number, overseer = follow_supervisor(), overseer_of(os.environ)

    def read_again() -> Manifest:
        manifest = read(**options)
        return as_child(manifest, number) if number is not None else manifest

    manifest = read_again()
    logs.configure(manifest.bus.log_level, manifest.bus.log_format)
    if manifest.processes > 1 and number is None:
        return Supervisor(manifest, this_command(), Path.cwd()).run()
    for problem in manifest.notes:
        if problem.severity == "warning":
            logger.warning("%s", problem)
    host = Host(
        manifest,
        features=features,
        fail_fast=fail_fast,
        reread=read_again,
        arguments=spoken(),
        supervised=number is not None,
    )
    if schema is not None:
        host.bus.schema.load_local(schema)
    with serving(host), reporting(host, overseer, supervised=number is not None):
        status = host.run()
        end_with(status)
    return status


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
