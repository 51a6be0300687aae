"""The contract that an API's owner publishes is made from its type hints."""

from __future__ import annotations

import enum
import json
from collections.abc import Awaitable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, NewType, NotRequired, TypedDict
from uuid import UUID

import annotated_types as at
import attrs
import jsonschema
import msgspec
import pydantic
import pytest

from lightbus import Api, Event, Parameter
from lightbus.contracts.contract import contract_of
from lightbus.contracts.writing import SchemaWriter

CAPTURE = Path(__file__).parent.parent / "wire" / "lightbus-1.3-commands.json"


@dataclass
class Item:
    sku: str
    qty: int = 1


class Point(NamedTuple):
    x: int
    y: int = 0


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Right(enum.Flag):
    READ = 1


@dataclass
class Node:
    children: list[Node] = field(default_factory=list)


class Address(TypedDict):
    street: str
    city: NotRequired[str]


@attrs.define
class Box:
    size: int


class Circle(msgspec.Struct, tag="circle"):
    radius: float


class Street(pydantic.BaseModel):
    name: str


class User(pydantic.BaseModel):
    street: Street


class Money:
    def __to_bus__(self) -> dict[str, int]:
        return {}


class AuthApi(Api):
    class Meta:
        name = "auth"
        auto_register = False

    user_registered = Event(
        [Parameter("username", str), Parameter("email", str), Parameter("is_admin", bool, False)]
    )
    untyped = Event(["a", "b"])

    def check_password(self, username: str, password: str) -> bool:
        return True

    def boom(self, x: int):  # type: ignore[no-untyped-def]
        raise ValueError

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
        return {}

    def untyped_rpc(self, a, b=2, **kw):  # type: ignore[no-untyped-def]
        return a


def test_the_contract_is_the_one_that_lightbus_1_publishes() -> None:
    captured = json.loads(CAPTURE.read_text())["schema"]["schema:auth"]
    assert json.loads(json.dumps(contract_of(AuthApi.__lightbus__))) == captured


@pytest.mark.parametrize(
    ("hint", "schema"),
    [
        (Any, {}),
        (None, {"type": "null"}),
        (float, {"type": "number"}),
        (int | None, {"anyOf": [{"type": "integer"}, {"type": "null"}]}),
        (Literal["a", "b"], {"type": "string", "enum": ["a", "b"]}),
        (Literal["a", 1], {"enum": ["a", 1]}),
        (NewType("Id", int), {"type": "integer"}),
        (list, {"type": "array"}),
        (set[int], {"type": "array", "items": {"type": "integer"}}),
        (tuple[int, ...], {"type": "array", "items": {"type": "integer"}}),
        (
            tuple[int, str],
            {
                "type": "array",
                "items": [{"type": "integer"}, {"type": "string"}],
                "minItems": 2,
                "maxItems": 2,
            },
        ),
        (dict, {"type": "object"}),
        (
            dict[int, str],
            {
                "type": "object",
                "additionalProperties": {"type": "string"},
                "propertyNames": {"pattern": r"^-?\d+$"},
            },
        ),
        (timedelta, {"type": "string", "format": "duration"}),
        (complex, {"type": "string"}),
        (Right, {"type": "integer"}),
        (Money, {"type": "object", "additionalProperties": {"type": "integer"}}),
        (Annotated[int, at.Ge(1), at.Lt(9)], {"type": "integer", "minimum": 1, "exclusiveMaximum": 9}),
        (Annotated[str, at.Len(1, 5)], {"type": "string", "minLength": 1, "maxLength": 5}),
        (Annotated[str, msgspec.Meta(pattern="^a")], {"type": "string", "pattern": "^a"}),
        (
            Annotated[list[int], at.MinLen(1)],
            {"type": "array", "items": {"type": "integer"}, "minItems": 1},
        ),
        (
            Address,
            {
                "type": "object",
                "title": "Address",
                "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
                "required": ["street"],
                "additionalProperties": False,
            },
        ),
        (
            Box,
            {
                "type": "object",
                "title": "Box",
                "properties": {"size": {"type": "integer"}},
                "required": ["size"],
                "additionalProperties": False,
            },
        ),
        (
            Circle,
            {
                "type": "object",
                "title": "Circle",
                "properties": {"type": {"type": "string", "enum": ["circle"]}, "radius": {"type": "number"}},
                "required": ["type", "radius"],
                "additionalProperties": False,
            },
        ),
    ],
)
def test_a_hint_becomes_a_schema(hint: Any, schema: dict[str, Any]) -> None:
    made = SchemaWriter().schema(hint)
    assert made == schema
    jsonschema.Draft7Validator.check_schema(made)


