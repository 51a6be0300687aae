"""``lightbus contract``: what is done with the contracts of APIs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from lightbus.bus.schema import BusSchema
from lightbus.cli.completion import apis
from lightbus.cli.help import Group
from lightbus.cli.manifest_options import begin, complete_files, manifest_options
from lightbus.cli.project import project_bus
from lightbus.contracts.compare import compare_all
from lightbus.contracts.files import read_contracts, write_contracts
from lightbus.contracts.printing import show as text_of
from lightbus.declared.names import listed
from lightbus.exceptions import SchemaNotFound
from lightbus.host.checks import client_for
from lightbus.values.wording import counted

command = Group(
    "contract",
    help="Compare, print and copy the contracts of APIs.",
    epilog="Example: lightbus contract show auth",
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


@command.command("pull", epilog="Example: lightbus contract pull auth shop.orders --out contracts/")
@click.argument("names", nargs=-1, metavar="[API]...", shell_complete=apis)
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    metavar="FILE|DIRECTORY",
    help="Where to write them: a directory gets a file for each API.",
)
@click.option(
    "--check", is_flag=True, help="Write nothing; print how those in --out differ, with exit status 1."
)
@manifest_options
def pull(names: tuple[str, ...], out: Path, check: bool, **options: Any) -> int:
    """Copy contracts from the bus, to be kept with the code that calls or listens.

    They are those of the APIs that are named, or of all that are published now; --check looks at those that
    are there.
    """
    client = client_for(begin(options))
    try:
        on_bus = BusSchema(client.parts).published()
    finally:
        client.close()
    for name in names:
        if name not in on_bus:
            raise SchemaNotFound(f"the bus has no contract of {name!r}; it has: {listed(name, on_bus)}")
    if not check:
        found = {n: c for n, c in on_bus.items() if n in names or not (names or n.startswith("internal."))}
        for file in write_contracts(found, out):
            print(f"wrote {file}")
        return 0
    old = {name: contract for name, contract in read_contracts(out).items() if not names or name in names}
    differences = compare_all(old, {name: on_bus[name] for name in names or old if name in on_bus})
    for difference in differences:
        print(difference)
    breaking = sum(difference.breaking for difference in differences)
    print(f"{counted(len(differences), 'difference')}, {breaking} of them breaking")
    return 1 if differences else 0


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
