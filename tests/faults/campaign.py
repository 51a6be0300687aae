"""One campaign: start, let things go wrong, drain, judge."""

from __future__ import annotations

import contextlib
import random
import time
from dataclasses import dataclass, field

import redis

from tests.servers import Kind

from . import ledger
from .cluster import Cluster, pause
from .driver import Driver
from .oracle import Verdict, judge
from .settings import KINDS, LISTENERS
from .watcher import Left, Watcher

#: Seconds within which everything must be dealt with once nothing goes wrong any more.
DRAIN = 45.0


@dataclass
class Result:
    """What came of a campaign."""

    kind: Kind
    seed: int
    seconds: float
    verdict: Verdict
    drained_in: float
    faults: dict[str, int] = field(default_factory=dict)
    #: What the hosts printed last; kept where something is wrong.
    outputs: list[str] = field(default_factory=list)


def run(
    kind: Kind = "valkey",
    seed: int = 1,
    seconds: float = 20,
    faults: tuple[str, ...] = (),
    plant: str = "",
    kinds: str = KINDS,
) -> Result:
    """Run one campaign.

    Args:
        kind: Which server.
        seed: Of the faults and of what is fired and called.
        seconds: How long things go wrong.
        faults: Only these; all where none is named.
        plant: The name of a bug to plant.
        kinds: Of a hundred events, how many are of which kind.
    """
    with Cluster(kind, seed, plant, kinds) as cluster, Watcher(cluster.server.port) as watcher:
        cluster.start_clients()
        driver = Driver(cluster, watcher, random.Random(seed))
        pause(1)
        driver.run(seconds, faults)
        cluster.stop_clients()
        began = time.monotonic()
        left = _drain(watcher)
        drained_in = time.monotonic() - began
        dead = {listener: watcher.dead(listener) for listener in LISTENERS}
        statuses = cluster.stop_hosts()
        lines = ledger.read(cluster.folder)
        bound = driver.bound + _held_at_killings(lines, watcher)
        thefts = [" ".join(key) for key in sorted(watcher.thefts)]
        verdict = judge(lines, left, dead, thefts, bound)
        verdict.wrong["exit status"] = [f"{name}: {status}" for name, status in statuses.items() if status]
        outputs = [] if verdict.is_good else [text[-3000:] for text in cluster.outputs()]
        return Result(kind, seed, seconds, verdict, drained_in, driver.done, outputs)


def _held_at_killings(lines: list[ledger.Line], watcher: Watcher) -> int:
    """What the processes that were ended by an event held: that may run twice."""
    host_of = {line.words[1]: line.words[0] for line in lines if line.verb == "host"}
    killings = [line for line in lines if line.verb == "killing"]
    return sum(watcher.held_at(line.time, host_of[str(line.pid)]) for line in killings)


def _drain(watcher: Watcher) -> Left:
    """Wait until nothing is left to do, and a moment longer: what is released must not come back."""
    until = time.monotonic() + DRAIN
    left, quiet = Left(pending=-1), 0
    while time.monotonic() < until and quiet < 5:
        pause(0.1)
        with contextlib.suppress(redis.RedisError):
            left = watcher.left()
            quiet = quiet + 1 if left.total == 0 else 0
    return left


def table(results: list[Result]) -> str:
    """A report: one line per campaign, and what was wrong."""
    rows = [_row(result) for result in results]
    columns = list(rows[0])
    widths = [max(len(name), *(len(row[name]) for row in rows)) for name in columns]
    lines = [columns, *([row[name] for name in columns] for row in rows)]
    return "\n".join("  ".join(cell.rjust(w) for cell, w in zip(line, widths, strict=True)) for line in lines)


def _row(result: Result) -> dict[str, str]:
    v = result.verdict
    wrong = ", ".join(f"{name} {len(examples)}" for name, examples in v.wrong.items() if examples)
    return {
        "server": result.kind,
        "seed": str(result.seed),
        "seconds": f"{result.seconds:.0f}",
        "faults": str(sum(result.faults.values())),
        "deaths": str(v.deaths),
        "fired": str(v.fired),
        "confirmed": str(v.confirmed),
        "lost": str(v.count("lost")),
        "stuck": str(v.count("stuck")),
        "phantom": str(v.count("phantom")),
        "twice": f"{v.duplicates} of {v.bound}",
        "stored twice": str(v.stored_twice),
        "dead": str(v.dead),
        "unlucky": str(v.unlucky),
        "calls": str(v.calls),
        "drain": f"{result.drained_in:.1f}",
        "verdict": wrong or "good",
    }
