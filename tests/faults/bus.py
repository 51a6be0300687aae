"""The bus module of a campaign's hosts: what they do with each event and call, and write down.

Where CAMPAIGN_PLANT names a bug, it is planted into this process, to see that the oracle finds it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from typing import Any

from lightbus import Api, Backoff, DeliveryPolicy, Event, EventMessage, Parameter
from lightbus.options import Duration

from .ledger import note_delays, own_ledger
from .planted import BUGS
from .settings import ATTEMPTS, HEAVY, HELD_UP, LEASE, LISTENERS, apis

ledger = own_ledger("worker")
note_delays(ledger, HELD_UP)
if os.environ.get("CAMPAIGN_PLANT"):
    BUGS[os.environ["CAMPAIGN_PLANT"]]()

POLICY = DeliveryPolicy(ATTEMPTS, Backoff(Duration(0.1), 2.0, Duration(2)))


def define(api_name: str) -> None:
    """Define one of the APIs that the campaign fires and calls."""

    class WorkApi(Api):
        happened = Event(
            parameters=(Parameter("n", int), Parameter("kind", str), Parameter("until", float, default=0.0))
        )

        class Meta:
            name = api_name

        async def run(self, n: int, seconds: float) -> int:
            ledger.write("ran", n)
            await asyncio.sleep(seconds)
            return n

        def run_plain(self, n: int, seconds: float) -> int:
            ledger.write("ran", n)
            if seconds:  # Else it is quick, so that a thread runs many in a row.
                time.sleep(seconds)
            return n


for each in apis():
    define(each)


async def narrow(event_message: EventMessage, n: int, kind: str, until: float) -> None:
    """One at a time; killers and slow events are nothing special here."""
    await _handle("narrow", event_message, n, kind if kind in ("flaky", "poison") else "good", until)


async def wide(event_message: EventMessage, n: int, kind: str, until: float) -> None:
    """Many at a time, killers and slow ones among them."""
    await _handle("wide", event_message, n, kind, until)


def plain(event_message: EventMessage, n: int, kind: str, until: float) -> None:
    """In threads, which run many good ones in a row: killers and slow ones are among them, too."""
    _begin("plain", event_message, n, kind, until)
    for seconds in _steps(kind, 0.0):
        if seconds:
            time.sleep(seconds)
    ledger.write("done", "plain", n, event_message.native_id)


async def _handle(listener: str, message: EventMessage, n: int, kind: str, until: float) -> None:
    _begin(listener, message, n, kind, until)
    for seconds in _steps(kind, 0.003):
        await asyncio.sleep(seconds)
    ledger.write("done", listener, n, message.native_id)


def _begin(listener: str, message: EventMessage, n: int, kind: str, until: float) -> None:
    ledger.write("started", listener, n, message.native_id)
    if kind == "killer":
        ledger.write("killing", n)
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "poison" or (kind == "flaky" and time.time() < until):
        ledger.write("failed", listener, n, message.native_id)
        raise ValueError(f"{n} is {kind}")


def _steps(kind: str, good: float) -> list[float]:
    """In steps, so that a process which was frozen meanwhile still has something left to do."""
    return [{"slow": 0.1, "heavy": HEAVY}.get(kind, good)] * (int(LEASE * 15) if kind == "slow" else 1)


def before_server_start(bus: Any) -> None:
    """Listen three times to the same events, where the manifest does not say so."""
    events = [(name, "happened") for name in apis()]
    for handler in (narrow, wide, plain):
        if handler.__name__ in bus.client.listeners:
            continue
        options = {"concurrency": LISTENERS[handler.__name__], "since": "earliest"}
        bus.client.listen_for_events(
            events, handler, listener_name=handler.__name__, options=options, on_error=POLICY
        )
