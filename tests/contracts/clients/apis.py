"""APIs with every type that the how-to of contracts names."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Annotated, Any, Generic, Literal, NamedTuple, NewType, NotRequired, TypedDict, TypeVar
from uuid import UUID

import annotated_types as at
import attrs
import msgspec
import pydantic

from lightbus import Api, Event, Parameter
from lightbus.contracts.contract import contract_of

T = TypeVar("T")
UserId = NewType("UserId", int)


class Kind(enum.Enum):
    USER = "user"
    GUEST = "guest"


class Size(enum.IntEnum):
    SMALL = 1
    LARGE = 2


@dataclass
class Address:
    street: str
    # The names of types, as people give them to fields.
    date: date | None = None
    list: list[int] = field(default_factory=list)


@dataclass
class User:
    name: str
    kind: Kind
    address: Address
    tags: set[str] = field(default_factory=set)
    friends: list[User] = field(default_factory=list)
    born: date = date(2000, 1, 2)
    size: Size = Size.SMALL


class Point(NamedTuple):
    x: float
    y: float = 0.0


class Extra(TypedDict):
    a: int
    b: NotRequired[str]


@attrs.define
class Box:
    width: int
    label: str | None = None


class Circle(msgspec.Struct, tag="circle"):
    radius: float


class Street(pydantic.BaseModel):
    name: str


class House(pydantic.BaseModel):
    street: Street
    number: int = 1


@dataclass
class Page(Generic[T]):
    items: list[T]
    more: bool = False


class Money:
    def __init__(self, cents: int) -> None:
        self.cents = cents

    def __to_bus__(self) -> dict[str, int]:
        return {"cents": self.cents}

    @classmethod
    def __from_bus__(cls, sent: dict[str, int]) -> Money:
        return cls(**sent)


class AuthApi(Api):
    """Who may come in.

    With a quote \"\"\" and a \\ in it.
    """

    user_registered = Event(
        [
            Parameter("username", str),
            Parameter("kind", Kind, Kind.USER),
            Parameter("at", datetime),
            Parameter("note", str, None),
        ]
    )
    """Somebody is new.

    Args:
        username: The name.
    """
    renamed = Event([Parameter("from", str), Parameter("to", str)])

    class Meta:
        name = "auth"
        auto_register = False

    def check_password(self, username: str, password: str = "") -> bool:
        """Check a password.

        Args:
            username: The name.
            password: The password.

        Returns:
            Whether it is right.
        """
        raise NotImplementedError

    def find(
        self, kind: Kind | None = None, since: datetime | None = None, limit: Annotated[int, at.Ge(1)] = 10
    ) -> list[User]:
        raise NotImplementedError

    def one(self, id: UUID, of: UserId | None = None) -> User | None:
        raise NotImplementedError

    def save(self, user: User, house: House, **notes: str) -> UUID:
        raise NotImplementedError

    def simple(self, mode: Literal["fast", "slow", 3], price: Decimal, raw: bytes = b"") -> Decimal:
        raise NotImplementedError

    def times(self, day: date, at: time, lasts: timedelta = timedelta(hours=1)) -> tuple[datetime, timedelta]:
        raise NotImplementedError

    def shapes(self, pair: tuple[int, str], points: Sequence[Point], box: Box, circle: Circle) -> Page[Point]:
        raise NotImplementedError

    def maps(
        self, sizes: Mapping[Kind, int], users: dict[UUID, Address], by_id: dict[int, str]
    ) -> dict[int, Kind]:
        raise NotImplementedError

    def odd(self, money: Money, number: complex, extra: Extra, either: int | list[str]) -> Money:
        raise NotImplementedError

    def pages(self) -> Page[User]:
        raise NotImplementedError

    def anything(self, a, b=2, **more):  # type: ignore[no-untyped-def]
        raise NotImplementedError

    def nothing(self) -> None:
        raise NotImplementedError


class OrdersApi(Api):
    placed = Event([Parameter("order_id", int), Parameter("lines", list[Address])])

    class Meta:
        name = "shop.orders"
        auto_register = False

    async def place(self, customer: str, lines: list[Address]) -> int:
        raise NotImplementedError


class ShopApi(Api):
    class Meta:
        name = "shop"
        auto_register = False

    def orders(self, day: date) -> int:
        raise NotImplementedError


def contracts() -> dict[str, Any]:
    """The contracts of these APIs, and names in them that are words of Python."""
    found = {api.__lightbus__.name: contract_of(api.__lightbus__) for api in (AuthApi, OrdersApi, ShopApi)}
    orders = found["shop.orders"]
    return {**found, "shop.orders": {**orders, "rpcs": {**orders["rpcs"], "import": orders["rpcs"]["place"]}}}
