"""``lightbus dlq``: events that were put aside."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import Any

import click

from lightbus.bus.client import BusClient
from lightbus.cli.acting import actor, because_option, confirm, need_terminal, on_the_bus, tell_paused
from lightbus.cli.completion import apis, groups
from lightbus.cli.help import Group
from lightbus.cli.manifest_options import begin, manifest_options, scan_option, together
from lightbus.cli.tables import Column, Table
from lightbus.cli.wording import line_width
from lightbus.host.logs import on_one_line
from lightbus.insight import dead_letters
from lightbus.insight.dead_letters import Filter, as_fields
from lightbus.insight.dead_letters.fields import died_at
from lightbus.manifest.model import Manifest
from lightbus.options import parse_duration
from lightbus.transports.events import DeadLetter
from lightbus.values.typed import fields_once
from lightbus.values.wording import ago, counted

_REASONS = ("failed", "invalid", "invalid_message", "process_died")

#: The most letters of an error that are listed.
_ERROR = 100
_COLUMNS = (
    Column("id"),
    Column("put aside"),
    Column("event", least=10),
    Column("listener", least=10),
    Column("reason", least=10),
    Column("error", least=5),
)

Act = Callable[[BusClient, Sequence[str], Filter], AsyncGenerator[DeadLetter, None]]

command = Group(
    "dlq",
    help="Look at events that were put aside, replay them, edit them or drop them.",
    epilog="Example: lightbus dlq list",
)


def _duration(_: click.Context, __: click.Parameter, value: str | None) -> float | None:
    if value is None:
        return None
    try:
        return parse_duration(value)
    except ValueError:
        raise click.BadParameter(f"{value!r} is not a duration; write 30s, 5m, 2h or 7d") from None


_filters = together(
    click.argument("ids", nargs=-1, metavar="[ID]..."),
    click.option("--api", metavar="NAME", shell_complete=apis, help="Those of events of one API."),
    click.option(
        "--listener",
        metavar="NAME",
        shell_complete=groups,
        help="Those of one listener, with or without its service.",
    ),
    click.option("--event", metavar="API.EVENT", help="Those of one event."),
    click.option("--reason", type=click.Choice(_REASONS), help="Those put aside for this."),
    click.option("--error", metavar="CLASS", help="Those with an error of this class, such as KeyError."),
    click.option("--older-than", callback=_duration, metavar="DURATION", help="Those put aside so long ago."),
    click.option("--newer-than", callback=_duration, metavar="DURATION", help="Those put aside since then."),
    scan_option,
    manifest_options,
)
_to_act = together(
    _filters,
    click.option("--all", "everything", is_flag=True, help="All of them."),
    click.option("--dry-run", is_flag=True, help="Only say what would be done."),
    because_option,
)


def _split(options: dict[str, Any]) -> tuple[Filter, Manifest]:
    names = ("ids", "api", "listener", "event", "reason", "error", "older_than", "newer_than", "scan")
    chosen = Filter(**{name: options.pop(name) for name in names})
    return chosen, begin(options)


@command.command("list", epilog="Example: lightbus dlq list --api auth --newer-than 1h")
@_filters
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line, with everything.")
def list_(as_json: bool, **options: Any) -> None:
    """List dead letters, one per line, the oldest of each listener first."""
    chosen, manifest = _split(options)
    if as_json:
        _for_each(manifest, chosen, lambda each: print(json.dumps(as_fields(each), ensure_ascii=False)))
        return
    width = line_width()
    with Table(_COLUMNS, width) as table:
        count = _for_each(manifest, chosen, lambda each: table.add(*_row(each, is_cut=width is not None)))
    print(counted(count, "dead letter"))


@command.command("show", epilog="Example: lightbus dlq show 1764000000000-0")
@_filters
def show(**options: Any) -> None:
    """Show dead letters with their arguments, and the error and traceback of the last attempt."""
    chosen, manifest = _split(options)

    def print_it(letter: DeadLetter) -> None:
        for name, value in as_fields(letter).items():
            if name == "trace":
                print("", *map(on_one_line, value.splitlines()), sep="\n")
            else:
                text = json.dumps(value, ensure_ascii=False) if name == "kwargs" else str(value)
                since = f" ({ago(time.time() - letter.died_at)})" if name == "died_at" else ""
                print(f"{name:10} {on_one_line(text)}{since}")

    if not _for_each(manifest, chosen, print_it):
        raise click.ClickException("there is no such dead letter; lightbus dlq list shows those there are")


@command.command("replay", epilog="Example: lightbus dlq replay --listener mailer --dry-run")
@_to_act
def replay(everything: bool, dry_run: bool, because: str, **options: Any) -> None:
    """Hand dead letters to their listener again, and to no other one; their attempts count from the start."""
    chosen, manifest = _chosen(everything, options)
    _act("replayed", partial(dead_letters.replay, by=actor(because)), chosen, manifest, dry_run)


@command.command("edit", epilog="Example: lightbus dlq edit 1764000000000-0 --because 'the country is GB'")
@click.argument("id_", metavar="ID")
@click.option("--kwargs", metavar="JSON", help="The arguments; - reads them. Left out, an editor opens.")
@because_option
@scan_option
@manifest_options
def edit(id_: str, kwargs: str | None, because: str, scan: bool, **options: Any) -> None:
    """Change the arguments of a dead letter and hand it to its listener again, if they fit its contract."""
    manifest, chosen = begin(options), Filter(ids=(id_,), scan=scan)
    found: list[DeadLetter] = []
    _for_each(manifest, chosen, found.append)
    if len(found) != 1:
        no = (
            "there is no such dead letter"
            if not found
            else f"{counted(len(found), 'dead letter')} have this id"
        )
        raise click.ClickException(f"{no}; lightbus dlq list shows those there are")
    (letter,) = found
    edited = _arguments(letter, kwargs)

    async def send(client: BusClient, api_names: Sequence[str]) -> bool:
        return await dead_letters.edit(client, api_names, letter, edited, by=actor(because))

    if not on_the_bus(manifest, send):
        raise click.ClickException("somebody else has replayed or dropped it meanwhile")
    print(f"edited and replayed: {_line(letter)}")


def _arguments(letter: DeadLetter, given: str | None) -> dict[str, Any]:
    """Return the arguments that somebody gives, or makes of those of a letter in an editor."""
    if given is None:
        need_terminal("an editor is opened, and ", instead="give --kwargs")
        shown = json.dumps(letter.message.kwargs, indent=2, ensure_ascii=False)
        given = click.edit(shown + "\n", extension=".json")
        if given is None or given.strip() == shown:
            raise click.ClickException("nothing was changed, so nothing was done")
    elif given == "-":
        given = sys.stdin.read()
    try:
        kwargs = json.loads(given, object_pairs_hook=fields_once)
    except (ValueError, RecursionError) as e:
        raise click.ClickException(f"that is no JSON: {e}; nothing was done") from None
    if not isinstance(kwargs, dict):
        raise click.ClickException('the arguments must be an object, such as {"sku": "x"}; nothing was done')
    return kwargs


@command.command("drop", epilog="Example: lightbus dlq drop 1764000000000-0")
@_to_act
@click.option("--yes", is_flag=True, help="Do not ask first.")
def drop(everything: bool, dry_run: bool, because: str, yes: bool, **options: Any) -> None:
    """Delete dead letters for good; asks first, unless each is named by its id or --yes is given."""
    chosen, manifest = _chosen(everything, options)
    if not (chosen.ids or dry_run or yes):
        chosen = replace(chosen, seen=_confirmed(chosen, manifest))
    _act("dropped", partial(dead_letters.drop, by=actor(because)), chosen, manifest, dry_run)


def _confirmed(chosen: Filter, manifest: Manifest) -> frozenset[tuple[str, str]]:
    """Ask whether to drop what is meant; return what was counted, so that nothing more is dropped."""
    need_terminal("this deletes dead letters for good, and ")
    seen = set()
    count = _for_each(manifest, chosen, lambda letter: seen.add((letter.place, letter.id)))
    if count:
        confirm(f"Drop {counted(count, 'dead letter')} for good?", "nothing was dropped")
    return frozenset(seen)


def _chosen(everything: bool, options: dict[str, Any]) -> tuple[Filter, Manifest]:
    chosen, manifest = _split(options)
    if (replace(chosen, scan=False) == Filter()) != everything:
        raise click.UsageError("say which ones by ids or options; or all of them by --all")
    return chosen, manifest


def _act(done: str, act: Act, chosen: Filter, manifest: Manifest, dry_run: bool) -> None:
    told = f"would be {done}" if dry_run else done
    if _for_each(
        manifest,
        chosen,
        lambda letter: print(f"{told}: {_line(letter)}"),
        dead_letters.find if dry_run else act,
    ):
        return
    if chosen.ids:
        raise click.ClickException("there is no such dead letter; lightbus dlq list shows those there are")
    print(f"no dead letter fits; nothing {'would be' if dry_run else 'was'} {done}")


def _for_each(
    manifest: Manifest, chosen: Filter, show: Callable[[DeadLetter], None], act: Act = dead_letters.find
) -> int:
    """Find, replay or drop every dead letter that is meant; shows each, and returns how many it were."""

    async def walk(client: BusClient, api_names: Sequence[str]) -> int:
        count = 0
        named = set()
        # Closed at once where a letter can't be shown any more: its outcome is noted while the bus is there.
        async with aclosing(act(client, api_names, chosen)) as letters:
            async for letter in letters:
                show(letter)
                count += 1
                named.add(letter.group)
        await tell_paused(client, named)
        return count

    return on_the_bus(manifest, walk)


def _row(letter: DeadLetter, *, is_cut: bool) -> tuple[str, ...]:
    """Return the cells of a letter; a program gets the time itself, and a person how long ago it was."""
    when = ago(max(0.0, time.time() - letter.died_at)) if is_cut else died_at(letter)
    name = letter.message.canonical_name if letter.message.api_name else "(unreadable)"
    error = letter.error.splitlines()[0][:_ERROR] if letter.error else ""
    return letter.id, when, name, letter.group, f"{letter.reason} ({letter.attempts})", error


def _line(letter: DeadLetter) -> str:
    return on_one_line("  ".join(_row(letter, is_cut=False)))
