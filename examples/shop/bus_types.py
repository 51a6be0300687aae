"""Typed clients of the bus. Written by `lightbus types`: do not edit, write it again."""

# Written by lightbus types, Lightbus 2.0.0.dev0, from the contracts 5d595d4cb90dd5f8: payments, shop.orders, shop.stock.
# fmt: off
# ruff: noqa

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypedDict, cast

import lightbus
from lightbus import BusPath, DeliveryPolicy, EventMessage, OnError
from lightbus.bus.bus_options import CallOptions, FireManyOptions, FireOptions
from lightbus.bus.typed.paths import TypedPath, returning
from lightbus.bus.typed.views import ApiView, BusView, EventView, ProcedureView
from lightbus.declared.listener import Listener


@dataclass(kw_only=True)
class ShopOrdersLine:
    sku: str
    quantity: int


class PaymentsApi_paid_for(ProcedureView, Protocol):
    def __call__(self, /, *, order_id: int, bus_options: CallOptions | None = None) -> float:
        """Return what was paid for an order so far."""
        ...

    def call(self, /, *, order_id: int, bus_options: CallOptions | None = None) -> float: ...

    async def call_async(
        self,
        /,
        *,
        order_id: int,
        bus_options: CallOptions | None = None,
    ) -> float:
        """Return what was paid for an order so far."""
        ...


class PaymentsApi_received_arguments(TypedDict):
    order_id: int
    amount: float


class PaymentsApi_received_listener(Protocol):
    def __call__(self, event_message: EventMessage, /, *, order_id: int, amount: float) -> Any: ...


class PaymentsApi_received(EventView, Protocol):
    def fire(
        self,
        /,
        *,
        order_id: int,
        amount: float,
        bus_options: FireOptions | None = None,
    ) -> EventMessage: ...

    async def fire_async(
        self,
        /,
        *,
        order_id: int,
        amount: float,
        bus_options: FireOptions | None = None,
    ) -> EventMessage: ...

    def fire_many(
        self,
        events: Iterable[PaymentsApi_received_arguments],
        *,
        bus_options: FireManyOptions | None = None,
    ) -> list[EventMessage]: ...

    async def fire_many_async(
        self,
        events: Iterable[PaymentsApi_received_arguments],
        *,
        bus_options: FireManyOptions | None = None,
    ) -> list[EventMessage]: ...

    def listen(
        self,
        listener: PaymentsApi_received_listener | Callable[[list[EventMessage]], Any],
        *,
        listener_name: str | None = None,
        bus_options: Mapping[str, Any] | None = None,
        on_error: OnError | DeliveryPolicy = ...,
    ) -> Listener: ...


class ShopOrdersApi_by_customer(ProcedureView, Protocol):
    def __call__(self, /, *, customer: str, bus_options: CallOptions | None = None) -> list[int]:
        """Return the numbers of a customer's orders."""
        ...

    def call(self, /, *, customer: str, bus_options: CallOptions | None = None) -> list[int]: ...

    async def call_async(
        self,
        /,
        *,
        customer: str,
        bus_options: CallOptions | None = None,
    ) -> list[int]:
        """Return the numbers of a customer's orders."""
        ...


class ShopOrdersApi_customer_of(ProcedureView, Protocol):
    def __call__(self, /, *, order_id: int, bus_options: CallOptions | None = None) -> str:
        """Return who placed an order."""
        ...

    def call(self, /, *, order_id: int, bus_options: CallOptions | None = None) -> str: ...

    async def call_async(self, /, *, order_id: int, bus_options: CallOptions | None = None) -> str:
        """Return who placed an order."""
        ...


class ShopOrdersApi_place(ProcedureView, Protocol):
    def __call__(
        self,
        /,
        *,
        customer: str,
        lines: list[ShopOrdersLine],
        bus_options: CallOptions | None = None,
    ) -> int:
        """Take an order and tell everybody; returns its number."""
        ...

    def call(
        self,
        /,
        *,
        customer: str,
        lines: list[ShopOrdersLine],
        bus_options: CallOptions | None = None,
    ) -> int: ...

    async def call_async(
        self,
        /,
        *,
        customer: str,
        lines: list[ShopOrdersLine],
        bus_options: CallOptions | None = None,
    ) -> int:
        """Take an order and tell everybody; returns its number."""
        ...


class ShopOrdersApi_placed_arguments(TypedDict):
    order_id: int
    customer: str
    skus: list[str]


class ShopOrdersApi_placed_listener(Protocol):
    def __call__(
        self,
        event_message: EventMessage,
        /,
        *,
        order_id: int,
        customer: str,
        skus: list[str],
    ) -> Any: ...


class ShopOrdersApi_placed(EventView, Protocol):
    def fire(
        self,
        /,
        *,
        order_id: int,
        customer: str,
        skus: list[str],
        bus_options: FireOptions | None = None,
    ) -> EventMessage: ...

    async def fire_async(
        self,
        /,
        *,
        order_id: int,
        customer: str,
        skus: list[str],
        bus_options: FireOptions | None = None,
    ) -> EventMessage: ...

    def fire_many(
        self,
        events: Iterable[ShopOrdersApi_placed_arguments],
        *,
        bus_options: FireManyOptions | None = None,
    ) -> list[EventMessage]: ...

    async def fire_many_async(
        self,
        events: Iterable[ShopOrdersApi_placed_arguments],
        *,
        bus_options: FireManyOptions | None = None,
    ) -> list[EventMessage]: ...

    def listen(
        self,
        listener: ShopOrdersApi_placed_listener | Callable[[list[EventMessage]], Any],
        *,
        listener_name: str | None = None,
        bus_options: Mapping[str, Any] | None = None,
        on_error: OnError | DeliveryPolicy = ...,
    ) -> Listener: ...


class ShopStockApi_available(ProcedureView, Protocol):
    def __call__(self, /, *, sku: str, bus_options: CallOptions | None = None) -> int:
        """Return how many pieces of an article are there."""
        ...

    def call(self, /, *, sku: str, bus_options: CallOptions | None = None) -> int: ...

    async def call_async(self, /, *, sku: str, bus_options: CallOptions | None = None) -> int:
        """Return how many pieces of an article are there."""
        ...


class PaymentsApi(ApiView, Protocol):
    """What customers pay."""

    paid_for: PaymentsApi_paid_for
    received: PaymentsApi_received


class ShopOrdersApi(ApiView, Protocol):
    """What customers order."""

    by_customer: ShopOrdersApi_by_customer
    customer_of: ShopOrdersApi_customer_of
    place: ShopOrdersApi_place
    placed: ShopOrdersApi_placed


class ShopStockApi(ApiView, Protocol):
    """What the shop has."""

    available: ShopStockApi_available


class ShopApi(ApiView, Protocol):
    orders: ShopOrdersApi
    stock: ShopStockApi


class Bus(BusView, Protocol):
    payments: PaymentsApi
    shop: ShopApi


def typed(bus: BusPath) -> Bus:
    """Return a bus as its contracts have it."""
    return cast("Bus", TypedPath.of(bus, Bus))


create = returning(lightbus.create, typed)
get_bus = returning(lightbus.get_bus, typed)
