"""What the table shows, and what is aimed at."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import Literal

from benchmarks.measures import Figures
from benchmarks.peers.direct import DIRECT

FLOOR = "floor"
OURS = "Lightbus"
#: The peers that are no message bus over Redis, and so not compared with as such.
WITHOUT_REDIS = tuple(peer.name for peer in DIRECT)

#: The rounds of each program, by its name.
Rounds = dict[str, list[Figures]]


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table.

    Args:
        part: What `--only` calls it.
        title: For people.
        figure: Its name in what programs report.
        unit: Such as ``/s``, of which more is better, or ``ms``, of which less is.
        base: The floor's figure to compare with, where it is not the same.
    """

    part: str
    title: str
    figure: str
    unit: str = "/s"
    base: str = ""

    @property
    def is_rate(self) -> bool:
        """Whether more is better."""
        return self.unit == "/s"


ROWS = [
    Row("rpc", "RPC, one at a time: p50", "rpc_p50_ms", "ms"),
    Row("rpc", "RPC, one at a time: p99", "rpc_p99_ms", "ms"),
    Row("rpc", "RPC, one at a time", "rpc"),
    Row("rpc", "RPC, 50 in flight", "rpc_50"),
    Row("rpc", "RPC, 50 in flight, procedure by def", "rpc_50_def", base="rpc_50"),
    Row("rpc", "RPC from sync code: p50", "rpc_sync_p50_ms", "ms", base="rpc_p50_ms"),
    Row("rpc", "RPC from sync code: p99", "rpc_sync_p99_ms", "ms", base="rpc_p99_ms"),
    Row("rpc", "RPC from 8 threads", "rpc_threads", base="rpc_8"),
    Row("fire", "fire, awaited one by one", "fire"),
    Row("fire", "fire, 50 in flight", "fire_50"),
    Row("fire", "fire, 100 at a time", "fire_batch"),
    Row("fire", "fire from sync code", "fire_sync", base="fire"),
    Row("fire", "fire from 8 threads", "fire_threads", base="fire_50"),
    Row("consume", "consume a backlog", "consume"),
    Row("consume", "consume a backlog, handler by def", "consume_def", base="consume"),
    Row("consume", "consume a backlog, handler takes 100", "consume_batch", base="consume"),
    Row("latency", "event to handler at 100/s: p50", "latency_p50_ms", "ms"),
    Row("latency", "event to handler at 100/s: p99", "latency_p99_ms", "ms"),
    Row("latency", "events fired and handled at once", "capacity"),
    Row("latency", "event to handler at half of that: p50", "half_p50_ms", "ms"),
    Row("latency", "event to handler at half of that: p99", "half_p99_ms", "ms"),
    Row("start", "start-up to ready", "ready_s", "s"),
    Row("start", "import", "import_s", "s"),
    Row("memory", "worker at rest", "rest_mb", "MB"),
    Row("memory", "10,000 calls that wait, in their caller", "flight_mb", "MB"),
]

PARTS = tuple(dict.fromkeys(row.part for row in ROWS))
#: What the peers are measured in.
PEER_PARTS = ("rpc", "fire", "consume", "latency")

CONTRACT_ROWS = [
    Row("contracts", "RPC, 50 in flight", "rpc_50"),
    Row("contracts", "fire, 50 in flight", "fire_50"),
    Row("contracts", "consume a backlog", "consume"),
]

#: What those that need no Redis are measured in.
DIRECT_ROWS = [row for row in ROWS if row.figure in ("rpc_p50_ms", "rpc_p99_ms", "rpc", "rpc_50")]


