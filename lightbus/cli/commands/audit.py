"""``lightbus audit``: who has done what to the bus."""

from __future__ import annotations

import json
import sys
import time
from contextlib import aclosing
from datetime import datetime
from typing import Any, Self

import click

from lightbus.bus.client import BusClient
from lightbus.cli.acting import on_the_bus
from lightbus.cli.help import Command
from lightbus.cli.manifest_options import begin, manifest_options
from lightbus.cli.tables import Cell, Column, Table
from lightbus.cli.wording import line_width
from lightbus.insight.audit import Wanted, acts, details, follow, newest
from lightbus.insight.verdicts import of_act
from lightbus.options import parse_duration
from lightbus.transports.audit import Act

FORMAT_VERSION = 1
_LIMIT = 100
_COLUMNS = (
    Column("outcome"),
    Column("when"),
    Column("who", least=8),
    Column("action", least=8),
    Column("of", least=8),
    Column("count", is_number=True),
    Column("more", least=4),
)


def _since(_: click.Context, __: click.Parameter, value: str | None) -> float | None:
    """Read a time, or how long ago it was."""
    if value is None:
        return None
    try:
        return time.time() - parse_duration(value)
    except ValueError:
        pass
    try:
        return datetime.fromisoformat(value).timestamp()
    except (ValueError, OverflowError, OSError):
        raise click.BadParameter(f"{value!r} is no time; write 30s, 2h, 7d or 2026-01-31T12:00:00") from None


@click.command("audit", cls=Command, epilog="Example: lightbus audit --action dlq --since 7d")
@click.option("-f", "--follow", "follows", is_flag=True, help="Go on as acts end, until Ctrl-C.")
@click.option("--since", metavar="TIME", callback=_since, help="Acts since 30s, 2h or 2026-01-31.")
@click.option("--action", default="", metavar="NAME", help="Acts such as dlq.replay; dlq for all of these.")
@click.option("--user", default="", metavar="NAME", help="Acts of this user, with or without the host.")
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    metavar="N",
    help=f"The last N acts; {_LIMIT} where there is no --since.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line, with everything.")
@manifest_options
def command(
    follows: bool,
    since: float | None,
    action: str,
    user: str,
    limit: int | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Show who has done what to the bus by commands or in the console, the oldest first.

    Each act is noted in Redis before it is done, and with its outcome after it.
    """
    wanted = Wanted(action=action, user=user, since=since)
    # Whoever names a time wants all that came since then.
    most = limit or (_LIMIT if since is None else 10**9)

    async def show(client: BusClient, _: list[str]) -> None:
        last = await newest(client)
        past = await acts(client, wanted, limit=most)
        with _Shown(as_json=as_json) as shown:
            for act in reversed(past):
                shown.add(act)
            if not follows:
                if not (past or as_json):
                    print("nobody has done anything that fits")
                return
            shown.flush()
            known = {act.id for act in past}
            async with aclosing(follow(client, wanted, after=last)) as following:
                async for act in following:
                    if act.id not in known:
                        shown.add(act)
                        shown.flush()

    on_the_bus(begin(options), show)


class _Shown:
    """The acts that are printed, as a table or as JSON."""

    def __init__(self, *, as_json: bool) -> None:
        self._width = line_width()
        columns = _COLUMNS if self._width is None else _COLUMNS[:-1]
        self._table = None if as_json else Table(columns, self._width)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.flush()

    def add(self, act: Act) -> None:
        """Print an act, or keep it until the widths of columns are known."""
        if self._table is None:
            print(json.dumps(_fields(act), ensure_ascii=False))
        else:
            more, is_cut = "; ".join(details(act)), self._width is not None
            row = _row(act, is_cut=is_cut)
            # On a terminal, it is too long for a column.
            self._table.add(*row, below=more) if is_cut else self._table.add(*row, more)

    def flush(self) -> None:
        """Print what was not printed yet."""
        if self._table is not None:
            self._table.flush()
        # A reader of a pipe is to see each act at once.
        sys.stdout.flush()


def _row(act: Act, *, is_cut: bool) -> tuple[Cell, ...]:
    at = datetime.fromtimestamp(act.at).astimezone()
    when = at.strftime("%d %b %H:%M:%S") if is_cut else at.isoformat(timespec="seconds")
    count: Cell = "-" if act.count is None else act.count
    return of_act(act), when, act.user, act.action, act.target, count


def _fields(act: Act) -> dict[str, Any]:
    names = ("id", "act", "user", "role", "address", "origin", "action", "target")
    rest = ("count", "ids", "reason", "outcome", "error", "seconds")
    at = datetime.fromtimestamp(act.at).astimezone().isoformat(timespec="milliseconds")
    return {
        "format_version": FORMAT_VERSION,
        "at": at,
        **{name: getattr(act, name) for name in names},
        "filter": dict(act.chosen),
        **{name: getattr(act, name) for name in rest},
    }
