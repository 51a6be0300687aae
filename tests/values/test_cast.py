"""Receiving: JSON values become the types of a hint, strictly, or an error says where they don't fit."""

from __future__ import annotations

import enum
import importlib
import sys
import typing
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, NamedTuple, NewType, NotRequired, TypedDict, TypeVar
from uuid import UUID

import annotated_types as at
import attrs
import msgspec
import pydantic
import pytest

from lightbus import values
from lightbus.exceptions import MisconfiguredApiOptions, ValidationError

T = TypeVar("T")
UserId = NewType("UserId", int)


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Size(enum.IntEnum):
    SMALL = 1
    LARGE = 2


class Right(enum.Flag):
    READ = 1
    WRITE = 2


class Point(NamedTuple):
    x: int
    y: int = 0


@dataclass
class Line:
    sku: str
    qty: int = 1

    def __post_init__(self) -> None:
        if self.qty < 0:
            raise ValueError("a quantity can't be negative")


@dataclass
class Order:
    lines: list[Line]
    parent: Order | None = None
    notes: list[str] = field(default_factory=list)


@dataclass
class Page(Generic[T]):
    items: list[T]
    next: Page[T] | None = None


@dataclass
class LinePage(Page[Line]):
    pass


class Address(TypedDict):
    street: str
    city: NotRequired[str]


@attrs.define
class Box:
    size: int
    _code: str = "x"


class Circle(msgspec.Struct, tag=True):
    radius: float


class Square(msgspec.Struct, tag=True):
    side_length: float = msgspec.field(name="sideLength")


class User(pydantic.BaseModel):
    name: str
    born: date | None = None


class Money:
    def __init__(self, amount: Decimal) -> None:
        self.amount = amount

    def __to_bus__(self) -> str:
        return str(self.amount)

    @classmethod
    def __from_bus__(cls, value: Decimal) -> Money:
        return cls(value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Money) and other.amount == self.amount

    __hash__ = None  # type: ignore[assignment]


class Email(str):
    def __new__(cls, text: str) -> Email:
        if "@" not in text:
            raise ValueError("no @")
        return super().__new__(cls, text)


