"""Floor and Lightbus in turn, then contracts on and off, a few rounds of each. Informs; never fails.

``python -m benchmarks [--rounds N] [--floor-only | --contracts-only]``
"""

from __future__ import annotations

import argparse
import platform
import sys
from dataclasses import dataclass
from statistics import median

from rich.console import Console
from rich.table import Table

from benchmarks.measures import Measures
from tests.processes import Process
from tests.servers import Server

ROUNDS = 3
TIMEOUT = 150.0


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. A target is a ratio to the floor: at least, or at most for times."""

    title: str
    field: str
    target: float | None = None
    is_time: bool = False


ROWS = [
    Row("RPC, one at a time: p50 (ms)", "rpc_p50_ms", target=3.0, is_time=True),
    Row("RPC, one at a time: p99 (ms)", "rpc_p99_ms", is_time=True),
    Row("RPC, one at a time (/s)", "rpc_one_by_one"),
    Row("RPC, 50 in flight (/s)", "rpc_in_flight", target=0.2),
    Row("fire, awaited one by one (/s)", "fire_one_by_one"),
    Row("fire, 50 in flight (/s)", "fire_in_flight", target=0.2),
    Row("consume a backlog (/s)", "consume", target=0.1),
    Row("RPC, 50 in flight, procedure by def (/s)", "rpc_in_flight_def"),
    Row("RPC, one at a time from sync code: p50 (ms)", "rpc_sync_p50_ms", is_time=True),
]

CONTRACT_ROWS = [
    Row("RPC, 50 in flight (/s)", "rpc_in_flight", target=0.85),
    Row("fire, 50 in flight (/s)", "fire_in_flight", target=0.75),
    Row("consume a backlog (/s)", "consume", target=0.75),
]


def measure(module: str, *args: str) -> Measures:
    """Run one program once, as its own process."""
    with Process([sys.executable, "-m", module, *args]) as process:
        line = process.wait_for_line("rpc_p50_ms", timeout=TIMEOUT)
        return Measures.from_json(line)


def number(value: float | None, row: Row) -> str:
    """As people read it."""
    if value is None:
        return "-"
    return f"{value:.2f}" if row.is_time else f"{value:,.0f}"


def verdict(row: Row, ratio: float | None) -> str:
    """The target, and whether it was missed."""
    if row.target is None:
        return ""
    wanted = f"≤ {row.target:g}" if row.is_time else f"≥ {row.target:g}"
    if ratio is None:
        return wanted
    missed = ratio > row.target if row.is_time else ratio < row.target
    return f"{wanted}  MISSED" if missed else f"{wanted}  ok"


def ratio_of(row: Row, floors: list[Measures], buses: list[Measures]) -> float | None:
    """The median of the rounds' ratios: what else the machine does in a round, it does to both."""
    ratios = []
    for floor, bus in zip(floors, buses, strict=False):
        base, ours = getattr(floor, row.field), getattr(bus, row.field)
        if base and ours:
            ratios.append(ours / base)
    return median(ratios) if ratios else None


def table(
    title: str, names: tuple[str, str], rows: list[Row], floors: list[Measures], buses: list[Measures]
) -> Table:
    """What was measured of two programs, and how the second compares with the first."""
    result = Table("measure", title=f"{title} (Python {platform.python_version()})")
    for column in (*names, "ratio", "target"):
        result.add_column(column, justify="right", no_wrap=True)
    floor = Measures.median_of(floors)
    bus = Measures.median_of(buses) if buses else None
    for row in rows:
        base: float | None = getattr(floor, row.field)
        ours: float | None = getattr(bus, row.field) if bus else None
        ratio = ratio_of(row, floors, buses)
        shown = "-" if ratio is None else f"{ratio:.2f}"
        result.add_row(row.title, number(base, row), number(ours, row), shown, verdict(row, ratio))
    return result


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--floor-only", action="store_true")
    parser.add_argument("--contracts-only", action="store_true", help="only what validation and casting cost")
    options = parser.parse_args()
    console = Console(width=max(Console().width, 100))
    if not options.contracts_only:
        against_floor(console, options.rounds, floor_only=options.floor_only)
    if not options.floor_only:
        contracts_on_and_off(console, options.rounds + 2)


def contracts_on_and_off(console: Console, rounds: int) -> None:
    """Measure and print what validation and casting cost."""
    measured: dict[str, list[Measures]] = {"on": [], "off": []}
    with Server("valkey") as server:
        for turn in range(rounds):
            print(f"contracts, round {turn + 1} of {rounds} ...", file=sys.stderr)
            for switch in ("on", "off") if turn % 2 else ("off", "on"):
                measured[switch].append(measure("benchmarks.contracts", server.url, switch))
                server.execute("FLUSHALL")
    # The best round of each: whatever else the machine does only makes a round slower.
    off, on = Measures.best_of(measured["off"]), Measures.best_of(measured["on"])
    title = f"Validation and casting, best of {rounds}"
    console.print(table(title, ("off", "on"), CONTRACT_ROWS, [off], [on]))


def against_floor(console: Console, rounds: int, *, floor_only: bool) -> None:
    """Measure and print Lightbus against the floor."""
    floor: list[Measures] = []
    bus: list[Measures] = []
    with Server("valkey") as server:
        for turn in range(rounds):
            print(f"round {turn + 1} of {rounds} ...", file=sys.stderr)
            floor.append(measure("benchmarks.floor", "client", str(server.port)))
            server.execute("FLUSHALL")
            if not floor_only:
                try:
                    bus.append(measure("benchmarks.bus", server.url))
                except (AssertionError, RuntimeError) as error:
                    print(f"Lightbus could not be measured: {error}", file=sys.stderr)
                    break
            server.execute("FLUSHALL")
    title = f"Lightbus against the floor on {server.kind}, medians of {rounds}"
    console.print(table(title, ("floor", "Lightbus"), ROWS, floor, bus))


if __name__ == "__main__":
    main()
