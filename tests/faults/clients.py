"""The publisher and the caller of a campaign: ``python -m tests.faults.clients ROLE CONFIG SEED``."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import random
import signal
import sys
import time
from collections.abc import Iterator

import lightbus
from lightbus.client import BusClient
from lightbus.exceptions import LightbusException, LightbusTimeout

from . import bus as bus  # it defines the API
from .ledger import Ledger, own_ledger
from .settings import FIRING

CALLING = 12
#: Of so many events one kills its process.
KILLER_EVERY = 800


def _percents() -> dict[str, float]:
    """Of a hundred events or calls, how many are of which kind."""
    parts = (part.split("=") for part in os.environ["CAMPAIGN_KINDS"].split())
    return {kind: float(percent) for kind, percent in parts}


def kind_of(n: int, chance: random.Random) -> str:
    """What sort of event number `n` is."""
    percents = _percents()
    if "killer" in percents and n % KILLER_EVERY == 60:
        return "killer"
    choices = ["flaky", "poison", "slow"]
    weights = [percents.get(kind, 0) for kind in choices]
    return chance.choices([*choices, "good"], [*weights, 100 - sum(weights)])[0]


async def fire(client: BusClient, ledger: Ledger, numbers: Iterator[int], chance: random.Random) -> None:
    """Fire one event and write down what became of it."""
    n = next(numbers)
    kind = kind_of(n, chance)
    ledger.write("fired", n, kind)
    try:
        await client.fire_event("work", "happened", {"n": n, "kind": kind, "until": time.time() + 1})
        ledger.write("confirmed", n)
    except LightbusException as e:
        ledger.write("raised", n, type(e).__name__)


async def call(client: BusClient, ledger: Ledger, numbers: Iterator[int], chance: random.Random) -> None:
    """Call once and write down what became of it."""
    n = next(numbers)
    seconds = chance.choice([0, 0, 0.01, 0.3])
    options = {"timeout": 0.1 if chance.random() * 100 < _percents().get("impatient", 0) else 12}
    ledger.write("called", n)
    try:
        result = await client.call_rpc_remote("work", "run", {"n": n, "seconds": seconds}, options)
        ledger.write("outcome", n, "result" if result == n else "wrong", "-")
    except LightbusException as e:
        ledger.write("outcome", n, type(e).__name__, e.executed if isinstance(e, LightbusTimeout) else "-")


async def run(role: str, config: str, seed: int) -> None:
    """Do it again and again, several at a time, until SIGTERM; then finish what is under way."""
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    client = lightbus.create(config, process_name=role).client
    ledger, numbers, chance = own_ledger(role), itertools.count(), random.Random(seed)
    speed = float(os.environ.get("CAMPAIGN_SPEED", "1"))
    work, pause, workers = (fire, 0.08, FIRING) if role == "publisher" else (call, 0.2, CALLING)

    async def again() -> None:
        while not stopping.is_set():
            await work(client, ledger, numbers, chance)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), pause / speed)

    await asyncio.gather(*(again() for _ in range(workers)))
    await client.close_async()
    print("finished", flush=True)


if __name__ == "__main__":
    asyncio.run(run(sys.argv[1], sys.argv[2], int(sys.argv[3])))
