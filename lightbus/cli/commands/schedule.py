"""``lightbus schedule``: what is called at set times."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from typing import Any

import click

from lightbus.bus.client import BusClient
from lightbus.cli.acting import actor, because_option, on_the_bus, tell_pause, tell_resume, until_option
from lightbus.cli.help import Group
from lightbus.cli.manifest_options import begin, manifest_options
from lightbus.cli.status_screen import SCHEDULES, of_services, schedule_row
from lightbus.cli.tables import Table
from lightbus.cli.wording import complain, line_width
from lightbus.host.logs import on_one_line
from lightbus.host.shutdown import EXIT_FAILED
from lightbus.insight.cards import Heeded
from lightbus.insight.control import pauses
from lightbus.insight.control.schedules import Run, Target, find, pause, resume, run_now, service_of
from lightbus.insight.overview import how_paused, schedules
from lightbus.options import parse_duration
from lightbus.values.wording import counted

command = Group(
    "schedule",
    help="Look at what is called at set times, run it now, and pause it.",
    epilog="Example: lightbus schedule list",
)


def _duration(_: click.Context, __: click.Parameter, value: str) -> float:
    try:
        seconds: float = parse_duration(value)
    except ValueError:
        seconds = 0.0
    if seconds <= 0:
        raise click.BadParameter(f"{value!r} is not a duration; write 30s, 5m or 2h")
    return seconds


_service_option = click.option("--service", metavar="NAME", default="", help="That of this service.")


@command.command("list", epilog="Example: lightbus schedule list --service shop")
@click.option("--service", metavar="NAME", help="Those of one service.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line, with everything.")
@manifest_options
def list_(service: str | None, as_json: bool, **options: Any) -> None:
    """List the schedules of processes that run, with their next time and the last run."""
    found, notes = on_the_bus(begin(options), lambda client, _: schedules(client))
    wanted = [it for it in found if service in (None, it.service)]
    if as_json:
        for it in wanted:
            print(json.dumps(asdict(it), ensure_ascii=False))
        return
    width, now = line_width(), time.time()
    columns, rows = of_services(SCHEDULES, [schedule_row(it, now) for it in wanted], width is not None)
    with Table(columns, width) as table:
        for row in rows:
            table.add(*row)
    print(counted(len(wanted), "schedule"))
    for note in (*notes, *(how_paused(it) for it in wanted if it.paused)):
        complain(on_one_line(note))


@command.command(
    "run", epilog="Example: lightbus schedule run nightly_close --because 'the night was missed'"
)
@click.argument("name", metavar="NAME")
@_service_option
@click.option("--no-wait", is_flag=True, help="Return once it has begun.")
@click.option(
    "--timeout",
    default="1h",
    show_default=True,
    metavar="DURATION",
    callback=_duration,
    help="How long to wait for its end; it goes on after that.",
)
@because_option
@manifest_options
def run_(name: str, service: str, no_wait: bool, timeout: float, because: str, **options: Any) -> int:
    """Have one process of its service run a schedule now, and wait for its end.

    Its service must allow it: bus.remote_control. Without overlap, it is refused while another run goes on.
    """
    manifest = begin(options)

    async def act(client: BusClient, _: list[str]) -> Run:
        found = await service_of(client, name, manifest.schedules, service)
        return await run_now(client, found, name, by=actor(because), wait=None if no_wait else timeout)

    run = on_the_bus(manifest, act)
    of = on_one_line(f"{run.service}:{run.name}")
    if run.outcome is None:
        print(f"begun: {of} in {on_one_line(run.process)}")
        return 0
    took = f"{of} in {on_one_line(run.process)}, {run.seconds or 0.0:.3g} s"
    if run.outcome == "ok":
        print(f"done: {took}")
        return 0
    print(f"failed: {took}")
    complain(on_one_line(f"it raised {run.error}; the log of {run.process} has more"))
    return EXIT_FAILED


@command.command("pause", epilog="Example: lightbus schedule pause nightly_close --until 2h")
@click.argument("name", metavar="NAME")
@_service_option
@until_option
@because_option
@manifest_options
def pause_(name: str, service: str, until: float | None, because: str, **options: Any) -> None:
    """Let a schedule begin no run, in all processes of its service, until it is resumed.

    What runs is finished. Times meanwhile are skipped for good; schedule run still works.
    """
    manifest = begin(options)

    async def act(client: BusClient, _: list[str]) -> tuple[Target, float | None, Heeded]:
        target = await find(client, name, manifest.schedules, service)
        ends = await pauses.end_in(client, until)
        return target, ends, await pause(client, target, ends, actor(because))

    target, ends, heeded = on_the_bus(manifest, act)
    begun = [f"{counted(heeded.running, 'run')} of it had begun, and may end"] if heeded.running else []
    nobody = "no process has it now; it stays paused when one is started"
    tell_pause(str(target), ends, heeded, nobody=nobody, late="may run it still", more=begun)


@command.command("resume", epilog="Example: lightbus schedule resume nightly_close")
@click.argument("name", metavar="NAME")
@_service_option
@because_option
@manifest_options
def resume_(name: str, service: str, because: str, **options: Any) -> None:
    """Let a schedule that was paused run again, from its next time on."""
    manifest = begin(options)

    async def act(client: BusClient, _: list[str]) -> tuple[Target, Heeded]:
        target = await find(client, name, manifest.schedules, service)
        return target, await resume(client, target, actor(because))

    target, heeded = on_the_bus(manifest, act)
    tell_resume(str(target), heeded, nobody="no process has it now", late="does not run it yet")
