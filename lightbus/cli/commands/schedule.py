"""``lightbus schedule``: what is called at set times."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from typing import Any

import click

from lightbus.cli.acting import on_the_bus
from lightbus.cli.help import Group
from lightbus.cli.manifest_options import begin, manifest_options
from lightbus.cli.status_screen import SCHEDULES, schedule_row
from lightbus.cli.tables import Table
from lightbus.cli.wording import counted, line_width
from lightbus.insight.overview import schedules

command = Group(
    "schedule",
    help="Look at what is called at set times.",
    epilog="Example: lightbus schedule list",
)


@command.command("list", epilog="Example: lightbus schedule list --service shop")
@click.option("--service", metavar="NAME", help="Those of one service.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line, with everything.")
@manifest_options
def list_(service: str | None, as_json: bool, **options: Any) -> None:
    """List the schedules of processes that run, with their next time and the last run."""
    found = on_the_bus(begin(options), lambda client, _: schedules(client))
    wanted = [it for it in found if service in (None, it.service)]
    if as_json:
        for it in wanted:
            print(json.dumps(asdict(it), ensure_ascii=False))
        return
    with Table(SCHEDULES, line_width()) as table:
        for it in wanted:
            table.add(*schedule_row(it, time.time()))
    print(counted(len(wanted), "schedule"))
