"""A service for the tests of hosting: what its manifest changes can be seen in the ledger."""

from __future__ import annotations

import asyncio
from collections import Counter

from lightbus import Api, Event, EventMessage, Parameter


class Ledger:
    """What has happened since the last reset."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.counts: Counter[str] = Counter()
        self.running = 0
        self.most = 0
        self.gate = asyncio.Event()

    async def enter(self, what: str) -> None:
        """Count, and stay until the gate opens."""
        self.counts[what] += 1
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await self.gate.wait()
        finally:
            self.running -= 1


ledger = Ledger()


class NoSuchSku(Exception):
    """An error that no further attempt can cure."""


class ShopApi(Api):
    sold = Event((Parameter("sku", str),))

    class Meta:
        name = "shop"
        auto_register = False

    async def price(self, sku: str) -> int:
        ledger.counts["price"] += 1
        return len(sku)

    async def stay(self) -> int:
        await ledger.enter("stay")
        return 1

    async def fail(self) -> None:
        raise NoSuchSku("teapot")


async def note(event: EventMessage, sku: str) -> None:
    ledger.counts[sku] += 1


async def note_list(events: list[EventMessage]) -> None:
    ledger.counts["lists"] += 1
    ledger.counts.update(event.kwargs["sku"] for event in events)


async def stay(event: EventMessage, sku: str) -> None:
    await ledger.enter(sku)


async def fail(event: EventMessage, sku: str) -> None:
    ledger.counts[sku] += 1
    raise NoSuchSku(sku)


async def fail_once(event: EventMessage, sku: str) -> None:
    ledger.counts[sku] += 1
    if ledger.counts[sku] == 1:
        raise NoSuchSku(sku)


def tick() -> None:
    ledger.counts["tick"] += 1


async def doze() -> None:
    ledger.counts["tick"] += 1
    await asyncio.sleep(0.02)


async def tock() -> None:
    ledger.counts["tock"] += 1


async def linger() -> None:
    await ledger.enter("linger")


def break_down() -> None:
    raise ValueError("no till")


def needs(argument: str) -> None:
    """Can't be scheduled."""


async def takes_nothing(event: EventMessage) -> None:
    """Can't handle ``shop.sold``."""
