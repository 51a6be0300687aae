"""What is measured, the same way for every program: how many, how many at once, which numbers come out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from statistics import median, quantiles

import msgspec

USERNAME = "admin"
PASSWORD = "secret"

WARM_UP = 300
RPC_ONE_BY_ONE = 2_000
RPC_IN_FLIGHT = 10_000
FIRE_ONE_BY_ONE = 3_000
FIRE_IN_FLIGHT = 20_000
WIDTH = 50
# What is fired while nobody listens is the backlog that is consumed afterwards.
BACKLOG = FIRE_ONE_BY_ONE + FIRE_IN_FLIGHT

Operation = Callable[[], Awaitable[object]]


@dataclass(slots=True)
class Measures:
    """The numbers of one program in one round; None where it has no such thing."""

    rpc_p50_ms: float = 0.0
    rpc_p99_ms: float = 0.0
    rpc_one_by_one: float = 0.0
    rpc_in_flight: float = 0.0
    fire_one_by_one: float = 0.0
    fire_in_flight: float = 0.0
    consume: float = 0.0
    rpc_in_flight_def: float | None = None
    rpc_sync_p50_ms: float | None = None

    def to_json(self) -> str:
        """One line for the process that asked."""
        return msgspec.json.encode(asdict(self)).decode()

    @classmethod
    def from_json(cls, text: str) -> Measures:
        """The same line read back."""
        return msgspec.json.decode(text, type=cls)

    @classmethod
    def median_of(cls, rounds: list[Measures]) -> Measures:
        """Field by field."""
        result = cls()
        for name in asdict(result):
            column = [getattr(each, name) for each in rounds]
            setattr(result, name, None if None in column else median(column))
        return result

    @classmethod
    def best_of(cls, rounds: list[Measures]) -> Measures:
        """The highest of each field, for rates."""
        result = cls()
        for name in asdict(result):
            setattr(result, name, max(getattr(each, name) or 0.0 for each in rounds))
        return result


@dataclass(slots=True)
class Latencies:
    """How long each of many operations took, one after the other."""

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
        """Operations a second."""
        return len(self.seconds) / sum(self.seconds)


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
