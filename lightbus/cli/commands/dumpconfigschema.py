"""``lightbus dumpconfigschema``."""

from __future__ import annotations

from typing import TextIO

import click

from lightbus.manifest.printing.jsonschema import json_schema


@click.command("dumpconfigschema", epilog="Example: lightbus dumpconfigschema --out lightbus.schema.json")
@click.option(
    "-o",
    "--out",
    type=click.File("w", encoding="utf-8", lazy=False),
    default="-",
    metavar="FILE",
    help="Where to write; standard output if not given.",
)
def command(out: TextIO) -> None:
    """Write the JSON Schema of a manifest, for editors; as `lightbus config schema` prints it."""
    out.write(json_schema())
