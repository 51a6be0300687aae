"""What holds for all values: what is sent comes back, and the contract accepts what casting accepts.

Two exceptions are documented. Text that stands for another type (a date, a UUID, base64) is only ``string``
in the contract, as Lightbus 1.x has it, so that the contract also accepts other text, which casting then
refuses. And a class may refuse values with code of its own, which no contract can express.
"""

from __future__ import annotations

import dataclasses
import enum
import json
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any, Literal, NamedTuple, TypedDict
from uuid import UUID

import attrs
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightbus import values
from lightbus.contracts.validator import Validator, compile
from lightbus.contracts.writing import SchemaWriter
from lightbus.exceptions import ValidationError


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Size(enum.Enum):
    SMALL = 1
    LARGE = 2


@dataclasses.dataclass(frozen=True)
class Item:
    sku: str
    qty: int = 1


class Point(NamedTuple):
    x: float
    y: float = 0.0


@attrs.frozen
class Box:
    width: int
    label: str | None = None


class Circle(msgspec.Struct, frozen=True):
    radius: float
    name: str = ""


class Address(TypedDict, total=False):
    street: str


@dataclasses.dataclass
class Node:
    value: int
    children: list[Node] = dataclasses.field(default_factory=list)


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
INTS = st.integers(-(2**63), 2**63 - 1)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
ZONES = st.none() | st.integers(-1439, 1439).map(lambda m: timezone(timedelta(minutes=m)))
NODES: st.SearchStrategy[Node] = st.recursive(
    st.builds(Node, INTS), lambda inner: st.builds(Node, INTS, st.lists(inner, max_size=2)), max_leaves=4
)

HASHABLE: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (int, INTS),
    (str, TEXT),
    (UUID, st.uuids()),
    (Colour, st.sampled_from(Colour)),
    (Size, st.sampled_from(Size)),
    (date, st.dates()),
]
LEAVES: list[tuple[Any, st.SearchStrategy[Any]]] = [
    *HASHABLE,
    (bool, st.booleans()),
    (float, FLOATS),
    (None, st.none()),
    (Decimal, st.decimals(allow_nan=False, allow_infinity=False, places=3)),
    (Decimal, st.decimals(allow_nan=False, allow_infinity=False)),
    (datetime, st.datetimes(timezones=ZONES)),
    (time, st.times()),
    (timedelta, st.timedeltas(timedelta(days=-100_000), timedelta(days=100_000))),
    (bytes, st.binary(max_size=8)),
    (complex, st.complex_numbers(allow_nan=False, allow_infinity=False)),
    (Literal["a", 1, None], st.sampled_from(["a", 1, None])),
    (Item, st.builds(Item, TEXT, INTS)),
    (Point, st.builds(Point, FLOATS, FLOATS)),
    (Box, st.builds(Box, INTS, st.none() | TEXT)),
    (Circle, st.builds(Circle, FLOATS, TEXT)),
    (Address, st.fixed_dictionaries({}, optional={"street": TEXT})),
    (Node, NODES),
]

Hinted = tuple[Any, st.SearchStrategy[Any]]


def _hint(of: Any, *arguments: Any) -> Any:
    return of[arguments if len(arguments) != 1 else arguments[0]]


def _containers(inner: st.SearchStrategy[Hinted]) -> st.SearchStrategy[Hinted]:
    keys = st.sampled_from(HASHABLE)
    return st.one_of(
        inner.map(lambda h: (_hint(list, h[0]), st.lists(h[1], max_size=3))),
        inner.map(lambda h: (h[0] | None if h[0] else None, h[1] | st.none())),
        inner.map(lambda h: (_hint(tuple, h[0], ...), st.lists(h[1], max_size=3).map(tuple))),
        keys.map(lambda h: (_hint(set, h[0]), st.sets(h[1], max_size=3))),
        st.tuples(inner, inner).map(
            lambda hs: (_hint(tuple, hs[0][0], hs[1][0]), st.tuples(hs[0][1], hs[1][1]))
        ),
        st.tuples(keys, inner).map(
            lambda hs: (_hint(dict, hs[0][0], hs[1][0]), st.dictionaries(hs[0][1], hs[1][1], max_size=3))
        ),
    )


HINTS: st.SearchStrategy[Hinted] = st.recursive(st.sampled_from(LEAVES), _containers, max_leaves=4)
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.sampled_from([0.0, 1.0, -1.5, "", "a", "red", "1", "1.5"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["sku", "qty", "x", "y", "1", "value", "children", "red"]), inner, max_size=3
        )
    ),
    max_leaves=5,
)

#: Hints without text that stands for another type: here contract and casting must agree on every value.
STRICT: list[Any] = [
    int, str, bool, float, None, Colour, Size, Literal["a", 1, None], Item, Point, Box, Circle, Address, Node,
    list[int], tuple[int, ...], tuple[int, str], dict[str, Item], dict[int, bool], dict[Colour, float],
    list[Node], int | None, int | str, Item | Point | None, list[int | list[str]], float | bool,
    Decimal | None,
]  # fmt: skip


def _validator(hint: Any) -> Validator:
    writer = SchemaWriter()
    return compile(writer.finish(writer.schema(hint)))


def _accepts(check: Any) -> bool:
    try:
        check()
    except ValidationError:
        return False
    return True


@settings(max_examples=400, deadline=None)
@given(HINTS.flatmap(lambda h: st.tuples(st.just(h[0]), h[1])))
def test_what_is_sent_comes_back_and_fits_the_contract(hinted: tuple[Any, Any]) -> None:
    hint, value = hinted
    sent = json.loads(msgspec.json.encode(values.dump(value)))
    assert values.cast(sent, hint) == value
    _validator(hint).validate(sent)


@pytest.mark.parametrize("hint", STRICT, ids=str)
@settings(max_examples=60, deadline=None)
@given(sent=JSON)
def test_the_contract_accepts_what_casting_accepts(hint: Any, sent: Any) -> None:
    fits = _accepts(lambda: _validator(hint).validate(sent))
    assert _accepts(lambda: values.cast(sent, hint)) is fits


@settings(max_examples=100, deadline=None)
@given(HINTS.flatmap(lambda h: st.tuples(st.just(h[0]), JSON)))
def test_casting_accepts_nothing_that_the_contract_refuses(hinted: tuple[Any, Any]) -> None:
    hint, sent = hinted
    if _accepts(lambda: values.cast(sent, hint)):
        _validator(hint).validate(sent)