@pytest.mark.parametrize(
    ("hint", "sent", "value"),
    [
        (int, 1, 1),
        (int, 1.0, 1),
        (float, 1.5, 1.5),
        (float, 1, 1.0),
        (str, "x", "x"),
        (bool, True, True),
        (None, None, None),
        (Any, {"a": [1]}, {"a": [1]}),
        (object, 1, 1),
        (int | None, None, None),
        (int | str, "1", "1"),
        (datetime | str, "2026-01-02T03:04:05", datetime(2026, 1, 2, 3, 4, 5)),
        (str | datetime, "2026-01-02T03:04:05", "2026-01-02T03:04:05"),
        (datetime | date, "2026-01-02", date(2026, 1, 2)),
        (Literal["a", 1], 1, 1),
        (Literal[Colour.RED], "red", Colour.RED),
        (UserId, 5, 5),
        (list[int], [1], [1]),
        (list, [1, "a"], [1, "a"]),
        (Sequence[Colour], ["red"], [Colour.RED]),
        (deque[int], [1], deque([1])),
        (set[Colour], ["red"], {Colour.RED}),
        (frozenset[int], [1], frozenset({1})),
        (tuple[int, ...], [1, 2, 3], (1, 2, 3)),
        (tuple[int, str], [1, "a"], (1, "a")),
        (tuple[()], [], ()),
        (tuple, [1, "a"], (1, "a")),
        (dict[str, int], {"a": 1}, {"a": 1}),
        (dict[int, int], {"1": 1}, {1: 1}),
        (dict[UUID, int], {"00000000-0000-0000-0000-000000000005": 1}, {UUID(int=5): 1}),
        (Mapping[Colour, int], {"red": 1}, {Colour.RED: 1}),
        (dict[Size, int], {"1": 1}, {Size.SMALL: 1}),
        (OrderedDict[str, int], {"a": 1}, OrderedDict(a=1)),
        (Colour, "red", Colour.RED),
        (Size, 2, Size.LARGE),
        (Right, 3, Right.READ | Right.WRITE),
        (datetime, "2026-01-02T03:04:05Z", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        (date, "2026-01-02", date(2026, 1, 2)),
        (time, "03:04:05", time(3, 4, 5)),
        (timedelta, "P1DT2.5S", timedelta(days=1, seconds=2.5)),
        (UUID, "00000000-0000-0000-0000-000000000005", UUID(int=5)),
        (Decimal, "1.50", Decimal("1.50")),
        (bytes, "AP8=", b"\x00\xff"),
        (bytearray, "AP8=", bytearray(b"\x00\xff")),
        (complex, "(1+2j)", 1 + 2j),
        (Point, {"x": 1}, Point(1)),
        (Order, {"lines": [{"sku": "a"}]}, Order([Line("a")])),
        (Order, {"lines": [], "parent": {"lines": []}}, Order([], Order([]))),
        (Page[Line], {"items": [{"sku": "a"}], "next": {"items": []}}, Page([Line("a")], Page([]))),
        (LinePage, {"items": [{"sku": "a"}]}, LinePage([Line("a")])),
        (Address, {"street": "x"}, {"street": "x"}),
        (Box, {"size": 1, "_code": "y"}, Box(1, "y")),
        (Circle | Square, {"type": "Square", "sideLength": 2.0}, Square(2.0)),
        (User, {"name": "a", "born": "2000-01-01"}, User(name="a", born=date(2000, 1, 1))),
        (Money, "1.50", Money(Decimal("1.50"))),
        (Email, "a@b", Email("a@b")),
        (Annotated[int, at.Ge(1), "a note"], 1, 1),
        (Annotated[list[int], at.Len(1, 2)], [1], [1]),
        (Annotated[int | None, at.Gt(0)], None, None),
        (Line | Point, {"x": 1, "y": 2}, Point(1, 2)),
    ],
)
def test_a_json_value_becomes_a_value_of_the_hint(hint: Any, sent: Any, value: Any) -> None:
    cast = values.cast(sent, hint)
    assert cast == value
    assert type(cast) is type(value)


@pytest.mark.parametrize(
    ("hint", "sent", "message"),
    [
        (int, "x", "expected int, got 'x'"),
        (int, "1", "expected int"),
        (int, True, "expected int, got True"),
        (int, 1.5, "expected int"),
        (bool, "false", "expected bool, got 'false'"),
        (bool, 0, "expected bool"),
        (str, 1, "expected str"),
        (float, "1.5", "expected float"),
        (float, True, "expected float"),
        (float, 10**400, "expected float, got an int of"),
        (int, None, "expected int, got None"),
        (int | None, "x", "expected int or None, got 'x'"),
        (list[int], {"a": 1}, "expected list[int], got an object of 1"),
        (tuple[int, str], [1], "a list of 2"),
        (set[list[int]], [[1]], "hashable"),
        (dict[int, int], {"x": 1}, "as a key: expected int, got 'x'"),
        (dict[int, int], {"1": 1, "01": 2}, "two keys stand for the same int"),
        (Colour, "green", "expected one of 'red', 'blue', got 'green'"),
        (Size, True, "expected one of 1, 2"),
        (Right, 8, "Right refuses 8"),
        (Literal[1], True, "expected one of 1"),
        (datetime, "2026-01-02", "expected a datetime"),
        (datetime, "yesterday", "expected a datetime"),
        (date, "2026-13-02", "expected a date"),
        (time, "25:00", "expected a time"),
        (timedelta, "1 day", "expected a duration"),
        (UUID, "5", "expected a UUID"),
        (Decimal, "1e5", "expected a decimal number"),
        (Decimal, "NaN", "expected a decimal number"),
        (Decimal, 1.5, "expected a decimal number"),
        (bytes, "?", "expected base64 text"),
        (Order, {"lines": [{"sku": "a"}, {"sku": "a", "qty": "x"}]}, "lines[1].qty: expected int, got 'x'"),
        (Order, {"lines": [{"qty": 1}]}, "lines[0]: the field sku of Line is missing"),
        (Order, {"lines": [{"sku": "a", "colour": 1}]}, "lines[0].colour: Line has no such field"),
        (Order, {"lines": [{"sku": "a", "qty": -1}]}, "lines[0]: Line refuses it: a quantity"),
        (Order, {"lines": [], "parent": {"lines": 1}}, "parent.lines: expected list[Line], got 1"),
        (Page[Line], {"items": [{"sku": 1}]}, "items[0].sku: expected str"),
        (Address, {"street": "x", "zip": 1}, "zip: Address has no such field"),
        (User, {"name": 1}, "name: User refuses it"),
        (Money, "x", "expected a decimal number"),
        (Email, "nobody", "Email refuses 'nobody': ValueError: no @"),
        (Annotated[int, at.Ge(1)], 0, "0 is less than 1"),
        (Annotated[str, msgspec.Meta(pattern="^a")], "b", "does not match '^a'"),
        (Annotated[list[int], at.Len(1, 2)], [], "is shorter than 1"),
        (Annotated[int, at.Predicate(bool)], 0, "is refused by bool"),
        (Annotated[float, at.MultipleOf(0.1)], 0.25, "is not a multiple of 0.1"),
        (dict[str, int], {"a b": "x" * 10_000}, "['a b']: expected int, got 'xxx"),
    ],
)
def test_what_does_not_fit_is_an_error_with_its_path(hint: Any, sent: Any, message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        values.cast(sent, hint)
    assert message in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("hint", ["Line", list["Line"]])
def test_a_hint_that_is_a_text_which_names_nothing_is_an_error_when_the_caster_is_made(hint: Any) -> None:
    with pytest.raises(MisconfiguredApiOptions, match="is a text that names no type"):
        values.cast(None, hint)


@pytest.mark.parametrize("hint", [Callable[[], int], type(pytest), memoryview, list[memoryview]])
def test_values_of_a_hint_that_is_not_known_pass_as_they_are(hint: Any) -> None:
    for sent in ([{"a": 1}, None, 1.5], []):
        assert values.cast(sent, hint) == sent


class Address1x:
    """A class as code for Lightbus 1.x has them: annotations, and nothing that makes it of fields."""

    street: str
    number: int = 1

    def label(self) -> str:
        raise NotImplementedError


def test_values_of_a_class_with_annotations_alone_stay_dicts() -> None:
    assert values.cast({"street": "High"}, Address1x) == {"street": "High"}
    assert values.cast([{"street": "High"}], list[Address1x]) == [{"street": "High"}]
    with pytest.raises(ValidationError, match="an object with the fields of Address1x"):
        values.cast("High", Address1x)


@dataclass
class Note:
    text: str = None  # type: ignore[assignment]


class Pair(NamedTuple):
    left: int
    right: int = None  # type: ignore[assignment]


@attrs.define
class Bag:
    size: int = None  # type: ignore[assignment]


class Ring(msgspec.Struct):
    radius: float = None  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("hint", "sent", "value"),
    [
        (Note, {"text": None}, Note()),
        (Note, {"text": "a"}, Note("a")),
        (Pair, {"left": 1, "right": None}, Pair(1)),
        (Bag, {"size": None}, Bag()),
        (Ring, {"radius": None}, Ring()),
    ],
)
def test_none_as_the_default_of_a_field_is_a_value_of_it(hint: Any, sent: Any, value: Any) -> None:
    assert values.cast(sent, hint) == value
    assert values.dump(values.cast(sent, hint)) == sent


def test_any_other_default_makes_no_field_optional() -> None:
    with pytest.raises(ValidationError, match="left: expected int, got None"):
        values.cast({"left": None}, Pair)
    with pytest.raises(ValidationError, match=r"^text: expected str or None, got 5$"):
        values.cast({"text": 5}, Note)


@pytest.mark.parametrize("hint", [tuple, typing.Tuple])  # noqa: UP006 - the older spelling
def test_a_tuple_without_types_is_made_of_any_list(hint: Any) -> None:
    assert values.cast([], hint) == ()
    assert values.cast([1, "a", None], hint) == (1, "a", None)


def test_the_empty_tuple_is_made_of_nothing_else() -> None:
    assert values.cast([], tuple[()]) == ()
    with pytest.raises(ValidationError, match="a list of 0"):
        values.cast([1], tuple[()])


class Reading(pydantic.BaseModel):
    value: float
    spare: float | None = None


@pytest.mark.parametrize("number", [float("inf"), float("-inf")])
def test_an_infinite_number_is_a_float_and_nothing_else(number: float) -> None:
    assert values.cast(number, float) == values.cast(number, float | None) == number
    assert values.cast({"value": number, "spare": number}, Reading) == Reading(value=number, spare=number)
    for hint in (int, str, Decimal, Annotated[float, at.Le(1e9), at.Ge(-1e9)]):
        with pytest.raises(ValidationError):
            values.cast(number, hint)
    with pytest.raises(ValidationError, match="is not a multiple"):
        values.cast(number, Annotated[float, at.MultipleOf(0.5)])


def test_the_order_of_a_union_counts_although_python_calls_both_equal() -> None:
    text = "2026-01-02T03:04:05"
    assert values.cast([text], list[str | datetime]) == [text]
    assert values.cast([text], list[datetime | str]) == [datetime(2026, 1, 2, 3, 4, 5)]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="this syntax is of Python 3.12")
