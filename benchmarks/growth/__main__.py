"""How cost grows: with APIs, listeners and processes, large messages and long backlogs.

``python -m benchmarks.growth URL PARTS...`` is one program; it starts and stops the hosts itself. Times are
of one message, in microseconds, so that growth shows as a figure that does not stay the same.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import uvloop

from benchmarks import measures
from benchmarks.bus import CREDENTIALS, RUN, Client, Service, answers, create
from benchmarks.growth import many_cards
from benchmarks.growth.many_apis import api_name
from benchmarks.growth.series import GROWTH, GROWTH_PARTS
from benchmarks.measures import Figures, Latencies
from benchmarks.process import CpuTime, children, resident_mb
from lightbus.insight.overview import overview
from lightbus.transports.redis.keys import register_key, stream_key
from tests.support.eventually import eventually_async

#: Seconds in which a host comes to rest, and for which its rest is then watched.
SETTLE, WATCH = (30.0, 10.0) if measures.SCALE >= 1 else (0.1, 0.2)
STREAM, GROUP = stream_key("auth", "user_registered", "per_api"), b"bench-count"
#: How many events of a backlog are fired together.
AT_ONCE = 1_000
#: How many overviews are measured.
OVERVIEWS = 11 if measures.SCALE >= 1 else 2
#: Of each part, a quick run takes so many numbers, the smallest.
QUICK = 2


class Growth:
    """All measures of growth on one Redis."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        # Whoever fires waits for room in a stream that is full of what no listener has handled.
        self.service = Service(url, folder)
        self.bus = create(url, apis={"default": {"event_transport": {"redis": {"max_stream_length": None}}}})
        self.client = Client(url, self.service, self.bus)
        os.environ["BENCH_LISTENERS"] = "1"

    @property
    def redis(self) -> Any:
        """A connection to Redis."""
        return self.bus.client.transports().event("auth").pipe

    async def apis(self, count: int) -> Figures:
        """Calls and events that go round all APIs of a host that serves so many, and that host at rest."""
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
        async with self.service.host(module="benchmarks.growth.many_apis") as process:
            await answers(call, process)
            (idle,) = await self._idle([process.pid])
            figures = {f"apis_{count}_idle": idle, f"apis_{count}_mb": resident_mb(process.pid)}
            # Each API costs its first message a validator.
            await measures.in_flight(call, max(count, measures.WARM_UP))
            rpc = [await measures.in_flight(call, measures.RPC_IN_FLIGHT) for _ in range(2)]
            connected = await self._connections()
        figures[f"apis_{count}_connections"] = connected - await self._connections()
        await measures.in_flight(fire, max(count, measures.WARM_UP))
        fired = [await measures.in_flight(fire, measures.FIRE_IN_FLIGHT) for _ in range(2)]
        return figures | {f"apis_{count}_rpc_us": 1e6 / max(rpc), f"apis_{count}_fire_us": 1e6 / max(fired)}

    async def listeners(self, count: int) -> Figures:
        """A backlog that each of so many listeners handles, and their host at rest."""
        os.environ["BENCH_LISTENERS"] = str(count)
        await self._empty()
        events = max(1, measures.BACKLOG // count)
        await self._fill(events)
        async with self.service.host(events * count) as process:
            seconds = (await self.service.outcome(process))["seconds"]
            (idle,), connected = await self._idle([process.pid]), await self._connections()
        connections = connected - await self._connections()
        os.environ["BENCH_LISTENERS"] = "1"
        await self.redis.send("DEL", STREAM)
        figures = {f"listeners_{count}_us": 1e6 * seconds / (events * count)}
        return figures | {f"listeners_{count}_idle": idle, f"listeners_{count}_connections": connections}

    async def processes(self, count: int) -> Figures:
        """Calls and events that so many processes of one service share, and these processes at rest."""
        await self._empty()
        async with self.service.host(
            measures.FIRE_IN_FLIGHT * 2, more=("--processes", str(count))
        ) as process:
            await answers(self.client.call, process)
            await eventually_async(lambda: self._are_there(count), timeout=120)
            hosts = children(process.pid) if count > 1 else [process.pid]
            redis = await self._pid_of_redis()
            idle, of_redis = await self._idle(hosts, [redis])
            await measures.warm_up(self.client.call)
            rpc = [await measures.in_flight(self.client.call, measures.RPC_IN_FLIGHT) for _ in range(3)]
            started = asyncio.get_running_loop().time()
            await measures.in_flight(self.client.fire, measures.FIRE_IN_FLIGHT)
            await eventually_async(self._is_handled, timeout=120)
            seconds = asyncio.get_running_loop().time() - started
        return {
            f"processes_{count}_rpc_us": 1e6 / max(rpc),
            f"processes_{count}_event_us": 1e6 * seconds / measures.FIRE_IN_FLIGHT,
            f"processes_{count}_idle": idle / count,
            f"processes_{count}_redis": of_redis,
        }

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
        await self._empty()
        return {f"size_{size}_rpc_us": rpc.p50_ms * 1e3, f"size_{size}_fire_us": fired.p50_ms * 1e3}

    async def backlog(self, length: int) -> Figures:
        """All of a backlog of such a length; the best of several where that is soon done."""
        seconds = []
        for _ in range(3 if length < 10_000 else 1):
            await self._empty()
            await self._fill(length)
            async with self.service.host(length) as process:
                seconds.append((await self.service.outcome(process))["seconds"])
        return {f"backlog_{length}_us": 1e6 * min(seconds) / length}

    async def cards(self, count: int) -> Figures:
        """What ``lightbus status`` asks, where so many processes show a card."""
        await self.redis.send("FLUSHDB")
        await many_cards.show(self.redis, count)
        client, times = self.bus.client, []
        for _ in range(OVERVIEWS):
            began = time.perf_counter()
            seen = await overview(client, (), {})
            times.append(1e3 * (time.perf_counter() - began))
        # The benchmark may show a card itself.
        assert 0 <= len(seen.processes) - count <= 1, f"{len(seen.processes)} of {count} processes were seen"
        await self.redis.send("FLUSHDB")
        return {f"cards_{count}_ms": median(times)}

    async def _empty(self) -> None:
        """Leave no event in the stream, and have the groups there that read those to come."""
        names = [f"count{number or ''}" for number in range(int(os.environ["BENCH_LISTENERS"]))]
        await self.redis.send("XTRIM", STREAM, "MAXLEN", 0)
        # Those that are there already are refused, and stay as they are.
        create = ("XGROUP", "CREATE", STREAM)
        await self.redis.send_many([(*create, f"{RUN[1]}-{name}", 0, "MKSTREAM") for name in names])

    async def _fill(self, length: int) -> None:
        """Fire so many events, as many at a time as is quick."""
        path = self.bus.auth.user_registered
        for done in range(0, length, AT_ONCE):
            await path.fire_many_async([CREDENTIALS] * min(AT_ONCE, length - done))

    async def _idle(self, *watched: Sequence[int]) -> list[float]:
        """Return the share of a core that each lot of processes uses at rest, in percent."""
        await asyncio.sleep(SETTLE)
        used = [CpuTime(pids) for pids in watched]
        await asyncio.sleep(WATCH)
        return [each.share() for each in used]

    async def _connections(self) -> int:
        """Return how many connections Redis has."""
        return len((await self.redis.send("CLIENT", "LIST")).splitlines())

    async def _pid_of_redis(self) -> int:
        about = (await self.redis.send("INFO", "server")).decode()
        return int(about.partition("process_id:")[2].split()[0])

    async def _are_there(self, count: int) -> bool:
        return int(await self.redis.send("SCARD", register_key("auth"))) == count

    async def _is_handled(self) -> bool:
        """Tell whether the group has read the whole stream, and acknowledged it."""
        last = await self.redis.send("XREVRANGE", STREAM, "+", "-", "COUNT", 1)
        groups = [
            dict(zip(g[::2], g[1::2], strict=True)) for g in await self.redis.send("XINFO", "GROUPS", STREAM)
        ]
        group = next(each for each in groups if each[b"name"] == GROUP)
        return not last or (group[b"pending"] == 0 and group[b"last-delivered-id"] == last[0][0])


async def measure(url: str, folder: Path, parts: Sequence[str]) -> Figures:
    """Those parts that are wanted."""
    growth = Growth(url, folder)
    figures: Figures = {}
    numbers = {series.part: series.numbers for series in GROWTH}
    for part in parts:
        for number in numbers[part] if measures.SCALE >= 1 else numbers[part][:QUICK]:
            print(f"growth: {part} {number:,} ... ", end="", file=sys.stderr, flush=True)
            started = time.monotonic()
            figures |= await getattr(growth, part)(number)
            print(f"{time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
    await growth.bus.client.close_async()
    return figures


def main(url: str, *parts: str) -> None:
    """Measure once and print the figures."""
    with (
        tempfile.TemporaryDirectory() as name,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        measures.report(runner.run(measure(url, Path(name), parts or GROWTH_PARTS)))


if __name__ == "__main__":
    main(*sys.argv[1:])
