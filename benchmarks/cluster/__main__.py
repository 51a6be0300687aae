"""Measure one process that serves and listens to many APIs on a cluster of three primaries.

``python -m benchmarks.cluster [APIS]`` prints a line for each way to wait. It fails where ``bell`` has
more than 40 connections, takes 1.5 % of a processor at rest, or is slower than ``blocking`` by a quarter.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import lightbus
from benchmarks.cluster.service import EVENTS
from benchmarks.measures import Figures
from benchmarks.process import start_anew, used
from tests.support.cluster import PATIENT, RedisCluster
from tests.support.processes import Process, lightbus_process

#: The most connections of ``bell``, and the most of a processor that it takes at rest.
CONNECTIONS, AT_REST = 40, 0.015
#: How much slower than ``blocking`` it may be: two runs of the same differ by as much.
SLOWER = 1.25
#: Seconds for which a process is watched at rest.
_WATCHED = float(os.environ.get("BENCH_WATCHED", "40"))


def manifest(cluster: RedisCluster, waiting: str, apis: int) -> dict[str, Any]:
    """A host of all APIs, which listens to all of them."""
    events = [f"bench.api_{number}.user_registered" for number in range(apis)]
    return {
        "service_name": "bench",
        "modules": ["benchmarks.cluster.service"],
        "bus": {"redis": {"cluster": {"nodes": cluster.addresses}, "waiting": waiting}},
        "listeners": {"time": {"events": events, "handler": "benchmarks.cluster.service:note"}},
    }


def connections(cluster: RedisCluster) -> int:
    """How many there are, without those that ask here."""
    lines = [line for node in cluster.primaries() for line in node.execute("CLIENT", "LIST").splitlines()]
    return sum(b"cmd=client|list" not in line for line in lines)


async def latencies(url: str, apis: int, process: Process) -> Figures:
    """The medians of calls and of events, one after the other, each of another API."""
    os.environ["BENCH_APIS"] = str(apis)
    bus = lightbus.create(config={"bus": {"redis": {"url": url}}})
    calls = []
    for number in range(apis + EVENTS):
        began = time.monotonic()
        await bus[f"bench.api_{number % apis}"].check_password.call_async(username="admin", password="secret")
        calls.append(time.monotonic() - began)
    for number in range(EVENTS):
        event = bus[f"bench.api_{number % apis}"].user_registered
        await event.fire_async(username=str(time.monotonic()), password="secret")
        await asyncio.sleep(0.005)
    line = await asyncio.to_thread(process.wait_for_line, "events_ms", 60)
    await bus.client.close_async()
    # Each API costs its first message more.
    return {"calls_ms": 1000 * median(calls[apis:]), "events_ms": float(line.split()[-1])}


def measure(waiting: str, apis: int) -> Figures:
    """All figures of one way to wait."""
    with (
        RedisCluster(replicas=0, node_timeout=PATIENT) as cluster,
        tempfile.TemporaryDirectory() as folder,
    ):
        path = Path(folder) / "lightbus.yaml"
        path.write_text(json.dumps(manifest(cluster, waiting, apis)))
        before = connections(cluster)
        command = ("run", "-c", str(path))
        with lightbus_process(*command, env={"BENCH_APIS": str(apis)}) as process:
            process.wait_for_line("ready", 120)
            time.sleep(5)
            began, taken = time.monotonic(), used(process.pid)
            time.sleep(_WATCHED)
            share = (used(process.pid) - taken) / (time.monotonic() - began)
            figures = {"connections": float(connections(cluster) - before), "at_rest": share}
            return figures | asyncio.run(latencies(cluster.url, apis, process))


def main(apis: int = 300) -> int:
    """Measure and print; returns the exit status."""
    found = {}
    for waiting in ("bell", "blocking"):
        found[waiting] = figures = measure(waiting, apis)
        told = "{connections:.0f} connections, {at_rest:.1%} of a processor at rest, p50 of calls"
        told += " {calls_ms:.2f} ms, of events {events_ms:.2f} ms"
        print(f"{waiting}: {told.format(**figures)}", flush=True)
    bell, blocking = found["bell"], found["blocking"]
    missed = [
        *(["connections"] if bell["connections"] > CONNECTIONS else []),
        *(["at_rest"] if bell["at_rest"] > AT_REST else []),
        *(name for name in ("calls_ms", "events_ms") if bell[name] > SLOWER * blocking[name]),
    ]
    if missed:
        print(f"MISSED: {', '.join(missed)}")
    return 1 if missed else 0


if __name__ == "__main__":
    start_anew()
    sys.exit(main(*map(int, sys.argv[1:])))
