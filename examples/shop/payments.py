"""The payments service: it owns an API, and charges for orders of the shop."""

from __future__ import annotations

import logging

from lightbus import Api, Event, EventMessage, Parameter

from .bus_types import get_bus

log = logging.getLogger(__name__)

_PRICES = {"teapot": 24.0, "cup": 6.5, "tray": 12.0}
_paid: dict[int, float] = {}


class PaymentsApi(Api):
    """What customers pay."""

    received = Event((Parameter("order_id", int), Parameter("amount", float)))

    class Meta:
        name = "payments"

    async def paid_for(self, order_id: int) -> float:
        """Return what was paid for an order so far."""
        return _paid.get(order_id, 0.0)


async def charge(
    event: EventMessage,
    order_id: int,
    customer: str,
    skus: list[str],
) -> None:
    """Take the money for an order, and tell everybody."""
    amount = sum(_PRICES[sku] for sku in skus)
    _paid[order_id] = amount
    log.info("order %s: %s pays %.2f", order_id, customer, amount)
    bus = get_bus()
    await bus.payments.received.fire_async(order_id=order_id, amount=amount)
