"""The bus module of our hosts beside a Lightbus 1.x: they serve, listen, fire and call."""

from __future__ import annotations

import asyncio
import itertools
import os
from pathlib import Path
from typing import Any

from lightbus import Api, Event, EventMessage, Parameter
from lightbus.bus.client import BusClient
from lightbus.exceptions import LightbusException

from .ledger import FOLDER, note_delays, own_ledger
from .settings import ENOUGH, HELD_UP

ledger = own_ledger("worker")
note_delays(ledger, HELD_UP)
#: Seconds between one event and call of a process and the next.
PAUSE = 0.05


class NewApi(Api):
    """What is ours."""

    happened = Event(parameters=(Parameter("n", int),))

    class Meta:
        name = "new"

    async def run(self, n: int, seconds: float) -> int:
        ledger.write("ran", n)
        await asyncio.sleep(seconds)
        return n


async def ours(event_message: EventMessage, n: int) -> None:
    """What we listen with."""
    ledger.write("started", "ours", n, event_message.native_id)
    await asyncio.sleep(0.003)
    ledger.write("done", "ours", n, event_message.native_id)


async def fire_and_call(client: BusClient) -> None:
    """Fire our event and call the other side's procedure, again and again, until it is enough."""
    enough = Path(os.environ[FOLDER]) / ENOUGH
    for n in itertools.count(os.getpid() * 1_000_000):
        if enough.exists():
            break
        await _fire(client, n)
        await _call(client, n)
        await asyncio.sleep(PAUSE)
    ledger.write("silent")


async def _fire(client: BusClient, n: int) -> None:
    ledger.write("fired", n, "good")
    try:
        await client.fire_event("new", "happened", {"n": n})
        ledger.write("confirmed", n)
    except LightbusException as e:
        ledger.write("raised", n, type(e).__name__)


async def _call(client: BusClient, n: int) -> None:
    ledger.write("called", n)
    outcome = "cancelled"
    try:
        result = await client.call_rpc_remote("old", "run", {"n": n})
        outcome = "result" if result == n else "wrong"
    except LightbusException as e:
        outcome = type(e).__name__
    finally:
        ledger.write("outcome", n, outcome, "-")


def before_server_start(bus: Any) -> None:
    """Listen to both sides' events, and begin to fire and call."""
    events = [("old", "happened"), ("new", "happened")]
    options = {"concurrency": 4, "since": "earliest"}
    bus.client.listen_for_events(events, ours, listener_name="ours", options=options)
    bus.client.add_background_task(fire_and_call(bus.client))
