"""``lightbus group``: the groups of listeners."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import click

from lightbus.bus.client import BusClient
from lightbus.cli.acting import confirm, need_terminal, on_the_bus
from lightbus.cli.manifest_options import begin, manifest_options, scan_option, together
from lightbus.host.logs import on_one_line
from lightbus.insight import groups
from lightbus.insight.groups import Found
from lightbus.manifest.model import Manifest
from lightbus.transports.events import GroupStatus
from lightbus.transports.unserved import duration, reader, state, waiting

command = click.Group(
    "group",
    help="Look after the groups of listeners: how far each has read, and what is kept for it.",
    epilog="Example: lightbus group list",
)

_shared = together(scan_option, manifest_options)
_named = together(click.argument("group", metavar="GROUP"), _shared)
_to_act = together(
    _named,
    click.option("--dry-run", is_flag=True, help="Only say what would be done."),
    click.option("--yes", is_flag=True, help="Do not ask first."),
)


@command.command("list", epilog="Example: lightbus group list --json")
@_shared
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line, with everything.")
def list_(as_json: bool, scan: bool, **options: Any) -> None:
    """List the groups of all services, one per line and stream, with what waits for each."""
    found = on_the_bus(begin(options), lambda client, names: groups.find(client, names, scan=scan))
    for each in found:
        print(_json(each.status) if as_json else _line(each.status))
    if not as_json:
        print(_counted(len(found), "group"))


@command.command("show", epilog="Example: lightbus group show mailer-send")
@_named
@click.option("--json", "as_json", is_flag=True, help="One JSON object per stream, with everything.")
def show(group: str, as_json: bool, scan: bool, **options: Any) -> None:
    """Show a group: its streams, what waits there, and its processes."""
    for each in _find(begin(options), group, scan):
        if as_json:
            print(_json(each.status))
            continue
        for name, value in _facts(each.status):
            print(f"{name:10} {on_one_line(value)}")


@command.command("rm", epilog="Example: lightbus group rm mailer-old --dry-run")
@_to_act
def rm(group: str, dry_run: bool, yes: bool, scan: bool, **options: Any) -> None:
    """Remove a group that nobody reads, and all that waits for it; says what goes, and asks first."""
    manifest = begin(options)
    found = _find(manifest, group, scan)
    for each in found:
        print(f"{each.status.stream}: {_kept(each.status)}", file=sys.stderr)
    if dry_run:
        print(f"would be removed: {group}")
        return
    if not yes:
        need_terminal()
        confirm(f"Remove {group}, and drop that and what is fired until it is gone?", "nothing was done")

    async def remove(client: BusClient, names: list[str]) -> None:
        await groups.remove(await groups.find(client, names, group))

    on_the_bus(manifest, remove)
    print(f"removed: {group}")


def _find(manifest: Manifest, group: str, scan: bool) -> list[Found]:
    return on_the_bus(manifest, lambda client, names: groups.find(client, names, group, scan=scan))


def _kept(status: GroupStatus) -> str:
    """Say what is kept for a group."""
    retrying, dead = f"{status.retrying:,} waiting for another attempt", _counted(status.dead, "dead letter")
    return f"{waiting(status)}, {retrying}, {dead}"


def _line(status: GroupStatus) -> str:
    return on_one_line(f"{status.group}  {status.stream}  {_kept(status)}; {reader(status)}")


def _facts(status: GroupStatus) -> Iterable[tuple[str, str]]:
    yield "group", status.group
    yield "service", status.service or "not known"
    yield "stream", status.stream
    yield "state", state(status)
    yield "retrying", f"{status.retrying:,}"
    yield "dead", f"{status.dead:,}"
    yield "needs from", status.oldest or "not known"
    for consumer in status.consumers:
        heard = "" if consumer.idle is None else f", heard of {duration(consumer.idle)} ago"
        yield "process", f"{consumer.process_name}: holds {consumer.pending:,}{heard}"


def _json(status: GroupStatus) -> str:
    return json.dumps(asdict(status), ensure_ascii=False)


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"
