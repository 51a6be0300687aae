"""``lightbus dumpschema``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from lightbus.cli.help import Command
from lightbus.cli.manifest_options import begin, format_option, manifest_options
from lightbus.cli.project import project_bus
from lightbus.contracts.asyncapi import document
from lightbus.contracts.files import write_contracts


@click.command("dumpschema", cls=Command, epilog="Example: lightbus dumpschema --out schemas/")
@click.option(
    "-o", "--out", type=click.Path(path_type=Path), metavar="FILE_OR_DIRECTORY", help="Where to write it."
)
@click.option(
    "--from",
    "source",
    type=click.Choice(["project", "bus"]),
    default="project",
    show_default=True,
    help="The APIs that this project owns, or all that are published now.",
)
@format_option("json", "asyncapi", help="Contracts as Lightbus reads them, or one AsyncAPI 3.0 document.")
@manifest_options
def command(out: Path | None, source: str, form: str, **options: Any) -> None:
    """Print the contracts of APIs, or write them to a file or a directory, which gets a file for each API.

    Redis is needed for those on the bus only.
    """
    is_of_bus = source == "bus"
    bus = project_bus(begin(options), may_lack_modules=is_of_bus)
    try:
        contracts: dict[str, Any] = bus.schema.published() if is_of_bus else bus.schema.own()
    finally:
        bus.client.close()
    if form == "asyncapi":
        contracts = document(contracts, bus.client.service_name, "1.0.0")
        if out is not None and out.is_dir():
            out /= "asyncapi.json"
    if out is None:
        print(json.dumps(contracts, indent=2, ensure_ascii=False))
        return
    if form == "asyncapi":
        out.write_text(json.dumps(contracts, indent=2, ensure_ascii=False) + "\n", "utf-8")
        files = [out]
    else:
        files = write_contracts(contracts, out)
    for file in files:
        print(f"wrote {file}", file=sys.stderr)
