"""The screen of ``lightbus status``: rows of its tables, the worst first, and what needs somebody."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from rich.text import Text

from lightbus.cli.tables import Cell, Column, Table, Verdict
from lightbus.cli.wording import paragraph
from lightbus.host.logs import on_one_line
from lightbus.insight.overview import (
    ApiStatus,
    ListenerStatus,
    OutboxStatus,
    Overview,
    ProcessStatus,
    ScheduleStatus,
)
from lightbus.insight.verdicts import is_of_all, of_api, of_group, of_outbox, of_process, of_schedule
from lightbus.values.wording import ago, duration, in_short

#: The most ended processes that are shown one by one.
_MOST_ENDED = 3
#: The least rows of a table that are shown where the screen is too low for all.
_LEAST_ROWS = 3

Row = tuple[Cell, ...]
#: Of each listener and stream, how many events per second were fired, and read.
Rates = Mapping[tuple[str, str, str], tuple[float | None, float | None]]

_PROCESSES = (
    Column("state"),
    Column("service", least=10),
    Column("process", least=12),
    Column("APIs", least=8),
    Column("listeners", least=8),
    Column("heard of"),
)
#: Where some process tells its version.
_WITH_VERSIONS = (*_PROCESSES[:3], Column("version", least=6), *_PROCESSES[3:])
SCHEDULES = (
    Column("state"),
    Column("service", least=8),
    Column("schedule", least=10),
    Column("times", least=10),
    Column("next"),
    Column("last"),
    Column("took"),
    Column("by", least=9),
)
_OUTBOXES = (
    Column("state"),
    Column("service", least=8),
    Column("outbox", least=10),
    Column("waiting", is_number=True),
    Column("oldest"),
    Column("dead", is_number=True),
    Column("sent"),
    Column("by", least=9),
)
_APIS = (
    Column("state"),
    Column("api", least=12),
    Column("owner", least=8),
    Column("contract"),
    Column("served by", least=8),
    Column("waiting", is_number=True),
    Column("running", is_number=True),
)
_LISTENERS = (
    Column("state"),
    Column("listener", least=12),
    Column("stream", least=8),
    Column("unread", is_number=True),
    Column("pending", is_number=True),
    Column("retrying", is_number=True),
    Column("dead", is_number=True),
    Column("read by", least=9),
)
_WITH_RATES = (
    *_LISTENERS[:-1],
    Column("in/s", is_number=True),
    Column("out/s", is_number=True),
    _LISTENERS[-1],
)


@dataclass(frozen=True, slots=True)
class Look:
    """One look at the bus.

    Args:
        seen: What was seen, now or when it was last seen; None if nothing was yet.
        at: When that was, by ``time.time()``.
        trouble: Why nothing can be seen now.
        rates: The rates since the look before; empty for the first one.
    """

    seen: Overview | None
    at: float
    trouble: str = ""
    rates: Rates = field(default_factory=dict)


def looked(seen: Overview, before: Look | None) -> Look:
    """Return a look at what is seen now, with the rates since the look before."""
    now = time.time()
    if before is None or before.seen is None or now <= before.at:
        return Look(seen, now)
    seconds = now - before.at
    totals = {_key(it): (it.fired, it.read) for it in before.seen.listeners}
    rates = {
        _key(it): (
            _rate(totals[_key(it)][0], it.fired, seconds),
            _rate(totals[_key(it)][1], it.read, seconds),
        )
        for it in seen.listeners
        if _key(it) in totals
    }
    return Look(seen, now, rates=rates)


def screen(look: Look, width: int | None, height: int | None = None, clock: str = "") -> Iterator[Text]:
    """Go through the lines of a look.

    Args:
        look: The look.
        width: The width that lines have to fit; None if they are not cut.
        height: How many lines there is room for; None if for any number.
        clock: A line for the top of a screen that is renewed.
    """
    top = list(_top(look, width, clock))
    yield from top
    if look.seen is None:
        return
    sentences = (*look.seen.notes, *look.seen.unreachable)
    told = [Text(line, "yellow") for each in sentences for line in paragraph(on_one_line(each), width, "! ")]
    tables = _tables(look.seen, look.rates if clock else None, is_cut=width is not None)
    room = None
    if height is not None:
        # Sentences come first on a screen, whose lower end may not be seen.
        yield from told
        room = height - len(top) - len(told) - 3 * len(tables)
    shares = _shares([len(rows) for _, _, rows in tables], room)
    for (title, columns, rows), most in zip(tables, shares, strict=True):
        yield from _table(title, columns, rows, most, width)
    if height is None:
        yield from told


def _tables(
    seen: Overview, rates: Rates | None, *, is_cut: bool
) -> list[tuple[str, Sequence[Column], list[Row]]]:
    """Return title, columns and rows of each table, the rows that need help first."""
    apis = sorted(seen.apis, key=lambda it: -it.waiting)
    listeners = sorted(seen.listeners, key=lambda it: -it.lag - it.pending)
    rows = [_listener(it, rates, is_cut=is_cut) for it in listeners]
    versions = any(p.version for p in seen.processes)
    of_processes = list(_processes(seen.processes, has_versions=versions))
    tables: list[tuple[str, Sequence[Column], list[Row]]] = [
        ("Processes", _WITH_VERSIONS if versions else _PROCESSES, of_processes),
        ("APIs", _APIS, [_api(it) for it in apis]),
        ("Listeners", _LISTENERS if rates is None else _WITH_RATES, rows),
    ]
    now = time.time()
    if seen.schedules:
        columns, rows = of_services(SCHEDULES, [schedule_row(it, now) for it in seen.schedules], is_cut)
        tables.append(("Schedules", columns, rows))
    if seen.outboxes:
        columns, rows = of_services(_OUTBOXES, [_outbox(it, now) for it in seen.outboxes], is_cut)
        tables.append(("Outboxes", columns, rows))
    return [(title, columns, sorted(rows, key=_severity, reverse=True)) for title, columns, rows in tables]


def _top(look: Look, width: int | None, clock: str) -> Iterator[Text]:
    if clock:
        yield Text(clock, "bold")
    if look.trouble:
        yield from (Text(line, "bold red") for line in paragraph(on_one_line(look.trouble), width))
        if look.seen is not None:
            yield Text(f"seen last {ago(time.time() - look.at)}:", "yellow")
    if clock:
        yield Text("")


def _table(
    title: str, columns: Sequence[Column], rows: Sequence[Row], most: int | None, width: int | None
) -> Iterator[Text]:
    waiting = sum(_severity(row) == 2 for row in rows)
    help_ = f", {waiting} in need of help" if waiting else ""
    yield Text(f"{title}: {len(rows) or 'none'}{help_}", "bold")
    table = Table(columns, width)
    shown = rows if most is None or len(rows) <= most else rows[: most - 1]
    for row in shown:
        table.add(*row)
    yield from table.lines()
    if len(shown) < len(rows):
        yield Text(f"({len(rows) - len(shown):,} more)", "dim")
    yield Text("")


def _shares(counts: Sequence[int], room: int | None) -> list[int | None]:
    """Return how many lines of rows each table gets, so that the end of none is cut off."""
    if room is None or sum(counts) <= room:
        return [None for _ in counts]
    shares = [min(count, _LEAST_ROWS) for count in counts]
    while sum(shares) < room:
        short = [i for i, count in enumerate(counts) if shares[i] < count]
        if not short:
            break
        shares[min(short, key=shares.__getitem__)] += 1
    return list(shares)


def _severity(row: Row) -> int:
    return row[0].severity if isinstance(row[0], Verdict) else 0


def _processes(processes: Sequence[ProcessStatus], *, has_versions: bool = False) -> Iterator[Row]:
    """Go through the rows of processes; those of a service not known to live are one, where they are many."""
    for service, group in groupby(processes, lambda p: p.service):
        all_ = list(group)
        gone = [[p for p in all_ if p.state == state] for state in ("ended", "unknown")]
        many = [ended for ended in gone if len(ended) > _MOST_ENDED]
        for p in all_:
            if not any(p in folded for folded in many):
                version = (p.version or "-",) if has_versions else ()
                yield of_process(p), p.service or "?", p.name, *version, _apis(p), tuple(p.listens), _last(p)
        for folded in many:
            listeners = tuple(sorted({name for p in folded for name in p.listens}))
            last = min(folded, key=lambda p: p.idle or 0.0)
            version = ("-",) if has_versions else ()
            more = f"({len(folded)} more)"
            yield of_process(last), service or "?", more, *version, (), listeners, _last(last)


def _apis(process: ProcessStatus) -> tuple[str, ...]:
    """Return the APIs that a process serves; those that it only owns, or does not own, say so."""
    owns, serves = set(process.owns), set(process.serves)
    return tuple(
        name if name in owns & serves else f"{name} ({'owned only' if name in owns else 'served only'})"
        for name in dict.fromkeys([*process.owns, *process.serves])
    )


def _last(process: ProcessStatus) -> str:
    return "now" if process.idle is None else ago(process.idle)


def _api(it: ApiStatus) -> Row:
    of_all = is_of_all(it)
    owner, served = ("each service", "-") if of_all else ("nobody", "nobody")
    if it.is_1x:
        owner, served = "a Lightbus 1.x", "not known (1.x)"
    return (
        of_api(it),
        it.name,
        it.owner or owner,
        "published" if it.is_published else "-",
        it.processes or (served,),
        it.waiting,
        it.running,
    )


def _listener(it: ListenerStatus, rates: Rates | None = None, *, is_cut: bool = False) -> Row:
    unread: Cell = it.lag if it.lag_is_exact else f"~{it.lag}"
    readers = it.processes or ("paused" if it.paused else "nobody",)
    if it.ended:
        readers = (*readers, f"{it.ended} ended")
    counts: Row = (unread, it.pending, it.retrying, it.dead)
    if rates is not None:
        counts += tuple(map(_per_second, rates.get(_key(it), (None, None))))
    # All of them end with that.
    stream = it.stream.removesuffix(":stream") if is_cut else it.stream
    return (of_group(it), it.group, stream, *counts, readers)


def schedule_row(it: ScheduleStatus, now: float) -> Row:
    """Return the cells of a schedule, for a table with :data:`SCHEDULES`."""
    next_run = "-" if it.next_run is None else f"in {duration(max(0.0, it.next_run - now))}"
    last = "-" if it.started is None else ago(max(0.0, now - it.started))
    took = "-" if it.seconds is None else in_short(it.seconds)
    process = f"{it.process} (by {it.by})" if it.by else it.process or "-"
    return (of_schedule(it), it.service, it.name, it.times, next_run, last, took, process)


def of_services(
    columns: Sequence[Column], rows: Sequence[Row], is_cut: bool
) -> tuple[Sequence[Column], list[Row]]:
    """Leave the column of services out on a terminal where all rows are of one.

    Args:
        columns: The columns, of which the second has the service.
        rows: The rows.
        is_cut: Whether lines have to fit a terminal.
    """
    if not is_cut or len({row[1] for row in rows}) > 1:
        return columns, list(rows)
    return (columns[0], *columns[2:]), [(row[0], *row[2:]) for row in rows]


def _outbox(it: OutboxStatus, now: float) -> Row:
    sent = "-" if it.sent is None else ago(max(0.0, now - it.sent))
    oldest = duration(it.oldest) if it.rows and it.oldest is not None else "-"
    rows, failed = ("-" if number is None else number for number in (it.rows, it.failed))
    return (of_outbox(it), it.service, it.name, rows, oldest, failed, sent, it.process or "-")


def _key(it: ListenerStatus) -> tuple[str, str, str]:
    return it.service, it.name, it.stream


def _rate(before: int | None, now: int | None, seconds: float) -> float | None:
    return None if before is None or now is None else max(0, now - before) / seconds


def _per_second(rate: float | None) -> str:
    if rate is None:
        return "-"
    return f"{rate:.1f}" if 0 < rate < 10 else f"{rate:,.0f}"
