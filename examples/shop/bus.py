"""The APIs that the shop owns."""

from __future__ import annotations

from dataclasses import dataclass

from lightbus import Api, Event, Parameter

from . import warehouse
from .bus_types import get_bus


@dataclass(frozen=True)
class Line:
    """So many pieces of one article."""

    sku: str
    quantity: int


# --8<-- [start:orders]
class OrdersApi(Api):
    """What customers order."""

    placed = Event(
        (
            Parameter("order_id", int),
            Parameter("customer", str),
            Parameter("skus", list[str]),
        )
    )

    class Meta:
        name = "shop.orders"

    async def place(self, customer: str, lines: list[Line]) -> int:
        """Take an order and tell everybody; returns its number."""
        order_id = warehouse.record_order(customer, [line.sku for line in lines])
        bus = get_bus()
        await bus.shop.orders.placed.fire_async(
            order_id=order_id, customer=customer, skus=[line.sku for line in lines]
        )
        return order_id

    async def customer_of(self, order_id: int) -> str:
        """Return who placed an order."""
        return warehouse.customer_of(order_id)

    async def by_customer(self, customer: str) -> list[int]:
        """Return the numbers of a customer's orders."""
        return warehouse.orders_of(customer)


# --8<-- [end:orders]


class StockApi(Api):
    """What the shop has."""

    class Meta:
        name = "shop.stock"

    async def available(self, sku: str) -> int:
        """Return how many pieces of an article are there."""
        return warehouse.available(sku)