def test_a_class_that_contains_itself_is_written_once() -> None:
    writer = SchemaWriter()
    complete = writer.finish(writer.schema(Node))
    assert complete["$ref"] == "#/definitions/Node"
    children = complete["definitions"]["Node"]["properties"]["children"]
    assert children == {"type": "array", "items": {"$ref": "#/definitions/Node"}}
    jsonschema.Draft7Validator(complete).validate({"children": [{"children": []}]})
    assert not jsonschema.Draft7Validator(complete).is_valid({"children": [{"x": 1}]})


def test_a_pydantic_model_brings_its_own_schema() -> None:
    writer = SchemaWriter()
    complete = writer.finish(writer.schema(User))
    assert complete["properties"]["street"] == {"$ref": "#/definitions/Street"}
    assert complete["definitions"]["Street"]["required"] == ["name"]


def test_a_default_that_cannot_be_sent_is_left_out() -> None:
    assert SchemaWriter().schema(int, object()) == {"type": "integer"}


def _api(**members: Any) -> Any:
    meta = type("Meta", (), {"name": "x", "auto_register": False})
    cls: Any = type("XApi", (Api,), {"Meta": meta, **members})
    return cls.__lightbus__


def test_an_awaitable_result_is_described_by_what_comes_of_it() -> None:
    def later(self: Any) -> Awaitable[int]:
        raise NotImplementedError

    assert contract_of(_api(later=later))["rpcs"]["later"]["response"]["type"] == "integer"


def test_further_arguments_are_described_where_they_have_a_hint() -> None:
    def count(self: Any, **words: int) -> None:
        pass

    parameters = contract_of(_api(count=count))["rpcs"]["count"]["parameters"]
    assert parameters["additionalProperties"] == {"type": "integer"}


def test_a_hint_that_is_not_known_takes_anything_and_is_told_once_with_its_place(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def connect(self: Any, socket: memoryview) -> memoryview:
        raise NotImplementedError

    api = _api(connect=connect, seen=Event([Parameter("who", memoryview)]))
    contract = contract_of(api)
    assert contract["rpcs"]["connect"]["parameters"]["properties"] == {"socket": {}}
    assert contract["events"]["seen"]["parameters"]["properties"] == {"who": {}}
    assert contract["rpcs"]["connect"]["response"].keys() == {"$schema", "title"}
    contract_of(api)
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 3
    for line, place in zip(
        told, ("x.seen: parameter who", "x.connect(): what it returns", "x.connect(): parameter socket"),
        strict=True,
    ):  # fmt: skip
        assert "test_contract" in line
        assert f"{place}: the type hint memoryview can not be checked" in line
        assert "use a dataclass" in line


class Crate:
    """A class with annotations alone."""

    weight: float
    label: str = "none"
    lid: Crate = None  # type: ignore[assignment]
    _secret: int = 1


def test_a_class_with_annotations_alone_is_published_as_an_object_and_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def pack(self: Any, crate: Crate) -> None:
        raise NotImplementedError

    parameters = contract_of(_api(pack=pack))["rpcs"]["pack"]["parameters"]
    assert parameters["properties"]["crate"] == {"$ref": "#/definitions/Crate"}
    crate = parameters["definitions"]["Crate"]
    assert crate["required"] == ["weight"]
    assert crate["properties"]["label"] == {"type": "string", "default": "none"}
    assert crate["properties"].keys() == {"weight", "label", "lid"}
    assert "parameter crate: the type hint Crate is a class without a way to make it" in caplog.text
