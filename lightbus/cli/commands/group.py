"""``lightbus group``: the groups of listeners."""

from __future__ import annotations

import json
import sys
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import asdict
from typing import Any, TypeVar

import click

from lightbus.bus.client import BusClient
from lightbus.cli.manifest_options import begin, manifest_options, scan_option, together
from lightbus.host.checks import client_for
from lightbus.host.logs import on_one_line
from lightbus.insight import groups
from lightbus.insight.groups import Found
from lightbus.manifest.model import Manifest
from lightbus.runtime.portal import run
from lightbus.transports.events import GroupStatus
from lightbus.transports.unserved import duration, reader, state

T = TypeVar("T")

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
    found = _on_the_bus(begin(options), lambda client, names: groups.find(client, names, scan=scan))
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
    _confirm(f"Remove {group}, and drop that and what is fired until it is gone?", yes)

    async def remove(client: BusClient, names: list[str]) -> None:
        await groups.remove(await groups.find(client, names, group))

    _on_the_bus(manifest, remove)
    print(f"removed: {group}")


def _on_the_bus(manifest: Manifest, act: Callable[[BusClient, list[str]], Awaitable[T]]) -> T:
    """Do something with the bus of a manifest and the APIs whose brokers are asked."""

    async def use() -> T:
        client = client_for(manifest)
        try:
            return await act(client, ["default", *manifest.apis])
        finally:
            await client.close_async()

    return run(use())


def _find(manifest: Manifest, group: str, scan: bool) -> list[Found]:
    return _on_the_bus(manifest, lambda client, names: groups.find(client, names, group, scan=scan))


def _confirm(question: str, yes: bool) -> None:
    """Ask whether it is meant.

    Raises:
        UsageError: There is nobody to ask.
        ClickException: It is not.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError(
            "there is no terminal to ask whether it is meant; add --yes, or look first with --dry-run"
        )
    if not click.confirm(question, err=True):
        raise click.ClickException("nothing was done")


def _kept(status: GroupStatus) -> str:
    """Say what is kept for a group."""
    unread = f"{status.lag:,}" if status.lag_is_exact else f"about {status.lag:,}"
    numbers = f"{unread} unread, {status.pending:,} pending, {status.retrying:,} waiting for another attempt"
    return f"{numbers}, {_counted(status.dead, 'dead letter')}"


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
