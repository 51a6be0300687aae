"""``lightbus types``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import click

from lightbus import __version__
from lightbus.bus.schema import BusSchema
from lightbus.cli.completion import apis as complete_apis
from lightbus.cli.help import Command
from lightbus.cli.manifest_options import begin, complete_files, manifest_options
from lightbus.cli.project import project_bus
from lightbus.contracts.clients.hints import Form, Mapped
from lightbus.contracts.clients.module import is_written_here, module_of
from lightbus.contracts.clients.own import classes_of
from lightbus.contracts.clients.signatures import differences
from lightbus.contracts.compare import compare_all
from lightbus.contracts.files import read_contracts
from lightbus.declared.names import listed
from lightbus.exceptions import SchemaNotFound
from lightbus.host.checks import client_for
from lightbus.manifest.model import Manifest, TypesOptions
from lightbus.values.wording import counted

_BUS = "bus"
_MAP = re.compile(r"([A-Za-z][\w.]*)\.([^=]+)=([A-Za-z_][\w.]*):([A-Za-z_][\w.]*)", re.ASCII)

Contracts = Mapping[str, Mapping[str, Any]]


@click.command(
    "types", cls=Command, epilog="Example: lightbus types auth shop.orders --out shop/bus_types.py"
)
@click.argument("apis", nargs=-1, metavar="[API]...", shell_complete=complete_apis)
@click.option(
    "--from",
    "source",
    metavar="DIRECTORY|FILE|bus",
    shell_complete=complete_files,
    help="Where the contracts are, such as those of lightbus contract pull; left out, on the bus.",
)
@click.option(
    "-o",
    "--out",
    type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
    metavar="FILE",
    help="The module to write; left out, or with -, it is printed.",
)
@click.option(
    "--classes",
    type=click.Choice(get_args(Form)),
    help="Make results objects of dataclasses, or leave them as they are.  [default: dataclass]",
)
@click.option(
    "--map",
    "mapped",
    multiple=True,
    metavar="API.CLASS=MODULE:CLASS",
    help="Import a class of yours in place of the one that would be written; may be repeated.",
)
@click.option(
    "--own/--no-own",
    default=None,
    help="Take the APIs of this project from its bus modules, and import their classes.  [default: no]",
)
@click.option(
    "--check", is_flag=True, help="Write nothing; print how --out would change, with exit status 1 if so."
)
@manifest_options
def command(
    apis: tuple[str, ...],
    source: str | None,
    out: Path | None,
    classes: Form | None,
    mapped: tuple[str, ...],
    own: bool | None,
    check: bool,
    **options: Any,
) -> int:
    """Write a module from which editors and type checkers know what the bus has.

    It has a class for each API, procedure, event and object, and create(), get_bus() and typed(bus), which
    return a bus with these types. What is left out here is taken from types in the manifest.
    """
    manifest = begin(options)
    asked = manifest.types
    out = out or (Path(asked.out) if asked.out else None)
    out = None if out == Path("-") else out
    if check and out is None:
        raise click.UsageError("--check compares with the module that is there; name it with --out FILE")
    wanted = apis or asked.apis
    source = source or asked.from_ or _BUS
    given = _mapped(mapped or asked.map)
    ours, own_classes = (
        _own(manifest, None if check else out) if (asked.own if own is None else own) else ({}, {})
    )
    contracts = _contracts(manifest, source, wanted, ours)
    code = module_of(contracts, classes or asked.classes, {**own_classes, **given}, __version__)
    if check and out is not None:
        status = _compare(code, out)
        return max(status, _moved_on(asked, contracts)) if source == _BUS else status
    return _write(code, out, contracts)


def _own(manifest: Manifest, out: Path | None) -> tuple[Contracts, Mapped]:
    """Import the bus modules; return the contracts of their APIs, and the classes of these.

    Args:
        manifest: It names the modules.
        out: The module that is to be written, which must be there, since the others may import it; None if it
            is only compared.
    """
    is_new = out is not None and not out.exists()
    if out is not None and is_new:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(module_of({}), "utf-8")
    try:
        bus = project_bus(manifest)
    except BaseException:
        if out is not None and is_new:
            out.unlink()
        raise
    try:
        contracts = bus.schema.own()
        definitions = [bus.client.registry.get(name) for name in contracts]
    finally:
        bus.client.close()
    return contracts, {key: place for each in definitions for key, place in classes_of(each).items()}


def _contracts(manifest: Manifest, source: str, wanted: Sequence[str], ours: Contracts) -> Contracts:
    """Read the contracts that are asked for; of those that only describe the bus, none that is not named."""
    if wanted and ours.keys() >= set(wanted):
        found, where = ours, ""
    elif source == _BUS:
        client = client_for(manifest)
        try:
            found = {**BusSchema(client.parts).published(), **ours}
        finally:
            client.close()
        where = "on the bus"
    else:
        found, where = {**read_contracts(Path(source)), **ours}, f"in {source}"
    for name in wanted:
        if name not in found:
            raise SchemaNotFound(f"there is no contract of {name!r} {where}; there is: {listed(name, found)}")
    return {name: found[name] for name in wanted or found if wanted or not name.startswith("internal.")}


def _mapped(texts: Sequence[str]) -> Mapped:
    mapped = {}
    for text in texts:
        match = _MAP.fullmatch(text)
        if match is None:
            raise click.UsageError(
                f"--map {text!r}: write API.CLASS=MODULE:CLASS, as in auth.User=shop.models:User"
            )
        mapped[match[1], match[2]] = (match[3], match[4])
    return mapped


def _write(code: str, out: Path | None, contracts: Contracts) -> int:
    if out is None:
        print(code, end="")
        return 0
    if out.exists() and not is_written_here(out.read_text("utf-8")):
        raise click.UsageError(f"{out} was not written by lightbus types; name another file with --out")
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(code, "utf-8")
    print(f"wrote {out}: {counted(len(contracts), 'API')}")
    return 0


def _compare(code: str, out: Path) -> int:
    """Print how a module would change; returns the exit status."""
    old = out.read_text("utf-8") if out.exists() else ""
    if old == code:
        print(f"as it would be written: {out}")
        return 0
    found = differences(old, code) if old else [f"{out} is not there"]
    print("\n".join(found) or "no signature would change, but what is said of them")
    print(f"{out} would change; run lightbus types without --check")
    return 1


def _moved_on(asked: TypesOptions, now: Contracts) -> int:
    """Print how the contracts on the bus differ from those that were pulled; returns the exit status."""
    if asked.from_ in (None, _BUS):
        return 0
    pulled = {name: each for name, each in read_contracts(Path(str(asked.from_))).items() if name in now}
    found = compare_all(pulled, {name: dict(now[name]) for name in pulled})
    breaking = sum(each.breaking for each in found)
    for each in found:
        print(each)
    print(f"since {asked.from_}: {counted(len(found), 'difference')}, {breaking} of them breaking")
    return 1 if breaking else 0
