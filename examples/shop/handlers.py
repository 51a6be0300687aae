"""What the shop does when something happened; config/20-service.yaml says which event goes where."""

from __future__ import annotations

import logging

from lightbus import EventMessage

from . import warehouse

log = logging.getLogger(__name__)


async def reserve_stock(event: EventMessage, order_id: int, customer: str, skus: list[str]) -> None:
    """Take what was ordered from the shelf."""
    for sku in skus:
        left = warehouse.take(sku)
        log.info("order %s: one %s taken, %s left", order_id, sku, left)


def send_receipt(event: EventMessage, order_id: int, customer: str, skus: list[str]) -> None:
    """Write to the customer; not async, so it runs in a thread."""
    log.info("order %s: receipt for %s sent to %s", order_id, ", ".join(skus), customer)


async def note_payment(event: EventMessage, order_id: int, amount: float) -> None:
    """Note what the payments service tells."""
    log.info("order %s: %.2f paid", order_id, amount)
