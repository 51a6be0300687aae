"""Ten times what a host can do is asked of it: memory stays flat, and what is refused is told."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import redis

from tests.support.servers import Kind

from . import settings
from .backing import Alone
from .campaign import finish
from .cluster import Cluster, pause
from .memory import Memory
from .report import Result
from .watcher import Watcher

#: How long a heavy event or call takes, in seconds.
HEAVY = settings.HEAVY
#: What one host can do in a second: events in the slots of the listener `wide`, and calls.
EVENTS, CALLS = settings.LISTENERS["wide"] / HEAVY, 8 / HEAVY
#: Seconds for which a caller waits.
PATIENCE = settings.PATIENCE
#: How many times as much is asked for.
TIMES = 10


def _manifest(redis: Mapping[str, Any]) -> dict[str, Any]:
    manifest = settings.manifest(redis)
    work = manifest["apis"]["work"]
    work["event_fire_timeout"] = "1s"
    # What waits longer than its caller is run for nothing.
    work["rpc_transport"] = {"redis": {"max_queue_length": int(CALLS * PATIENCE / 2)}}
    return manifest


def overload(kind: Kind = "valkey", seed: int = 1, seconds: float = 600, plant: str = "") -> Result:
    """Offer too much, and look at the memory of everybody.

    Args:
        kind: Which server.
        seed: Of the publisher and the caller.
        seconds: For how long, once all have found their size.
        plant: The name of a bug to plant.
    """
    backing = Alone(kind)
    env = {"CAMPAIGN_KINDS": "heavy=100", "CAMPAIGN_PLANT": plant}
    with Cluster(backing, env, _manifest, hosts=1) as cluster:
        with Watcher(backing) as watcher:
            cluster.start_clients(seed, {"publisher": EVENTS * TIMES, "caller": CALLS * TIMES})
            publisher, caller = cluster.clients
            (host,) = cluster.hosts
            pids = {"host": host.process.pid, "publisher": publisher.pid, "caller": caller.pid}
            with Memory({**pids, "redis": backing.server.pid}) as memory:
                memory.warm_up()
                lengths = _longest(backing.port, seconds)
            end = finish(cluster, watcher)
    verdict = end.verdict
    trends = memory.trends()
    grown = [f"{name}: {trend}" for name, trend in trends.items() if name in pids and not trend.is_flat]
    verdict.wrong["memory"] = grown
    notes = [f"{name}: {trend}" for name, trend in trends.items()]
    notes += [f"{name}: {length} at most" for name, length in lengths.items()]
    notes += [f"events raised: {dict(verdict.raised)}"]
    return Result("overload", kind, seed, seconds, verdict, end.drained_in, {}, end.outputs, notes)


def _longest(port: int, seconds: float) -> dict[str, int]:
    """Look at what waits, for so long; returns the most."""
    calls = events = 0
    until = time.monotonic() + seconds
    with redis.Redis(port=port, socket_timeout=5) as server:
        while time.monotonic() < until:
            calls = max(calls, server.llen("work:rpc_queue"))
            events = max(events, server.xlen(settings.STREAM))
            pause(0.5)
    return {"calls waiting": calls, "events in the stream": events}
