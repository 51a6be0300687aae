"""A bus module as users have them, in the style of the quickstart."""

from __future__ import annotations

from lightbus import Api, BusPath, Event, EventMessage, Parameter

log: list[str] = []


class StoreApi(Api):
    sold = Event(parameters=(Parameter("sku", str), Parameter("count", int)))
    refused = Event(parameters=(Parameter("sku", str),))

    class Meta:
        name = "store"

    def price(self, sku: str) -> int:
        if sku == "unknown":
            raise LookupError(sku)
        return len(sku)


def note_sale(event_message: EventMessage, sku: str, count: int) -> None:
    log.append(f"sold {count} {sku}")
    if sku == "broken":
        raise RuntimeError("cannot note it")


async def stop_all(event_message: EventMessage, sku: str) -> None:
    raise RuntimeError("the end")


def before_server_start(bus: BusPath) -> None:
    bus.store.sold.listen(note_sale)
