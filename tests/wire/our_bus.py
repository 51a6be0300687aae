"""Our side of the interoperation tests: the same API as in `peer/bus.py`, as a bus module for `lightbus run`.

OUR_ROLES says whether this process owns the API, listens, or both.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from typing import Any, NamedTuple
from uuid import UUID

from lightbus import Api, Event, EventMessage, Parameter

ROLES = os.environ.get("OUR_ROLES", "").split()


@dataclass
class Item:
    """A value with fields."""

    sku: str
    qty: int = 1


@dataclass
class Receipt:
    """Says what arrived, so that a lost type shows."""

    total: Decimal
    item: str
    year: int
    note: str


class Colour(Enum):
    """A choice."""

    RED = "red"
    BLUE = "blue"


class Point(NamedTuple):
    """A value with fields that is a tuple too."""

    x: int
    y: int


class AuthApi(Api):
    """What the tests call and listen to."""

    user_registered = Event(
        parameters=(
            Parameter("username", str),
            Parameter("email", str),
            Parameter("is_admin", bool, default=False),
        )
    )
    measured = Event(parameters=(Parameter("value", float), Parameter("number", int)))

    class Meta:
        name = "auth"
        version = 3
        auto_register = "owner" in ROLES

    def check_password(self, username: str, password: str) -> bool:
        return username == "admin" and password == "secret"

    def order(self, item: Item, price: Decimal, when: datetime, note: str = "") -> Receipt:
        return Receipt(price * item.qty, type(item).__name__, when.year, note)

    def echo(
        self,
        item: Item,
        price: Decimal,
        when: datetime,
        day: date,
        colour: Colour,
        uid: UUID,
        pts: list[Point],
        raw: bytes,
        note: str | None = None,
    ) -> dict[str, Item]:
        types = [type(v).__name__ for v in (item, price, when, day, colour, uid, pts[0], raw)]
        return {note or "none": Item(" ".join([*types, raw.decode()]), item.qty)}

    def same(self, value: float, number: int) -> list:  # type: ignore[type-arg]
        return [value, number]

    def many(self, count: int, value: float) -> list:  # type: ignore[type-arg]
        return [value] * count

    def boom(self, x: int) -> None:
        raise ValueError(f"no such x: {x}")


def on_user(event_message: EventMessage, **kwargs: Any) -> None:
    """Say what was heard, for the test to read."""
    heard = {
        "id": event_message.id,
        "event": event_message.canonical_name,
        "kwargs": kwargs,
        "version": event_message.version,
    }
    print("heard", json.dumps(heard, sort_keys=True), flush=True)


def before_server_start(bus: Any) -> None:
    """Listen, if that is the role."""
    if "listener" in ROLES:
        bus.auth.user_registered.listen(on_user, listener_name="on_user")
        bus.auth.measured.listen(on_user, listener_name="on_measured")