@dataclass(frozen=True, slots=True)
class Target:
    """What one of our figures is to be.

    Args:
        figure: Ours.
        relation: ``at least`` or ``at most``.
        factor: Times what it is compared with.
        against: The floor, the best peer, one peer by name, or nothing: then the factor is the figure.
        base: The figure that it is compared with, where it is not the same.
    """

    figure: str
    relation: Literal["at least", "at most"]
    factor: float
    against: str = ""
    base: str = ""

    def outcome(self, rounds: Rounds, program: str = OURS) -> float | None:
        """How often what it is compared with it is, by the median of the rounds; None if not measured.

        Whatever else the machine does in a round, it does to both.
        """
        ratios = []
        for number, ours in enumerate(rounds.get(program, ())):
            figure, base = ours.get(self.figure), self._base(rounds, number)
            if figure is not None and base:
                ratios.append(figure / base)
        return median(ratios) if ratios else None

    def is_met(self, outcome: float) -> bool:
        """Whether an outcome is good enough."""
        return outcome >= self.factor if self.relation == "at least" else outcome <= self.factor

    def _base(self, rounds: Rounds, number: int) -> float | None:
        if not self.against:
            return 1.0
        names = [self.against] if self.against in rounds else []
        if self.against == "best peer":
            names = [name for name in rounds if name not in (FLOOR, OURS, *WITHOUT_REDIS)]
        found = [
            rounds[name][number].get(self.base or self.figure) for name in names if number < len(rounds[name])
        ]
        known = [figure for figure in found if figure]
        best = max if self.relation == "at least" else min
        return best(known) if known else None


BEST = "best peer"
TARGETS = [
    Target("rpc_p50_ms", "at most", 1.5, FLOOR),
    Target("rpc_sync_p50_ms", "at most", 2.2, FLOOR, base="rpc_p50_ms"),
    Target("rpc_50", "at least", 0.45, FLOOR),
    Target("rpc_50", "at least", 5, BEST),
    Target("rpc_50_def", "at least", 0.35, FLOOR, base="rpc_50"),
    Target("fire", "at least", 0.9, FLOOR),
    Target("fire", "at least", 1, BEST),
    Target("fire_50", "at least", 0.5, FLOOR),
    Target("fire_50", "at least", 4, BEST),
    Target("consume", "at least", 0.45, FLOOR),
    Target("consume", "at least", 8, BEST),
    Target("consume_def", "at least", 0.2, FLOOR, base="consume"),
    Target("consume_def", "at least", 10, BEST),
    Target("consume_batch", "at least", 0.6, FLOOR, base="consume"),
    Target("consume_batch", "at least", 1.2, "FastStream"),
    Target("latency_p50_ms", "at most", 1),
    Target("latency_p50_ms", "at most", 1, BEST),
    Target("ready_s", "at most", 0.4),
    Target("import_s", "at most", 0.1),
    Target("rest_mb", "at most", 45),
    Target("rpc_50", "at least", 1.1, "NATS"),
    Target("apis_1000_rpc_us", "at most", 1.5, OURS, base="apis_1_rpc_us"),
    Target("apis_1000_fire_us", "at most", 1.5, OURS, base="apis_1_fire_us"),
    Target("apis_300_idle", "at most", 1),
    Target("cards_500_ms", "at most", 200),
    Target("listeners_1000_us", "at most", 2, OURS, base="listeners_1_us"),
    Target("processes_64_rpc_us", "at most", 3, OURS, base="processes_1_rpc_us"),
    Target("processes_64_event_us", "at most", 3, OURS, base="processes_1_event_us"),
    Target("processes_64_idle", "at most", 1.5, OURS, base="processes_1_idle"),
    Target("backlog_1000000_us", "at most", 1.2, OURS, base="backlog_1000_us"),
]


def ratio(row: Row, rounds: Rounds, programs: tuple[str, str]) -> float | None:
    """The first program's figure to the second's."""
    ours, against = programs
    return Target(row.figure, "at least", 0, against, row.base).outcome(rounds, ours)


def middle(rounds: list[Figures], figure: str) -> float | None:
    """The median of the rounds that have the figure."""
    found = [figures[figure] for figures in rounds if figure in figures]
    return median(found) if found else None
