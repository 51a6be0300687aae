"""One campaign: start, let things go wrong, drain, judge."""

from __future__ import annotations

import contextlib
import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import redis

from tests.support.eventually import eventually
from tests.support.servers import Kind

from . import ledger
from .backing import Alone, Replicated
from .bound import bound_of
from .cluster import Cluster, pause
from .driver import ALONE, REPLICATED, Driver
from .oracle import Verdict, judge
from .report import Result
from .settings import KINDS, manifest
from .users import LACKING, Users
from .watcher import Left, Watcher

#: Seconds within which something more must be dealt with, once nothing goes wrong any more, until all is.
DRAIN = 45.0


def run(
    kind: Kind = "valkey",
    seed: int = 1,
    seconds: float = 20,
    faults: tuple[str, ...] = (),
    plant: str = "",
    kinds: str = KINDS,
    *,
    replicated: bool = False,
    promised: bool = False,
    acl: bool = False,
) -> Result:
    """Run one campaign.

    Args:
        kind: Which server.
        seed: Of the faults and of what is fired and called.
        seconds: How long things go wrong.
        faults: Only these; all where none is named.
        plant: The name of a bug to plant.
        kinds: Of a hundred events, how many are of which kind.
        replicated: Whether there is a replica that Sentinel may promote; what it heard of must not be lost.
        promised: Whether firing waits for that replica, so that nothing confirmed may be lost.
        acl: Whether each process is a user of its own, with the rules that ``lightbus acl`` writes.
    """
    asks = replicated and not promised
    lacking = LACKING.get(plant, "")
    env = {
        "CAMPAIGN_PLANT": "" if lacking else plant,
        "CAMPAIGN_KINDS": kinds,
        "CAMPAIGN_REPLICATED": "1" if asks else "",
    }
    configured = partial(manifest, replicas=int(promised))
    users = Users(configured, {"url": "redis://redis"}, lacking) if acl else None
    args = users.args if users is not None else ()
    backing = Replicated(kind, guarded=asks and seed % 2 == 1) if replicated else Alone(kind, args)
    with Cluster(backing, env, configured, users=users) as cluster, Watcher(backing) as watcher:
        cluster.start_clients(seed)
        driver = Driver(cluster, watcher, random.Random(seed))
        await_first(cluster)
        driver.run(seconds, faults or (REPLICATED if replicated else ALONE))
        end = finish(
            cluster,
            watcher,
            lambda lines: bound_of(lines, driver.struck) + driver.unsettled,
            "replicated" if asks else "confirmed",
        )
    verdict = end.verdict
    unheard = [f"lost since no replica had it: {verdict.unreplicated}", f"calls run again: {verdict.rerun}"]
    return Result(
        "replicas" if promised else "sentinel" if replicated else f"faults{with_users(users)}",
        kind,
        seed,
        seconds,
        verdict,
        end.drained_in,
        driver.done,
        end.outputs,
        unheard if replicated else [],
    )


def await_first(cluster: Cluster) -> None:
    """Wait until an event is confirmed, and a moment longer: before that, nothing can go wrong."""
    eventually(
        lambda: any(line.verb == "confirmed" for line in ledger.read(cluster.folder)),
        60,
        "an event that is confirmed",
    )
    pause(1)


@dataclass
class End:
    """How a campaign ended."""

    verdict: Verdict
    lines: Sequence[ledger.Line]
    #: How many seconds it took until nothing was left to do.
    drained_in: float
    #: What the processes printed last, where something is wrong.
    outputs: list[str]


def finish(
    cluster: Cluster,
    watcher: Watcher,
    bound: Callable[[Sequence[ledger.Line]], int] = lambda _: 0,
    kept: str = "confirmed",
) -> End:
    """Let everything come to its end, and judge.

    Args:
        cluster: What runs.
        watcher: What looks at its Redis.
        bound: How many events may have run twice, by the ledgers.
        kept: What the publisher writes of an event that must not be lost.
    """
    cluster.stop_clients()
    left, drained_in = _drain(watcher)
    dead, holders = watcher.dead(), watcher.holders_of_dead()
    statuses = cluster.stop_hosts()
    for begin, end in watcher.delays:
        cluster.ledger.write("held_up", f"{begin:.6f}", f"{end:.6f}")
    lines = ledger.read(cluster.folder)
    verdict = judge(lines, left, dead, watcher.thefts, bound(lines), kept)
    if verdict.wrong["foreign"]:
        verdict.wrong["foreign"] += holders
    if cluster.users is not None:
        cluster.note_refused()
        verdict.wrong["refused"] = sorted(cluster.users.refused)
        has_looked = any(line.verb == "looked_after" for line in lines)
        verdict.wrong["not looked after"] = [] if has_looked else ["the operator could do nothing"]
    verdict.wrong["exit status"] = [f"{name}: {status}" for name, status in statuses.items() if status]
    outputs = [] if verdict.is_good else [text[-3000:] for text in cluster.outputs()]
    return End(verdict, lines, drained_in, outputs)


def with_users(users: Users | None) -> str:
    """Say in a campaign's name that its processes may not do everything."""
    return "" if users is None else ", limited users"


def _drain(watcher: Watcher) -> tuple[Left, float]:
    """Wait until nothing is left to do, and a moment longer: what is released must not come back."""
    began = progressed = time.monotonic()
    left, quiet, least = Left(pending=-1), 0, math.inf
    while time.monotonic() < progressed + DRAIN and quiet < 5:
        pause(0.1)
        with contextlib.suppress(redis.RedisError):
            left = watcher.left()
            quiet = quiet + 1 if left.total == 0 else 0
            if left.total < least:
                least, progressed = left.total, time.monotonic()
    return left, time.monotonic() - began
