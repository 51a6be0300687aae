"""How cost grows: with the number of APIs and of listeners, the size of messages, the length of a backlog.

``python -m benchmarks.growth URL`` is one program; it starts and stops the hosts itself. Every figure is of
one message, in microseconds, so that growth shows as a figure that does not stay the same.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import uvloop

from benchmarks import measures
from benchmarks.bus import CREDENTIALS, Client, Service, answers, create
from benchmarks.measures import Figures, Latencies
from benchmarks.rows import APIS, BACKLOGS, LISTENERS, SIZES


class Growth:
    """All measures of growth on one Redis."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        # Whoever fires waits for room in a stream that is full of what no listener has handled.
        self.service = Service(url, folder)
        self.bus = create(url, apis={"default": {"event_transport": {"redis": {"max_stream_length": None}}}})
        self.client = Client(url, self.service, self.bus)

    async def apis(self, count: int) -> Figures:
        """Calls and events that go round all APIs of a host that serves so many."""
        from benchmarks.many_apis import api_name

        names = [api_name(number) for number in range(count)]
        turn = 0

        def path() -> Any:
            nonlocal turn
            turn += 1
            return self.bus[names[turn % count]]

        def call() -> Any:
            return path().check_password.call_async(**CREDENTIALS)

        def fire() -> Any:
            return path().user_registered.fire_async(**CREDENTIALS)

        os.environ["BENCH_APIS"] = str(count)
        async with self.service.host(module="benchmarks.many_apis") as process:
            await answers(call, process)
            # Each API costs its first message a validator.
            await measures.in_flight(call, max(count, measures.WARM_UP))
            rpc = [await measures.in_flight(call, measures.RPC_IN_FLIGHT) for _ in range(3)]
        await measures.in_flight(fire, max(count, measures.WARM_UP))
        fired = [await measures.in_flight(fire, measures.FIRE_IN_FLIGHT) for _ in range(3)]
        return {f"apis_{count}_rpc_us": 1e6 / max(rpc), f"apis_{count}_fire_us": 1e6 / max(fired)}

    async def listeners(self, count: int) -> Figures:
        """A backlog that each of so many listeners handles."""
        os.environ["BENCH_LISTENERS"] = str(count)
        await self.client.join()
        events = max(1, measures.BACKLOG // count)
        await measures.in_flight(self.client.fire, events)
        async with self.service.host(events * count) as process:
            seconds = (await self.service.outcome(process))["seconds"]
        os.environ["BENCH_LISTENERS"] = "1"
        return {f"listeners_{count}_us": 1e6 * seconds / (events * count)}

    async def sizes(self, size: int) -> Figures:
        """Calls and events with an argument of so many bytes."""
        text = "x" * size
        few = max(30, min(1_000, measures.scaled(200_000_000 // size)))
        path = self.bus.auth

        def call() -> Any:
            return path.check_password.call_async(username="admin", password=text)

        def fire() -> Any:
            return path.user_registered.fire_async(username="admin", password=text)

        async with self.service.host() as process:
            await answers(self.client.call, process)
            rpc: Latencies = await measures.one_by_one(call, few)
        fired = await measures.one_by_one(fire, few)
        await self.client.join()
        return {f"size_{size}_rpc_us": rpc.p50_ms * 1e3, f"size_{size}_fire_us": fired.p50_ms * 1e3}

    async def backlog(self, length: int) -> Figures:
        """All of a backlog of such a length; the best of several where that is soon done."""
        seconds = []
        for _ in range(5 if length <= 10_000 else 1):
            await self.client.join()
            await measures.in_flight(self.client.fire, length, width=200)
            async with self.service.host(length) as process:
                seconds.append((await self.service.outcome(process))["seconds"])
        return {f"backlog_{length}_us": 1e6 * min(seconds) / length}


async def measure(url: str, folder: Path) -> Figures:
    """All of them."""
    growth = Growth(url, folder)
    figures: Figures = {}
    plan: list[tuple[Any, tuple[int, ...]]] = [
        (growth.apis, APIS),
        (growth.listeners, LISTENERS),
        (growth.sizes, SIZES),
        (growth.backlog, BACKLOGS),
    ]
    for step, numbers in plan:
        for number in numbers:
            if measures.SCALE < 1 and number > 1_000_000 * measures.SCALE:
                continue  # A quick run leaves out what takes long by its nature.
            print(f"growth: {step.__name__} {number:,} ...", file=sys.stderr, flush=True)
            figures |= await step(number)
    await growth.bus.client.close_async()
    return figures


def main(url: str) -> None:
    """Measure once and print the figures."""
    with (
        tempfile.TemporaryDirectory() as name,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        measures.report(runner.run(measure(url, Path(name))))


if __name__ == "__main__":
    main(*sys.argv[1:])
