"""``lightbus dumpschema``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from lightbus.cli.help import Command
from lightbus.cli.manifest_options import begin, manifest_options
from lightbus.cli.project import project_bus
from lightbus.contracts.asyncapi import document
from lightbus.contracts.files import write_contracts


@click.command("dumpschema", cls=Command, epilog="Example: lightbus dumpschema --out schemas/")
@click.option(
    "-o", "--out", type=click.Path(path_type=Path), metavar="FILE_OR_DIRECTORY", help="Where to write it."
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["json", "asyncapi"]),
    default="json",
    show_default=True,
    help="Contracts as Lightbus reads them, or one AsyncAPI 3.0 document.",
)
@manifest_options
def command(out: Path | None, form: str, **options: Any) -> None:
    """Print the contracts of the APIs that this project owns, or write them to a file or a directory.

    A directory gets a file for each API. Redis is not needed.
    """
    bus = project_bus(begin(options))
    contracts: dict[str, Any] = bus.schema.own()
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
