"""Rolling restarts under a steady load: no call fails, no event runs twice or waits for a lease."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Mapping, Sequence
from typing import Any

from tests.support.servers import Kind

from . import settings
from .backing import Alone
from .campaign import DRAIN, finish
from .cluster import Cluster, pause
from .driver import Driver
from .ledger import Line
from .report import Result
from .watcher import Watcher


def _manifest(redis: Mapping[str, Any]) -> dict[str, Any]:
    # An event that had to wait for its lease would be stuck at the end.
    manifest = settings.manifest(redis, lease=2 * DRAIN)
    manifest["apis"]["work"]["rpc_concurrency"] = 32
    return manifest


def roll(kind: Kind = "valkey", seed: int = 1, restarts: int = 20, rate: float = 200) -> Result:
    """Restart hosts one after another, each when the one before is back.

    Args:
        kind: Which server.
        seed: Of which host is next, and of what is fired and called.
        restarts: How many.
        rate: Calls, and as many events, per second.
    """
    backing = Alone(kind)
    with Cluster(backing, {"CAMPAIGN_KINDS": ""}, _manifest) as cluster, Watcher(backing) as watcher:
        cluster.start_clients(seed, {"publisher": rate, "caller": rate})
        driver = Driver(cluster, watcher, random.Random(seed))
        pause(1)
        began = time.monotonic()
        for _ in range(restarts):
            driver.do("roll")
        ended = time.monotonic()
        end = finish(cluster, watcher)
    verdict = end.verdict
    failed = {outcome: times for outcome, times in verdict.outcomes.items() if outcome != "result"}
    verdict.wrong["failed"] = [f"{outcome}: {times}" for outcome, times in failed.items()]
    notes = _rates(end.lines, began, ended)
    return Result(
        "rolling", kind, seed, ended - began, verdict, end.drained_in, driver.done, end.outputs, notes
    )


def _rates(lines: Sequence[Line], begin: float, end: float) -> list[str]:
    """What was offered between two times, and how long that had to wait."""
    notes = []
    for first, last, place in (("called", "outcome", 0), ("fired", "done", 1)):
        times = {line.words[0]: line.time for line in lines if line.verb == first and begin < line.time < end}
        waits = [
            line.time - times[line.words[place]]
            for line in lines
            if line.verb == last and line.words[place] in times
        ]
        notes.append(
            f"{first}: {len(times) / (end - begin):.0f}/s; {last} after {statistics.median(waits):.3f} s "
            f"in the median, {max(waits):.3f} s at most"
        )
    return notes
