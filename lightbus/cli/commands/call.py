"""``lightbus call``."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from lightbus.bus.client import BusClient
from lightbus.cli.arguments import parse, split
from lightbus.cli.completion import parameters_of, procedures
from lightbus.cli.help import Command
from lightbus.cli.manifest_options import begin, manifest_options
from lightbus.cli.plugins import act
from lightbus.declared.registry import Registry, auto_registered
from lightbus.host.importing import look_in
from lightbus.manifest.wiring import wiring_of


@click.command(
    "call", cls=Command, epilog="Example: lightbus call auth.check_password username=admin password=secret"
)
@click.argument("procedure", shell_complete=procedures)
@click.argument("arguments", nargs=-1, metavar="[NAME=VALUE]...", shell_complete=parameters_of("rpcs"))
@click.option("--json", "whole", metavar="OBJECT", help="All arguments as one JSON object.")
@click.option("--timeout", type=float, metavar="SECONDS", help="How long to wait for the answer.")
@manifest_options
def command(
    procedure: str, arguments: tuple[str, ...], whole: str | None, timeout: float | None, **options: Any
) -> None:
    """Call PROCEDURE, such as auth.check_password, and print its result as JSON.

    Values are JSON where they parse, else strings. An error of the procedure goes to standard error, with
    exit status 1.
    """
    api_name, name = split(procedure)
    kwargs = parse(arguments, whole)
    manifest = begin(options)
    look_in(Path.cwd())
    # A person may call what the service that has this manifest may not.
    wiring = replace(wiring_of(manifest, Registry(auto_registered)), only_calls=None)
    client = BusClient(wiring)
    how = {"timeout": timeout} if timeout is not None else None
    result = act(client, manifest, lambda: client.call_rpc_remote(api_name, name, kwargs, how))
    print(json.dumps(result, ensure_ascii=False))
