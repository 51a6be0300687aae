"""What a message costs on a cluster, as processor time of whoever fires, calls or answers, against one Redis.

``python -m benchmarks.cluster.costs [ROUNDS]`` measures the same on one Redis, and on three primaries with
each way to wait, by turns. Each figure is the least of all rounds. It fails where a cluster costs more than
1.3 times as much for firing, or 1.4 times for calling.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import lightbus
from benchmarks.measures import Figures, Operation, reported
from benchmarks.process import start_anew, used
from tests.support.cluster import PATIENT, RedisCluster
from tests.support.processes import Process, lightbus_process
from tests.support.servers import Server

#: How many times as much a cluster may cost.
MOST = {"fire": 1.3, "fire_50": 1.3, "call": 1.4, "call_50": 1.4}
#: How many of each, and how many at the same time.
COUNTS = {"fire": (3_000, 1), "fire_50": (20_000, 50), "call": (3_000, 1), "call_50": (15_000, 50)}
#: The APIs, which lie with all primaries; each message is of the next one.
APIS = 6
WARM_UP = 300


@dataclass(frozen=True)
class Way:
    """A Redis, and how processes wait there.

    Args:
        name: The name, for people.
        redis: The options.
    """

    name: str
    redis: dict[str, Any]

    def measure(self) -> Figures:
        """What each message costs its sender, and calls their host, in microseconds."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "lightbus.yaml"
            service = {"service_name": "bench", "modules": ["benchmarks.growth.many_apis"]}
            path.write_text(json.dumps({**service, "bus": {"redis": self.redis}}))
            env = {"BENCH_APIS": str(APIS)}
            with lightbus_process("run", "-c", str(path), env=env) as host:
                host.wait_for_line("ready", 60)
                figures: Figures = {}
                for what, (count, _) in COUNTS.items():
                    before = used(host.pid)
                    client = [sys.executable, "-m", "benchmarks.cluster.costs", what, json.dumps(self.redis)]
                    with Process(client, env=env) as process:
                        figures |= reported(process.wait_for_line("figures {", 600))
                    if what.startswith("call"):
                        figures[f"{what}_host"] = (used(host.pid) - before) / (count + WARM_UP) * 1e6
                return figures


async def send(what: str, redis: dict[str, Any]) -> Figures:
    """Fire or call, and measure what that takes of a processor."""
    import_module("benchmarks.growth.many_apis")  # Only who defines an API fires its events.
    bus = lightbus.create(config={"service_name": "client", "bus": {"redis": redis}})
    paths = [bus[f"bench.api_{number}"] for number in range(APIS)]
    given = {"username": "admin", "password": "secret"}
    name = "check_password" if what.startswith("call") else "user_registered"
    members = [getattr(path, name) for path in paths]
    operations: list[Operation] = [
        partial(member.call_async if what.startswith("call") else member.fire_async, **given)
        for member in members
    ]
    count, width = COUNTS[what]
    await _do(operations, WARM_UP, width)
    began = time.process_time()
    await _do(operations, count, width)
    taken = time.process_time() - began
    await bus.client.close_async()
    return {what: taken / count * 1e6}


async def _do(operations: list[Operation], count: int, width: int) -> None:
    left = iter(range(count))

    async def work() -> None:
        for number in left:
            await operations[number % len(operations)]()

    await asyncio.gather(*(work() for _ in range(width)))


@contextlib.contextmanager
def ways() -> Iterator[list[Way]]:
    """One Redis, and a cluster."""
    with Server("valkey") as server, RedisCluster(replicas=0, node_timeout=PATIENT) as cluster:
        nodes = {"nodes": cluster.addresses}
        yield [
            Way("one Redis", {"url": server.url}),
            Way("bell", {"cluster": nodes, "waiting": "bell"}),
            Way("blocking", {"cluster": nodes, "waiting": "blocking"}),
        ]


def main(rounds: int = 3) -> int:
    """Measure and print; returns the exit status."""
    with ways() as all_ways:
        measured: dict[str, list[Figures]] = {way.name: [] for way in all_ways}
        for _ in range(rounds):
            for way in all_ways:
                measured[way.name].append(way.measure())
    least = {
        name: {what: min(each[what] for each in found) for what in found[0]}
        for name, found in measured.items()
    }
    one, missed = least["one Redis"], []
    for name, figures in least.items():
        told = [f"{what} {cost:.1f} us ({cost / one[what]:.2f})" for what, cost in figures.items()]
        print(f"{name}: {', '.join(told)}", flush=True)
        missed += [f"{what} with {name}" for what, most in MOST.items() if figures[what] > most * one[what]]
    if missed:
        print(f"MISSED: {', '.join(missed)}")
    return 1 if missed else 0


if __name__ == "__main__":
    start_anew()
    if len(sys.argv) > 2:
        print("figures", json.dumps(asyncio.run(send(sys.argv[1], json.loads(sys.argv[2])))), flush=True)
    else:
        sys.exit(main(*map(int, sys.argv[1:])))
