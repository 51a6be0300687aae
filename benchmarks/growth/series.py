"""What is measured of growth: one thing, at numbers that grow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.rows import Rounds, Row, middle

APIS = (1, 100, 300, 1_000)
LISTENERS = (1, 100, 1_000)
#: The largest message is one of 1 MiB: this leaves room for what is around the argument.
SIZES = (100, 10_000, 1_000_000)
BACKLOGS = (1_000, 100_000, 1_000_000)
PROCESSES = (1, 2, 8, 64)
CARDS = (10, 100, 500)


@dataclass(frozen=True, slots=True)
class Series:
    """One thing at several numbers.

    Args:
        part: What `--only` calls it.
        title: For people, with a brace pair for the number.
        figure: The name of the figure, likewise.
        numbers: The numbers, the smallest first.
        unit: Of the figure.
        is_drawn: Whether a curve of it is drawn.
    """

    part: str
    title: str
    figure: str
    numbers: Sequence[int]
    unit: str = "µs"
    is_drawn: bool = False

    @property
    def curve(self) -> str:
        """What its curve is called."""
        return self.title.format("N")

    def row(self, number: int) -> Row:
        """Return the row of one of its numbers."""
        return Row(self.part, self.title.format(f"{number:,}"), self.figure.format(number), self.unit)

    def measured(self, rounds: Rounds, program: str) -> dict[int, float]:
        """Return the medians of what was measured, by number."""
        found = {n: middle(rounds.get(program, []), self.figure.format(n)) for n in self.numbers}
        return {n: figure for n, figure in found.items() if figure is not None}

    def ratios(self, rounds: Rounds, program: str) -> dict[int, float]:
        """Return what was measured as multiples of that of the smallest number."""
        measured = self.measured(rounds, program)
        first = next(iter(measured.values()), 0.0)
        return {n: figure / first for n, figure in measured.items()} if first else {}


_CORE = "% of a core"

GROWTH = (
    Series("apis", "a call, round {} APIs", "apis_{}_rpc_us", APIS, is_drawn=True),
    Series("apis", "an event, round {} APIs", "apis_{}_fire_us", APIS, is_drawn=True),
    Series("apis", "CPU of an idle host, {} APIs", "apis_{}_idle", APIS, _CORE),
    Series("apis", "memory of an idle host, {} APIs", "apis_{}_mb", APIS, "MB"),
    Series("apis", "connections of a host, {} APIs", "apis_{}_connections", APIS, ""),
    Series(
        "listeners",
        "a handling, {} listeners",
        "listeners_{}_us",
        LISTENERS,
        is_drawn=True,
    ),
    Series("listeners", "CPU of an idle host, {} listeners", "listeners_{}_idle", LISTENERS, _CORE),
    Series("listeners", "connections of a host, {} listeners", "listeners_{}_connections", LISTENERS, ""),
    Series(
        "processes",
        "a call, {} processes",
        "processes_{}_rpc_us",
        PROCESSES,
        is_drawn=True,
    ),
    Series(
        "processes",
        "an event, {} processes",
        "processes_{}_event_us",
        PROCESSES,
        is_drawn=True,
    ),
    Series("processes", "CPU of each of {} idle processes", "processes_{}_idle", PROCESSES, _CORE),
    Series("processes", "CPU of Redis, {} idle processes", "processes_{}_redis", PROCESSES, _CORE),
    Series("sizes", "a call of {} bytes, one at a time: p50", "size_{}_rpc_us", SIZES),
    Series("sizes", "an event of {} bytes, fired one by one: p50", "size_{}_fire_us", SIZES),
    Series(
        "backlog",
        "an event of a backlog of {}",
        "backlog_{}_us",
        BACKLOGS,
        is_drawn=True,
    ),
    Series("cards", "an overview of {} processes that show a card", "cards_{}_ms", CARDS, "ms"),
)

GROWTH_ROWS = [series.row(number) for series in GROWTH for number in series.numbers]
GROWTH_PARTS = tuple(dict.fromkeys(series.part for series in GROWTH))