def test_type_statements_and_type_parameters_may_mention_themselves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bus_of_312.py").write_text(
        "from __future__ import annotations\nfrom dataclasses import dataclass\n"
        "type Tree = list[Tree] | int\ntype Pair[T] = tuple[T, T]\n"
        "@dataclass\nclass Page[T]:\n    items: list[T]\n    next: Page[T] | None = None\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    bus = importlib.import_module("bus_of_312")
    assert values.cast([1, [2]], bus.Tree) == [1, [2]]
    assert values.cast([1, 2], bus.Pair[int]) == (1, 2)
    with pytest.raises(ValidationError, match=r"^next.items\[0\]: expected int, got 'x'$"):
        values.cast({"items": [1], "next": {"items": ["x"]}}, bus.Page[int])


def test_a_hint_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclass
    class Once:
        sku: str

    read: list[object] = []
    get_type_hints = typing.get_type_hints

    def noting(thing: Any, **more: Any) -> dict[str, Any]:
        read.append(thing)
        return get_type_hints(thing, **more)

    monkeypatch.setattr(typing, "get_type_hints", noting)
    for _ in range(3):
        assert values.cast([{"sku": "a"}], list[Once]) == [Once("a")]
    assert read == [Once]


def test_a_value_nested_too_deep_is_an_error_and_not_a_crash() -> None:
    sent: Any = {"lines": []}
    for _ in range(5000):
        sent = {"lines": [], "parent": sent}
    with pytest.raises(ValidationError, match="nested too deep"):
        values.cast(sent, Order)


def test_a_union_reports_the_member_that_came_furthest() -> None:
    with pytest.raises(ValidationError, match=r"^lines\[0\].sku: expected str, got 1$"):
        values.cast({"lines": [{"sku": 1}]}, Order | int | None)
