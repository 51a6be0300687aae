"""Somebody who looks after the bus meanwhile: ``python -m tests.faults.caretaker CONFIG SEED``."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import signal
import sys

from lightbus.bus.client import BusClient
from lightbus.exceptions import LightbusException
from lightbus.host.checks import client_for
from lightbus.insight import dead_letters, groups
from lightbus.insight.audit import Actor
from lightbus.insight.control import pauses
from lightbus.insight.dead_letters import Filter
from lightbus.insight.overview import overview
from lightbus.manifest.load import load

from .ledger import own_ledger
from .settings import LISTENERS, SERVICE

#: What can't be noted while Redis is away is done all the same.
_BY = Actor(user="campaign", tell=lambda sentence: print(sentence, flush=True))

#: Seconds between one thing and the next.
_PAUSE = 0.3
#: The most dead letters that are replayed at a time.
_REPLAYED = 3


async def look(client: BusClient, names: list[str], _: random.Random) -> None:
    """As by ``lightbus status`` and ``lightbus group list``."""
    await overview(client, names, {})
    await groups.find(client, names)


async def replay(client: BusClient, names: list[str], _: random.Random) -> None:
    """Hand a few dead letters to their listeners again; they fail there again."""
    left = _REPLAYED
    async for _letter in dead_letters.replay(client, names, Filter(reason="failed")):
        left -= 1
        if not left:
            break


async def pause(client: BusClient, names: list[str], chance: random.Random) -> None:
    """Pause a listener, and let it go on."""
    listener = chance.choice(list(LISTENERS))
    target = await pauses.find(client, names, f"{SERVICE}-{listener}", ())
    # It ends by itself, should Redis be away when it is to end.
    until = await client.transports().schema().now() + 2
    await pauses.pause(client, target, until, _BY)
    await pauses.resume(client, target)


async def run(config: str, seed: int) -> None:
    """Do one thing after the other until SIGTERM, and until one of them could be done."""
    stopping, chance, ledger = asyncio.Event(), random.Random(seed), own_ledger("operator")
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    manifest = load([config])
    client = client_for(manifest)
    names = list(manifest.apis)
    print("begins", flush=True)
    acts, has_done = itertools.cycle((look, replay, look, pause)), False
    while not (stopping.is_set() and has_done):
        act = next(acts)
        try:
            await act(client, names, chance)
            has_done = True
            ledger.write("looked_after", act.__name__)
        except LightbusException as e:
            ledger.write("not_looked_after", act.__name__, type(e).__name__)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), _PAUSE)
    await client.close_async()
    print("finished", flush=True)


if __name__ == "__main__":
    asyncio.run(run(sys.argv[1], int(sys.argv[2])))
