"""Sending: which Python values become which JSON values, and what can't be sent."""

from __future__ import annotations

import enum
import json
import math
import timeit
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

import attrs
import msgspec
import pydantic
import pytest

from lightbus import values
from lightbus.exceptions import ValidationError
from lightbus.serializers import json_bytes, read_json
from lightbus.values.dumping import MAX_DEPTH


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Size(enum.IntEnum):
    SMALL = 1


class Right(enum.Flag):
    READ = 1
    WRITE = 2


class Point(NamedTuple):
    x: int
    y: int = 0


@dataclass
class Item:
    sku: str
    qty: int = 1
    checked: bool = field(default=False, init=False)


@attrs.define
class Box:
    items: list[Item]
    _secret: int = 0


class Shape(msgspec.Struct, tag="shape", rename="camel"):
    line_width: int


class User(pydantic.BaseModel):
    name: str
    born: date = pydantic.Field(alias="bornOn")


class Money:
    def __init__(self, amount: int) -> None:
        self.amount = amount

    def __to_bus__(self) -> dict[str, int]:
        return {"amount": self.amount}


class Text(str):
    pass


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        (None, None),
        (True, True),
        (7, 7),
        (1.5, 1.5),
        ("é", "é"),
        (Text("x"), "x"),
        (Colour.RED, "red"),
        (Size.SMALL, 1),
        (Right.READ | Right.WRITE, 3),
        (datetime(2026, 1, 2, 3, 4, 5), "2026-01-02T03:04:05"),
        (datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), "2026-01-02T03:04:05+00:00"),
        (date(2026, 1, 2), "2026-01-02"),
        (time(3, 4, 5), "03:04:05"),
        (timedelta(days=1, seconds=2.5), "P1DT2.5S"),
        (UUID(int=5), "00000000-0000-0000-0000-000000000005"),
        (Decimal("1.50"), "1.50"),
        (Decimal("1E+3"), "1000"),
        (1 + 2j, "(1+2j)"),
        (b"\x00\xff", "AP8="),
        (bytearray(b"\x00\xff"), "AP8="),
        ((1, "a"), [1, "a"]),
        ({3}, [3]),
        (frozenset({3}), [3]),
        (deque([1, 2]), [1, 2]),
        (OrderedDict(a=1), {"a": 1}),
        ({1: "a", UUID(int=5): "b"}, {"1": "a", "00000000-0000-0000-0000-000000000005": "b"}),
        ({Colour.RED: 1, Size.SMALL: 2}, {"red": 1, "1": 2}),
        (Point(1), {"x": 1, "y": 0}),
        (Item("a"), {"sku": "a", "qty": 1}),
        (Box([Item("a")]), {"items": [{"sku": "a", "qty": 1}], "_secret": 0}),
        (Shape(2), {"type": "shape", "lineWidth": 2}),
        (User(name="a", bornOn=date(2000, 1, 1)), {"name": "a", "bornOn": "2000-01-01"}),
        (Money(5), {"amount": 5}),
        ({"lines": [Item("a", 2)]}, {"lines": [{"sku": "a", "qty": 2}]}),
    ],
)
def test_a_value_travels_as_json(value: Any, sent: Any) -> None:
    dumped = values.dump(value)
    assert dumped == sent
    assert msgspec.json.decode(msgspec.json.encode(dumped)) == json.loads(json.dumps(dumped)) == sent


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"order": {"lines": [1, 2, 3, {"qty": object()}]}}, "order.lines[3].qty: a value of type object"),
        (Box([Item("a"), Item(object())]), r"items[1].sku: a value of type object can't be sent"),  # type: ignore[arg-type]
        (Decimal("NaN"), "can't be sent"),
        (Decimal("1e100000"), "digits"),
        (complex("inf"), "can't be sent"),
        (["ok", 10**5000], "[1]: an int of 16610 bits has more than 4000 digits"),
        ("\ud800", "half a surrogate pair"),
        ({"\ud800": 1}, "half a surrogate pair"),
        ({(1, 2): 3}, "can't be a name in a JSON object"),
        ({1.5: 3}, "can't be a name in a JSON object"),
        ({None: 3}, "can't be a name in a JSON object"),
        ({True: 3}, "can't be a name in a JSON object"),
        ({1: "a", "1": "b"}, "two keys that are the same text"),
        ({"a b": object()}, "['a b']: a value of type object can't be sent"),
        (Item, "a value of type type can't be sent"),
        (iter([1]), "can't be sent"),
        (open, "can't be sent"),
    ],
)
def test_what_cannot_be_sent_is_an_error_with_its_path(value: Any, message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        values.dump(value)
    assert message in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    "value", [float("inf"), float("-inf"), [{"a": float("inf")}], 2**64, -(2**70), 10**3999]
)
def test_numbers_of_any_size_are_written_as_python_writes_them(value: Any) -> None:
    written = json_bytes(values.dump({"value": value, "none": None}))
    assert json.loads(written) == {"value": value, "none": None} == read_json(written)


def test_what_is_no_number_is_written_as_python_writes_it() -> None:
    assert json_bytes(values.dump([math.nan, None])) == b"[NaN,null]"


def test_a_hooks_infinite_number_is_not_written_as_null() -> None:
    put_in = {"a": [math.inf, None, {"b": -math.inf}], "c": 1.5}
    assert json_bytes(values.marked(put_in)) == b'{"a":[Infinity,null,{"b":-Infinity}],"c":1.5}'
    finite = {"a": [1, None]}
    assert values.marked(finite) is finite


def test_a_structure_that_contains_itself_is_an_error() -> None:
    ring: list[Any] = []
    ring.append({"ring": ring})
    with pytest.raises(ValidationError, match="contains itself"):
        values.dump(ring)
    item = Item("a")
    item.sku = item  # type: ignore[assignment]
    with pytest.raises(ValidationError, match="contains itself"):
        values.dump(item)


def test_an_object_that_sends_itself_forever_is_an_error() -> None:
    class Endless:
        def __to_bus__(self) -> Any:
            return self

    with pytest.raises(ValidationError, match="contains itself"):
        values.dump(Endless())


def test_what_is_less_deep_than_a_message_may_be_is_sent() -> None:
    deep: Any = 1
    for _ in range(MAX_DEPTH):
        deep = [deep]
    assert values.dump(deep) == deep
    with pytest.raises(ValidationError, match=f"{MAX_DEPTH} deep"):
        values.dump([deep])


def test_a_dumped_structure_is_a_copy() -> None:
    kwargs = {"tags": ["a"]}
    dumped = values.dump(kwargs)
    kwargs["tags"].append("b")
    assert dumped == {"tags": ["a"]}


def test_dumping_plain_arguments_takes_about_a_microsecond() -> None:
    kwargs = {"username": "admin", "password": "secret"}
    assert min(timeit.repeat(lambda: values.dump(kwargs), number=2000, repeat=5)) / 2000 < 10e-6
