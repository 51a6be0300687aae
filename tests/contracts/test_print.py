"""Printing contracts: for people as signatures, for tools as AsyncAPI."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import jsonschema

from lightbus import Api, Event, Parameter
from lightbus.contracts.asyncapi import document
from lightbus.contracts.contract import contract_of
from lightbus.contracts.printing import show

ASYNCAPI = Path(__file__).parent / "schemas" / "asyncapi-3.0.0.json.gz"


@dataclass
class Line:
    sku: str
    price: Decimal
    qty: int = 1


@dataclass
class Order:
    lines: list[Line]
    parent: Order | None = None
    notes: list[str] = field(default_factory=list)


class ShopApi(Api):
    class Meta:
        name = "shop.orders"
        auto_register = False

    placed = Event([Parameter("order", Order), Parameter("at", datetime), "untyped"])

    def place(self, order: Order, kind: Literal["gift", "usual"] = "usual", note: str | None = None) -> int:
        return 1

    def find(
        self, ids: dict[str, tuple[int, str]], a_rather_long_name: bool = False, **filters: int
    ) -> list[Order]:
        return []

    def anything(self, a, b=2, **kwargs):  # type: ignore[no-untyped-def]
        return a


def test_an_api_is_printed_as_a_person_would_write_it() -> None:
    assert show("shop.orders", contract_of(ShopApi.__lightbus__)) == (
        """\
shop.orders.anything(a, b: int = 2, **kwargs)
shop.orders.find(
    ids: dict[str, tuple[int, str]],
    a_rather_long_name: bool = False,
    **kwargs: int,
) -> list[Order]
shop.orders.place(
    order: Order,
    kind: Literal['gift', 'usual'] = 'usual',
    note: str | None = None,
) -> int
event shop.orders.placed(order: Order, at: datetime, untyped)

class Line:
    sku: str
    price: Decimal
    qty: int = 1

class Order:
    lines: list[Line]
    parent: Order | None = None
    notes: list[str] = []
"""
    )


class ReadersApi(Api):
    """Who may read.

    A second paragraph.
    """

    joined = Event([Parameter("name", str)])
    """A reader is new."""

    class Meta:
        name = "readers"
        auto_register = False

    def find(self, name: str, limit: int = 10) -> list[str]:
        """Find readers
        by their names.

        Slow where there are many.

        Args:
            name: A part of it.
        """
        return []


def test_what_it_is_for_is_printed_with_it() -> None:
    assert show("readers", contract_of(ReadersApi.__lightbus__)) == (
        """\
# Who may read.

# Find readers
# by their names.
readers.find(
    name: str,  # A part of it.
    limit: int = 10,
) -> list[str]
# A reader is new.
event readers.joined(name: str)
"""
    )


def test_an_empty_api_is_printed_as_nothing() -> None:
    assert show("x", {"events": {}, "rpcs": {}}).strip() == ""


def test_the_asyncapi_document_is_one_that_its_official_schema_accepts() -> None:
    made = document({"shop.orders": contract_of(ShopApi.__lightbus__)}, "The shop", "1.2.3")
    official = jsonschema.Draft7Validator(json.loads(gzip.decompress(ASYNCAPI.read_bytes())))
    assert [e.message for e in official.iter_errors(json.loads(json.dumps(made)))] == []
    assert not official.is_valid({**made, "channels": 3})


def test_every_reference_in_the_asyncapi_document_leads_somewhere() -> None:
    made = document({"shop.orders": contract_of(ShopApi.__lightbus__)}, "The shop", "1.2.3")
    references = list(_references(made))
    assert len(references) > 10
    for reference in references:
        node: Any = made
        for part in reference.removeprefix("#/").split("/"):
            node = node[part]


def test_calls_are_received_and_events_are_sent() -> None:
    made = document({"shop.orders": contract_of(ShopApi.__lightbus__)}, "The shop", "1.2.3")
    assert made["operations"]["shop.orders.place.serve"]["action"] == "receive"
    assert made["operations"]["shop.orders.placed.fire"]["action"] == "send"
    assert made["channels"]["shop.orders.calls"]["address"] == "shop.orders:rpc_queue"
    assert made["channels"]["shop.orders.events"]["address"] == "shop.orders.*:stream"


def _references(node: Any) -> Any:
    if isinstance(node, dict):
        if "$ref" in node:
            yield node["$ref"]
        for value in node.values():
            yield from _references(value)
    elif isinstance(node, list):
        for value in node:
            yield from _references(value)
