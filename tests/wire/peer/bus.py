"""The bus module of a Lightbus 1.x worker: runs under 1.x only, as `peer_1x` starts it.

Lightbus 1.x does not understand annotations that are strings, so this module has none.
PEER_CONFIG is its configuration as JSON; PEER_ROLES says whether it owns the API, listens, or both.
"""

# ruff: noqa: UP006, UP035, UP045 - it knows no newer spelling
import json
import os
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from typing import Any, Dict, List, NamedTuple, Optional
from uuid import UUID

import lightbus
from lightbus import Api, Event, EventMessage, Parameter

bus = lightbus.create(config=json.loads(os.environ["PEER_CONFIG"]))


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

    def check_password(self, username: str, password: str) -> bool:
        return username == "admin" and password == "secret"

    def order(self, item: Item, price: Decimal, when: datetime, note: str = "") -> Receipt:
        exact = Decimal(price)  # 1.x on Python 3.13 leaves it a string
        return Receipt(exact * item.qty, type(item).__name__, when.year, note)

    def echo(
        self,
        item: Item,
        price: Decimal,
        when: datetime,
        day: date,
        colour: Colour,
        uid: UUID,
        pts: List[Point],
        raw: bytes,
        note: Optional[str] = None,
    ) -> Dict[str, Item]:
        # 1.x on newer Pythons leaves some of them strings
        return {note or "none": Item(" ".join([type(item).__name__, str(day), str(uid)]), item.qty)}

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


roles = os.environ.get("PEER_ROLES", "").split()
if "owner" in roles:
    bus.client.register_api(AuthApi())
if "listener" in roles:
    bus.auth.user_registered.listen(on_user, listener_name="on_user")
    bus.auth.measured.listen(on_user, listener_name="on_measured")
