"""``lightbus contract``: what is done with the contracts of APIs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from lightbus.cli.completion import apis
from lightbus.cli.help import Group
from lightbus.cli.manifest_options import begin, complete_files, manifest_options
from lightbus.cli.project import project_bus
from lightbus.cli.wording import counted
from lightbus.contracts.compare import compare_all
from lightbus.contracts.files import read_contracts
from lightbus.contracts.printing import show as text_of

command = Group(
    "contract", help="Compare and print the contracts of APIs.", epilog="Example: lightbus contract show auth"
)


@command.command("check", epilog="Example: lightbus contract check --against bus")
@click.option(
    "--against",
    required=True,
    metavar="FILE|DIRECTORY|bus",
    shell_complete=complete_files,
    help="What lightbus dumpschema has written, or the contracts that are published now.",
)
@manifest_options
def check(against: str, **options: Any) -> int:
    """Tell how the contracts of this project's APIs differ from what others were built for.

    Says for each difference whether callers, the owner or listeners would break; the exit status is 1 where
    callers or listeners would.
    """
    bus = project_bus(begin(options))
    try:
        new = bus.schema.own()
        old = bus.schema.published(new) if against == "bus" else read_contracts(Path(against))
    finally:
        bus.client.close()
    differences = compare_all(old, new)
    for difference in differences:
        print(difference)
    breaking = sum(difference.breaking for difference in differences)
    print(f"{counted(len(differences), 'difference')}, {breaking} of them breaking")
    return 1 if breaking else 0


@command.command("show", epilog="Example: lightbus contract show auth")
@click.argument("api", shell_complete=apis)
@manifest_options
def show(api: str, **options: Any) -> None:
    """Print API, such as auth, as a person would write its signatures.

    It is that of this project, or else the one on the bus.
    """
    bus = project_bus(begin(options), may_lack_modules=True)
    try:
        print(text_of(api, bus.schema.get(api)), end="")
    finally:
        bus.client.close()
