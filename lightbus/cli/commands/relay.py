"""``lightbus relay``."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any, get_args

import click

from lightbus.cli.commands.run import begin_host, host_until_end
from lightbus.cli.help import LOG, Command, shared_option
from lightbus.cli.manifest_options import manifest_options, read
from lightbus.cli.plugins import spoken
from lightbus.host import logs
from lightbus.host.banner import tell_start
from lightbus.host.host import Host
from lightbus.host.processes.overseer import overseer_of
from lightbus.manifest.model import LogFormat, Manifest
from lightbus.outbox.relays import need_outbox


@click.command("relay", cls=Command, epilog="Example: lightbus relay -c config")
@click.option(
    "--fail-fast", is_flag=True, help="End with status 69 where Redis does not answer at the start."
)
@shared_option(
    LOG,
    "--log-format",
    type=click.Choice(get_args(LogFormat), case_sensitive=False),
    help="How log lines look: text for people, or json, as for lightbus run.",
)
@manifest_options
def command(fail_fast: bool, **options: Any) -> int:
    """Send the events of the manifest's outboxes, and do nothing else, until SIGTERM or Ctrl-C.

    It imports no bus module and no handler, and serves no API. Otherwise it is as lightbus run: signals,
    health, metrics and exit statuses are the same. It is one process, whatever processes says; start it a
    second time, and the second one takes over where the first one ends.
    """
    begin_host(options)

    def read_again() -> Manifest:
        # None of these runs here, so that none of them is imported or compared.
        return replace(read(**options), processes=1, listeners={}, schedules={}, policies={})

    manifest = read_again()
    logs.configure(manifest.bus.log_level, manifest.bus.log_format)
    need_outbox(manifest)
    tell_start(manifest)
    host = Host(
        manifest,
        features=("outbox",),
        fail_fast=fail_fast,
        reread=read_again,
        arguments=spoken(),
        only_relays=True,
    )
    return host_until_end(host, overseer_of(os.environ))
