"""What is measured, the same way for every program: how many, how many at once, which figures come out.

Programs that know nothing of Lightbus import this too, so it needs nothing but Python.
"""

from __future__ import annotations

import asyncio
import json
import os
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from statistics import median, quantiles

USERNAME = "admin"
PASSWORD = "secret"

#: Below 1 for a quick run, whose figures say only that everything runs.
SCALE = float(os.environ.get("BENCH_SCALE", "1"))

Figures = dict[str, float]
Operation = Callable[[], Awaitable[object]]


def scaled(count: int) -> int:
    """So many, or fewer in a quick run."""
    return max(30, int(count * SCALE))


def timed(rate: float) -> int:
    """How many events of such a pace are timed: five seconds of them."""
    return max(30, int(rate * 5 * min(1.0, SCALE)))


WARM_UP = scaled(300)
RPC_ONE_BY_ONE = scaled(2_000)
RPC_IN_FLIGHT = scaled(10_000)
FIRE_ONE_BY_ONE = scaled(3_000)
FIRE_IN_FLIGHT = scaled(20_000)
BACKLOG = scaled(20_000)
#: Calls that wait at the same time, for what they take of memory.
WAITING = scaled(10_000)
#: How often a program is started, for the median of its start-up.
STARTS = 5 if SCALE >= 1 else 1
WIDTH = 50
THREADS = 8
BATCH = 100
#: Events a second, for their latency where nothing is busy.
PACE = 100.0


@dataclass(slots=True)
class Latencies:
    """How long each of many operations took."""

    seconds: list[float]

    @property
    def p50_ms(self) -> float:
        """Half are faster."""
        return median(self.seconds) * 1000

    @property
    def p99_ms(self) -> float:
        """One in a hundred is slower."""
        return quantiles(self.seconds, n=100)[-1] * 1000

    @property
    def rate(self) -> float:
        """Operations a second, of those that followed each other."""
        return len(self.seconds) / sum(self.seconds)

    def figures(self, name: str) -> Figures:
        """The two that are shown."""
        return {f"{name}_p50_ms": self.p50_ms, f"{name}_p99_ms": self.p99_ms}


async def one_by_one(operation: Operation, count: int) -> Latencies:
    """Each awaited before the next is begun."""
    clock = time.perf_counter
    seconds = []
    for _ in range(count):
        started = clock()
        await operation()
        seconds.append(clock() - started)
    return Latencies(seconds)


async def in_flight(operation: Operation, count: int, width: int = WIDTH) -> float:
    """Operations a second while `width` are under way at any time."""
    left = count

    async def lane() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            await operation()

    started = time.perf_counter()
    async with asyncio.TaskGroup() as lanes:
        for _ in range(width):
            lanes.create_task(lane())
    return count / (time.perf_counter() - started)


async def warm_up(operation: Operation) -> None:
    """Let connections open and caches fill."""
    await in_flight(operation, WARM_UP, width=10)


async def paced(operation: Callable[[str], Awaitable[object]], count: int, rate: float) -> None:
    """Begin so many a second, whatever becomes of those before; each is given the time of its beginning."""
    loop = asyncio.get_running_loop()
    started = time.monotonic()
    running: set[asyncio.Future[object]] = set()
    for number in range(count):
        # Where it can't keep up, what was begun goes on all the same.
        await asyncio.sleep(max(0.0, started + number / rate - time.monotonic()))
        task = loop.create_task(_awaited(operation, now()))
        running.add(task)
        task.add_done_callback(running.discard)
    await asyncio.gather(*running)


def now() -> str:
    """The time as an event carries it in place of a username."""
    return f"{time.monotonic():.9f}"


async def _awaited(operation: Callable[[str], Awaitable[object]], argument: str) -> object:
    return await operation(argument)


def one_by_one_sync(operation: Callable[[], object], count: int) -> Latencies:
    """Each done before the next is begun, by code without an event loop."""
    clock = time.perf_counter
    seconds = []
    for _ in range(count):
        started = clock()
        operation()
        seconds.append(clock() - started)
    return Latencies(seconds)


def paced_sync(operation: Callable[[str], object], count: int, rate: float) -> None:
    """As `paced`, by code without an event loop: one that is late delays the next."""
    started = time.monotonic()
    for number in range(count):
        time.sleep(max(0.0, started + number / rate - time.monotonic()))
        operation(now())


def in_threads(operation: Callable[[], object], count: int, width: int = THREADS) -> float:
    """Operations a second by so many threads, each doing one at a time."""

    def lane() -> None:
        for _ in range(count // width):
            operation()

    threads = [threading.Thread(target=lane) for _ in range(width)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return count // width * width / (time.perf_counter() - started)


def in_window(submit: Callable[[], Callable[[], object]], count: int, width: int = WIDTH) -> float:
    """Operations a second of code that first submits, then waits, with at most `width` not yet waited for."""
    under_way: deque[Callable[[], object]] = deque()
    started = time.perf_counter()
    for _ in range(count):
        if len(under_way) >= width:
            under_way.popleft()()
        under_way.append(submit())
    while under_way:
        under_way.popleft()()
    return count / (time.perf_counter() - started)


def report(figures: Figures) -> None:
    """Print the line that the process which asked looks for."""
    print("figures", json.dumps(figures), flush=True)


def reported(line: str) -> Figures:
    """The same line read back."""
    figures: Figures = json.loads(line.partition(" ")[2])
    return figures
