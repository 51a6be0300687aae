"""``make bench-failover``: how long firing stands still while a primary is replaced, and what is lost.

A cluster of three primaries and three replicas for each row; eight events are on the way at a time.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import lightbus
from lightbus.exceptions import LightbusException
from tests.support.cluster import RedisCluster
from tests.support.eventually import eventually_async
from tests.support.servers import Kind

#: Seconds of silence after which a node counts as failed; the how-to advises it.
NODE_TIMEOUT = 5.0
#: Seconds for which a replica hears nothing before its primary dies.
LAG = 0.7
_AT_A_TIME = 8
_WARM_UP = 2_000
_STREAM = "orders.*:stream"


class OrdersApi(lightbus.Api):
    """The API that is fired."""

    placed = lightbus.Event(parameters=[lightbus.Parameter("n", int)])

    class Meta:
        """Its name."""

        name = "orders"


@dataclass
class Outcome:
    """What whoever fires has seen."""

    confirmed: set[int] = field(default_factory=set)
    refused: int = 0
    #: When events were confirmed, by the clock of this process.
    times: list[float] = field(default_factory=list)

    def gap(self, since: float) -> float:
        """The longest time without a confirmed event, from a moment on."""
        times = [since, *(each for each in self.times if each > since)]
        return max(second - first for first, second in itertools.pairwise(times))


async def _fire(bus: lightbus.BusPath, outcome: Outcome, is_over: threading.Event) -> None:
    numbers = iter(range(1 << 62))

    async def one_after_another() -> None:
        while not is_over.is_set():
            number = next(numbers)
            try:
                await bus.orders.placed.fire_async(n=number)
            except LightbusException:
                outcome.refused += 1
            else:
                outcome.confirmed.add(number)
                outcome.times.append(time.monotonic())

    await asyncio.gather(*(one_after_another() for _ in range(_AT_A_TIME)))


def kill(cluster: RedisCluster) -> None:
    """The primary dies; its replica had all, and gets one of its own when the old one is back."""
    old = cluster.owner(_STREAM)
    cluster.kill(old)
    cluster.wait_for_promotion(old)
    cluster.revive(old)


def kill_lagging(cluster: RedisCluster) -> None:
    """The primary dies while its replica is behind."""
    old = cluster.owner(_STREAM)
    (replica,) = cluster.replicas(old)
    with cluster.lagging(replica):
        time.sleep(LAG)
        cluster.kill(old)
    cluster.wait_for_promotion(old)
    cluster.revive(old)


def freeze(cluster: RedisCluster) -> None:
    """The primary stands still until its replica has taken over, and goes on then."""
    old = cluster.owner(_STREAM)
    with cluster.frozen(old):
        cluster.wait_for_promotion(old)


def hand_over(cluster: RedisCluster) -> None:
    """The replica is told to take over."""
    cluster.fail_over(cluster.owner(_STREAM))


FAULTS: dict[str, Callable[[RedisCluster], None]] = {
    "planned": hand_over,
    "killed": kill,
    "frozen": freeze,
    "lagging": kill_lagging,
}


@asynccontextmanager
async def _bus(cluster: RedisCluster, replicas: int) -> AsyncIterator[lightbus.BusPath]:
    events = {"max_stream_length": None, "replicas_before_confirmed": replicas}
    options = {"default": {"event_fire_timeout": "15s", "event_transport": {"redis": events}}}
    config = {"bus": {"redis": {"url": cluster.url}}, "apis": options}
    bus = lightbus.create(config, service_name="bench")
    try:
        yield bus
    finally:
        await bus.client.close_async()


async def measure(kind: Kind, fault: str, replicas: int) -> tuple[Outcome, float, int]:
    """Run one row; returns the outcome, the longest pause in seconds, and how many are lost."""
    outcome, is_over = Outcome(), threading.Event()
    with RedisCluster(kind, node_timeout=NODE_TIMEOUT) as cluster:
        async with _bus(cluster, replicas) as bus:
            firing = asyncio.ensure_future(_fire(bus, outcome, is_over))
            await eventually_async(lambda: len(outcome.confirmed) > _WARM_UP, 60)
            began = time.monotonic()
            await asyncio.to_thread(FAULTS[fault], cluster)
            after = time.monotonic()
            await eventually_async(lambda: outcome.times[-1] > after + 1, 60)
            is_over.set()
            await firing
        entries = cluster.execute(_STREAM, "XRANGE", _STREAM, "-", "+")
        stored = {int(dict(zip(body[::2], body[1::2], strict=True))[b":n"]) for _, body in entries}
    return outcome, outcome.gap(began), len(outcome.confirmed - stored)


def main() -> None:
    """Measure what the command line asks for, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.failover", description=__doc__)
    parser.add_argument("--server", default="valkey", help="valkey or redis7")
    parser.add_argument("--faults", default=",".join(FAULTS), help="only these")
    options = parser.parse_args()
    print("a primary is    replicas waited for    pause   confirmed    lost   refused", flush=True)
    for fault in options.faults.split(","):
        for replicas in (0, 1):
            outcome, pause, lost = asyncio.run(measure(options.server, fault, replicas))
            row = f"{fault:14}{replicas:21}{pause:7.1f} s{len(outcome.confirmed):12,}"
            print(f"{row}{lost:8,}{outcome.refused:10,}", flush=True)


if __name__ == "__main__":
    main()
