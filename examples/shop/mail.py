"""The mail service: it owns nothing, and writes to customers when they have paid."""

from __future__ import annotations

import logging

from lightbus import EventMessage

from .bus_types import get_bus

log = logging.getLogger(__name__)


async def thank(event: EventMessage, order_id: int, amount: float) -> None:
    """Thank the customer for a payment; the shop knows who that is."""
    bus = get_bus()
    customer = await bus.shop.orders.customer_of.call_async(order_id=order_id)
    log.info("order %s: dear %s, thank you for %.2f", order_id, customer, amount)
