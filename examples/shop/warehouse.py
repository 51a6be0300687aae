"""What the shop knows, in memory: a real one has a database here."""

from __future__ import annotations

from collections import Counter

_stock: Counter[str] = Counter({"teapot": 12, "cup": 100, "tray": 7})
_orders: dict[int, str] = {}
_sold: dict[int, list[str]] = {}


def record_order(customer: str, skus: list[str]) -> int:
    """Remember an order; returns its number."""
    order_id = len(_orders) + 1
    _orders[order_id] = customer
    _sold[order_id] = skus
    return order_id


def customer_of(order_id: int) -> str:
    """Return who placed an order."""
    return _orders[order_id]


def orders_of(customer: str) -> list[int]:
    """Return the numbers of a customer's orders."""
    return [order_id for order_id, name in _orders.items() if name == customer]


def take(sku: str) -> int:
    """Take one piece from the shelf; returns how many are left."""
    if not _stock[sku]:
        raise LookupError(f"{sku} is sold out")
    _stock[sku] -= 1
    return _stock[sku]


def available(sku: str) -> int:
    """Return how many pieces are on the shelf."""
    return _stock[sku]


def refill(sku: str, pieces: int) -> None:
    """Put pieces on the shelf."""
    _stock[sku] += pieces
