"""``lightbus inspect``."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import click

from lightbus.bus.client import BusClient
from lightbus.bus.path import BusPath
from lightbus.cli.completion import apis, events_of_api
from lightbus.cli.help import Command
from lightbus.cli.manifest_options import begin, format_option, manifest_options, scan_option
from lightbus.exceptions import InvalidParameters
from lightbus.host.checks import client_for
from lightbus.host.loading import Loader
from lightbus.host.logs import on_one_line
from lightbus.host.user_code import run_start_functions
from lightbus.insight.search import (
    Query,
    argument_test,
    castings,
    comparison,
    fields_of,
    misfit,
    moment,
    search,
)
from lightbus.insight.traffic.where import where
from lightbus.manifest.model import Manifest
from lightbus.messages import EventMessage
from lightbus.runtime.portal import run

T = TypeVar("T")
#: By how much somebody is needed.
_COLOURS = ("green", "yellow", "red")


def _parsed(parse: Callable[[str], T]) -> Callable[[Any, Any, str | tuple[str, ...] | None], Any]:
    def callback(_: Any, __: Any, value: str | tuple[str, ...] | None) -> Any:
        try:
            if isinstance(value, tuple):
                return tuple(parse(each) for each in value)
            return parse(value) if value is not None else None
        except InvalidParameters as e:
            raise click.BadParameter(str(e)) from None

    return callback


@click.command(
    "inspect",
    cls=Command,
    epilog="Example: lightbus inspect --api auth -j username=admin --since 1h -F human",
)
@click.option("-i", "--id", metavar="ID", help="The event of this id.")
@click.option("-n", "--native-id", metavar="ID", help="The event that has this id in Redis.")
@click.option(
    "-a",
    "--api",
    default="*",
    metavar="NAME",
    shell_complete=apis,
    help="Events of this API; * stands for anything.",
)
@click.option(
    "-e",
    "--event",
    default="*",
    metavar="NAME",
    shell_complete=events_of_api,
    help="Events of this name; * stands for anything.",
)
@click.option(
    "-v", "--version", metavar="VERSION", callback=_parsed(comparison), help="1, '<2', '>=3' and so on."
)
@click.option(
    "-j",
    "--json-path",
    "arguments",
    multiple=True,
    metavar="PATH=VALUE",
    callback=_parsed(argument_test),
    help="Events with such an argument, as in address.city=London or 'items[*].price>=10'; may be repeated.",
)
@click.option("--since", metavar="TIME", callback=_parsed(moment), help="Events since 30s, 2h or 2026-01-31.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="No more than N events.")
@format_option(
    *("json", "pretty", "human"), short="-F", help="A line of JSON per event, indented JSON, or text."
)
@click.option(
    "-f",
    "--follow",
    is_flag=True,
    help="Begin with the oldest and go on as events come, until Ctrl-C; --since 0s shows new ones only.",
)
@click.option(
    "-d", "--validate", is_flag=True, help="Check each by its contract; status 1 if one does not fit."
)
@click.option(
    "-w", "--where", "shows_where", is_flag=True, help="Show where each is for every listener; so do -i, -n."
)
@click.option("-C", "--show-casting", is_flag=True, help="Show what this project's listeners would get.")
@click.option("-I", "--internal", is_flag=True, help="Include events about the bus itself.")
@scan_option
@manifest_options
def command(
    form: str,
    follow: bool,
    limit: int | None,
    validate: bool,
    shows_where: bool,
    show_casting: bool,
    scan: bool,
    **options: Any,
) -> int:
    """Search the events on the bus and print those that fit, the newest first.

    Nothing has to run for that, and nothing that listens notices.
    """
    names = ("id", "native_id", "api", "event", "version", "arguments", "internal")
    since, ago = options.pop("since") or (None, None)
    is_named = (options["id"], options["native_id"]) != (None, None)
    query = Query(**{name: options.pop(name) for name in names}, since=since, ago=ago)
    manifest = begin(options, "warning", "text")

    async def show() -> int:
        client = client_for(manifest)
        count = misfits = 0
        try:
            await _prepare(manifest, client, casts=show_casting, validates=validate)
            # One API's events are read as that API says, those of all as apis.default does.
            api_names = sorted(manifest.all_apis, key=lambda name: name != query.api)
            for broker in client.transports().brokers(api_names) if scan else ():
                await broker.find_streams()
            found = search(client, api_names, query, follow=follow, limit=limit)
            async with aclosing(found) as messages:  # type: ignore[type-var]
                async for message in messages:
                    shown = fields_of(message)
                    if validate:
                        shown["error"] = await _misfit(client, message)
                        misfits += shown["error"] is not None
                    if show_casting:
                        shown["casting"] = castings(client, message)
                    if shows_where or is_named:
                        shown["where"] = await _places(client, message)
                    _show(shown, form)
                    count += 1
        finally:
            await client.close_async()
        if not count and is_named:
            raise click.ClickException("there is no such event")
        return 1 if misfits else 0

    return run(show())


async def _misfit(client: BusClient, message: EventMessage) -> str | None:
    """Say what is wrong with an event by its contract, which is read again from time to time."""
    if time.monotonic() >= client.parts.watch.due:
        await client.parts.watch.refresh()
    return misfit(client, message)


async def _places(client: BusClient, message: EventMessage) -> list[dict[str, Any]]:
    """Say where an event is for each listener."""
    places = await where(client, (), message)
    now = await client.transports().event(message.api_name).now() if places else 0.0
    return [
        {
            **asdict(place.at),
            "state": "unwanted" if place.is_passed_over else place.at.state,
            "paused": place.paused,
            "text": place.in_words(now),
            "severity": place.verdict.severity,
        }
        for place in places
    ]


async def _prepare(manifest: Manifest, client: BusClient, *, casts: bool, validates: bool) -> None:
    """Import the listeners and read the contracts, as far as these are needed."""
    if casts:
        bus = BusPath(client)
        await run_start_functions(Loader(manifest, client, Path.cwd()).load(bus), bus)
    if validates:
        await client.load_contracts()


def _show(fields: dict[str, Any], form: str) -> None:
    if form == "human":
        _show_text(fields)
    else:
        click.echo(json.dumps(fields, ensure_ascii=False, indent=2 if form == "pretty" else None))


def _show_text(fields: dict[str, Any]) -> None:
    milliseconds = (fields["native_id"] or "").partition("-")[0]
    fired = datetime.fromtimestamp(int(milliseconds) / 1000, UTC).astimezone() if milliseconds else None
    when = fired.isoformat(sep=" ", timespec="milliseconds") if fired else ""
    _say(f"{fields['api_name']}.{fields['event_name']}  {when}", bold=True)
    for name in ("id", "native_id", "version"):
        _say(f"  {name:12} {fields[name]}")
    for name, value in fields["kwargs"].items():
        _say(f"    {name:12} {json.dumps(value, ensure_ascii=False)}")
    if "error" in fields:
        valid = fields["error"] is None
        text = "fits its contract" if valid else fields["error"]
        _say(f"  {'validation':12} {text}", fg="green" if valid else "red")
    for listener, cast in fields.get("casting", {}).items():
        _say(f"  as {listener} gets it:")
        for name, text in cast.items() if isinstance(cast, dict) else [("error", cast)]:
            _say(f"    {name:12} {text}")
    width = max((len(it["group"]) for it in fields.get("where", ())), default=0)
    for it in fields.get("where", ()):
        _say(f"  {it['group']:{max(12, width)}} {it['text']}", fg=_COLOURS[it["severity"]])
    click.echo()


def _say(line: str, **style: Any) -> None:
    click.secho(on_one_line(line), **style)
