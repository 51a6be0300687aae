"""The publisher and the caller of a campaign: ``python -m tests.faults.clients ROLE CONFIG SEED``."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import lightbus
from lightbus.bus.client import BusClient
from lightbus.exceptions import LightbusException, LightbusTimeout
from lightbus.transports.redis.events.transport import RedisEventTransport
from lightbus.transports.redis.link.channel import Channel
from lightbus.transports.redis.link.connection import FAILURES

from . import bus as bus  # it defines the API
from .ledger import Ledger, own_ledger
from .settings import FIRING, HEAVY, PATIENCE, apis

CALLING = 12
Do = Callable[[], Coroutine[Any, Any, None]]
#: Milliseconds for which a replica is waited for. Nothing else goes over the connection meanwhile.
_WAIT_MS = 50
#: As many as begin in so many seconds may be under way.
_MOST_SECONDS = PATIENCE
#: Of so many events one kills its process.
KILLER_EVERY = 800


@functools.cache
def _percents() -> dict[str, float]:
    """Of a hundred events or calls, how many are of which kind."""
    parts = (part.split("=") for part in os.environ["CAMPAIGN_KINDS"].split())
    return {kind: float(percent) for kind, percent in parts}


def kind_of(n: int, chance: random.Random) -> str:
    """What sort of event number `n` is."""
    percents = _percents()
    if "killer" in percents and n % KILLER_EVERY == 60:
        return "killer"
    choices = ["flaky", "poison", "slow", "heavy"]
    weights = [percents.get(kind, 0) for kind in choices]
    return chance.choices([*choices, "good"], [*weights, 100 - sum(weights)])[0]


def api_of(n: int) -> str:
    """The API of event or call number `n`."""
    names = apis()
    return names[n % len(names)]


class Replication:
    """Whether a replica has what was sent over the pipe since this was made.

    Args:
        pipe: The connection that the events go over; WAIT tells of what one connection has written.
    """

    def __init__(self, pipe: Channel) -> None:
        self._pipe = pipe
        self._reconnects = pipe.reconnects

    @classmethod
    def of(cls, client: BusClient) -> Replication:
        """Begin with what a client is about to fire."""
        transport = client.transports().event("work")
        assert isinstance(transport, RedisEventTransport)
        return cls(transport.pipe)

    async def has_it(self) -> bool:
        """Ask the primary; not knowing is no."""
        try:
            heard = await self._pipe.send("WAIT", 1, _WAIT_MS)
        except FAILURES:
            return False
        return bool(heard >= 1 and self._pipe.reconnects == self._reconnects)


async def fire(client: BusClient, ledger: Ledger, numbers: Iterator[int], chance: random.Random) -> None:
    """Fire one event and write down what became of it."""
    n = next(numbers)
    kind = kind_of(n, chance)
    ledger.write("fired", n, kind)
    replication = Replication.of(client) if os.environ.get("CAMPAIGN_REPLICATED") else None
    try:
        await client.fire_event(api_of(n), "happened", {"n": n, "kind": kind, "until": time.time() + 1})
        ledger.write("confirmed", n)
        if replication is not None and await replication.has_it():
            ledger.write("replicated", n)
    except LightbusException as e:
        ledger.write("raised", n, type(e).__name__)


async def call(client: BusClient, ledger: Ledger, numbers: Iterator[int], chance: random.Random) -> None:
    """Call once and write down what became of it."""
    n = next(numbers)
    percents = _percents()
    if "heavy" in percents:
        seconds, timeout = HEAVY, PATIENCE
    else:
        seconds = chance.choice([0, 0, 0.01, 0.3])
        timeout = 0.1 if chance.random() * 100 < percents.get("impatient", 0) else 12
    name, options = ("run", "run_plain")[n % 2], {"timeout": timeout}
    ledger.write("called", n)
    try:
        result = await client.call_rpc_remote(api_of(n), name, {"n": n, "seconds": seconds}, options)
        ledger.write("outcome", n, "result" if result == n else "wrong", "-")
    except LightbusException as e:
        ledger.write("outcome", n, type(e).__name__, e.executed if isinstance(e, LightbusTimeout) else "-")


async def run(role: str, config: str, seed: int) -> None:
    """Fire or call until SIGTERM; then finish what is under way."""
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    client = lightbus.create(config, process_name=role).client
    print("begins", flush=True)
    work = fire if role == "publisher" else call
    do = functools.partial(work, client, own_ledger(role), itertools.count(), random.Random(seed))
    rate = float(os.environ.get("CAMPAIGN_RATE", "0"))
    if rate:
        await _steadily(do, rate, stopping)
    elif role == "publisher":
        await _again(do, FIRING, 0.08, stopping)
    else:
        await _again(do, CALLING, 0.2, stopping)
    await client.close_async()
    print("finished", flush=True)


async def _again(do: Do, workers: int, pause: float, stopping: asyncio.Event) -> None:
    """So many at a time, each with a pause before the next."""
    pause /= float(os.environ.get("CAMPAIGN_SPEED", "1"))

    async def one_after_another() -> None:
        while not stopping.is_set():
            await do()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), pause)

    await asyncio.gather(*(one_after_another() for _ in range(workers)))


async def _steadily(do: Do, rate: float, stopping: asyncio.Event) -> None:
    """So many a second, whatever becomes of those before.

    A machine that is too busy for so many begins fewer: else those that wait for the processor become ever
    more, and neither does memory stay flat nor is there an end.
    """
    loop = asyncio.get_running_loop()
    begun = 0
    under_way: set[asyncio.Task[None]] = set()
    async with asyncio.TaskGroup() as group:
        start = loop.time()
        while not stopping.is_set():
            due = int((loop.time() - start) * rate)
            for _ in range(min(due - begun, int(rate * _MOST_SECONDS) - len(under_way))):
                task = group.create_task(do())
                under_way.add(task)
                task.add_done_callback(under_way.discard)
            begun = due
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), 0.005)


if __name__ == "__main__":
    asyncio.run(run(sys.argv[1], sys.argv[2], int(sys.argv[3])))
