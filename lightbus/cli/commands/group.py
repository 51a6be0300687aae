"""``lightbus group``: the groups of listeners."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from shlex import quote
from typing import Any

import click

from lightbus.bus.client import BusClient
from lightbus.cli import completion
from lightbus.cli.acting import actor, because_option, confirm, need_terminal, on_the_bus
from lightbus.cli.help import Group
from lightbus.cli.manifest_options import begin, manifest_options, scan_option, together
from lightbus.cli.tables import Cell, Column, Table
from lightbus.cli.wording import complain, line_width
from lightbus.exceptions import InvalidParameters, TransportError
from lightbus.host.logs import on_one_line
from lightbus.insight import groups
from lightbus.insight.cards import paused_groups
from lightbus.insight.control import prospects
from lightbus.insight.groups import Found
from lightbus.insight.verdicts import of_group
from lightbus.manifest.model import Manifest
from lightbus.transports.cards import Pause
from lightbus.transports.groups import GroupStatus, HandBack, Move, Seek
from lightbus.transports.unserved import state
from lightbus.values.wording import counted, duration

command = Group(
    "group",
    help="Look after the groups of listeners: how far each has read, and what is kept for it.",
    epilog="Example: lightbus group list",
)

_COLUMNS = (
    Column("state"),
    Column("group", least=12),
    Column("stream", least=8),
    *(Column(name, is_number=True) for name in ("unread", "pending", "retrying", "dead")),
    Column("read by", least=9),
)

_shared = together(scan_option, manifest_options)
_group = click.argument("group", metavar="GROUP", shell_complete=completion.groups)
_named = together(_group, _shared)
_to_act = together(
    because_option,
    _shared,
    click.option("--dry-run", is_flag=True, help="Only say what would be done."),
    click.option("--yes", is_flag=True, help="Do not ask first."),
)


@command.command("list", epilog="Example: lightbus group list --json")
@_shared
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line, with everything.")
def list_(as_json: bool, scan: bool, **options: Any) -> None:
    """List the groups of all services, a row for each and its stream, with what waits for it."""
    found, paused = _look(begin(options), None, scan)
    if as_json:
        for each in found:
            print(_json(each.status, paused))
        return
    with Table(_COLUMNS, line_width()) as table:
        for each in found:
            table.add(*_row(each.status, paused))
    print(counted(len(found), "group"))


@command.command("show", epilog="Example: lightbus group show mailer-send")
@_named
@click.option("--json", "as_json", is_flag=True, help="One JSON object per stream, with everything.")
def show(group: str, as_json: bool, scan: bool, **options: Any) -> None:
    """Show a group: its streams, what waits there, and its processes."""
    found, paused = _look(begin(options), group, scan)
    for each in found:
        if as_json:
            print(_json(each.status, paused))
            continue
        for name, value in _facts(each.status, paused):
            print(f"{name:10} {on_one_line(value)}")


@command.command("rm", epilog="Example: lightbus group rm mailer-old --dry-run")
@_group
@click.option(
    "--drop-unread",
    type=click.IntRange(min=0),
    metavar="N",
    help="With --yes: at most so many events may go that wait for it or are its dead letters.",
)
@_to_act
def rm(
    group: str, drop_unread: int | None, dry_run: bool, yes: bool, because: str, scan: bool, **options: Any
) -> None:
    """Remove a group that nobody reads, and all that waits for it; says what goes, and asks first."""
    manifest = begin(options)
    found = _find(manifest, group, scan)
    groups.refuse_read(found)
    done = f"removed: {group}"
    question = f"Remove {group}, and drop that and what is fired until it is gone?"
    sentences = [f"{each.status.stream}: {prospects.kept(each.status)}" for each in found]
    if not _is_meant(sentences, done, question, dry_run, yes):
        return
    most = (drop_unread or 0) if yes else drop_unread

    async def remove(client: BusClient, names: list[str]) -> None:
        found = await groups.find(client, names, group)
        goes = groups.kept_for(found)
        if most is not None and goes > most:
            raise click.UsageError(
                f"{counted(goes, 'event')} would go that wait for {group} or are its dead letters: "
                f"if nobody needs them, add --drop-unread {goes}"
            )
        await groups.remove(client, found, by=actor(because))

    on_the_bus(manifest, remove)
    print(done)


@command.command("move", epilog="Example: lightbus group move shop-welcome shop-greet --dry-run")
@click.argument("old", metavar="OLD")
@click.argument("new", metavar="NEW")
@_to_act
def move(old: str, new: str, dry_run: bool, yes: bool, because: str, scan: bool, **options: Any) -> None:
    """Let the group NEW take the place of OLD, which nobody reads, with all that waits there.

    NEW is made where OLD stands. If it is there already, it gets what came before it began. If the command is
    cut short, run it again.
    """
    manifest = begin(options)
    if old == new or "-" not in new.strip("-"):
        raise click.UsageError(f"{new!r} can't take its place; write SERVICE-LISTENER, such as shop-greet")

    async def plan(client: BusClient, names: list[str]) -> tuple[list[Move], Mapping[str, Pause]]:
        moves = await groups.plan_move(await groups.find(client, names, old, scan=scan), new)
        return moves, await paused_groups(client, [old])

    plans, paused = on_the_bus(manifest, plan)
    done, question = f"moved: {old} to {new}", f"Move all that from {old} to {new}, and remove {old}?"
    sentences = [it for each in plans for it in prospects.about(each.status, prospects.moved(each))]
    if old in paused:
        sentences.append(f"{old} is {paused[old].in_words()}; so is {new} from then on")
    if not _is_meant(sentences, done, question, dry_run, yes):
        return

    async def act(client: BusClient, names: list[str]) -> None:
        await groups.move(client, await groups.find(client, names, old), new, by=actor(because))

    on_the_bus(manifest, act)
    print(done)


@command.command("seek", epilog="Example: lightbus group seek shop-greet --to 2h --dry-run")
@_group
@click.option(
    "--to",
    required=True,
    metavar="PLACE",
    help="Where it reads on: start, end, 2026-01-31T12:00:00Z, 2h for two hours ago, or an id in Redis.",
)
@_to_act
def seek(group: str, to: str, dry_run: bool, yes: bool, because: str, scan: bool, **options: Any) -> None:
    """Let a group that nobody reads read on from another place; says what is read again or skipped."""
    manifest = begin(options)
    try:
        place = prospects.place_of(to)
    except InvalidParameters as e:
        raise click.BadParameter(str(e), param_hint="--to") from None

    async def plan(client: BusClient, names: list[str]) -> list[Seek]:
        return await groups.plan_seek(await groups.find(client, names, group, scan=scan), place)

    plans = on_the_bus(manifest, plan)
    done, question = f"moved: {group} to {to}", f"Let {group} read on from there?"
    sentences = [it for each in plans for it in prospects.about(each.status, prospects.sought(each))]
    if not _is_meant(sentences, done, question, dry_run, yes):
        return

    async def act(client: BusClient, names: list[str]) -> None:
        found = await groups.find(client, names, group)
        await groups.seek(client, found, await groups.plan_seek(found, place), by=actor(because))

    on_the_bus(manifest, act)
    print(done)


@command.command("hand-back", epilog="Example: lightbus group hand-back shop-greet --dry-run")
@_group
@click.option("--dead-letters", is_flag=True, help="Also hand back its dead letters.")
@_to_act
def hand_back(
    group: str, dead_letters: bool, dry_run: bool, yes: bool, because: str, scan: bool, **options: Any
) -> None:
    """Give what waits for a group to Lightbus 1.x, which knows no retries and no dead letters.

    For going back to 1.x once no process of this version reads the group; one of 1.x may. If the command is
    cut short, run it again.
    """
    manifest = begin(options)

    async def plan(client: BusClient, names: list[str]) -> list[HandBack]:
        found = await groups.find(client, names, group, scan=scan)
        return await groups.plan_hand_back(found, letters=dead_letters)

    plans = on_the_bus(manifest, plan)
    done, question = f"handed back: {group}", f"Hand that of {group} back to Lightbus 1.x?"
    sentences = [f"{each.status.stream}: {prospects.handed_back(each, dead_letters)}" for each in plans]
    if not _is_meant(sentences, done, question, dry_run, yes):
        return

    async def act(client: BusClient, names: list[str]) -> list[HandBack]:
        found = await groups.find(client, names, group)
        return await groups.hand_back(client, found, letters=dead_letters, by=actor(because))

    outcome = on_the_bus(manifest, act)
    print(f"{done}: {counted(sum(each.pending + each.added for each in outcome), 'event')}")
    for each in outcome:
        if each.waits:
            raise click.ClickException(f"{prospects.waits(each)}: run this again then")


def _is_meant(sentences: Iterable[str], done: str, question: str, dry_run: bool, yes: bool) -> bool:
    """Say what is going to be done, and return whether it is to be done: unless it is sure, that is asked."""
    for sentence in sentences:
        complain(on_one_line(sentence))
    if dry_run:
        print(f"would be {done}")
        return False
    if not yes:
        need_terminal()
        confirm(question, "nothing was done")
    return True


def _find(manifest: Manifest, group: str, scan: bool) -> list[Found]:
    return on_the_bus(manifest, lambda client, names: groups.find(client, names, group, scan=scan))


def _look(manifest: Manifest, group: str | None, scan: bool) -> tuple[list[Found], dict[str, str]]:
    """Find groups, and say since when which of their listeners are paused, as far as that can be read."""

    async def look(client: BusClient, names: list[str]) -> tuple[list[Found], dict[str, str]]:
        found = await groups.find(client, names, group, scan=scan)
        try:
            paused = await paused_groups(client, {each.status.group for each in found})
        except TransportError as e:
            complain(on_one_line(str(e)))
            return found, {}
        return found, {name: pause.in_words() for name, pause in paused.items()}

    return on_the_bus(manifest, look)


def _row(status: GroupStatus, paused: Mapping[str, str]) -> Iterable[Cell]:
    unread: Cell = status.lag if status.lag_is_exact else f"~{status.lag}"
    yield from (of_group(status, is_paused=status.group in paused), status.group, status.stream)
    yield from (unread, status.pending, status.retrying, status.dead)
    yield tuple(c.process_name for c in status.consumers if c.is_alive or c.is_1x) or "nobody"


def _facts(status: GroupStatus, paused: Mapping[str, str]) -> Iterable[tuple[str, str]]:
    yield "group", status.group
    yield "service", status.service or "not known"
    yield "stream", status.stream
    yield "state", state(status)
    if status.group in paused:
        yield "paused", f"{paused[status.group]}; it goes on with lightbus resume {quote(status.group)}"
    yield "retrying", f"{status.retrying:,}"
    yield "dead", f"{status.dead:,}"
    yield "needs from", status.oldest or "not known"
    for consumer in status.consumers:
        heard = "" if consumer.idle is None else f", heard of {duration(consumer.idle)} ago"
        yield "process", f"{consumer.process_name}: holds {consumer.pending:,}{heard}"


def _json(status: GroupStatus, paused: Mapping[str, str]) -> str:
    return json.dumps({**asdict(status), "paused": paused.get(status.group, "")}, ensure_ascii=False)
