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


def test_the_contract_is_the_one_that_lightbus_1_publishes_and_notes_that_it_does_not_read() -> None:
    captured = json.loads(CAPTURE.read_text())["schema"]["schema:auth"]
    made = json.loads(json.dumps(contract_of(AuthApi.__lightbus__)))
    echoed = made["rpcs"]["echo"]["parameters"]["properties"]
    assert echoed["uid"].pop("format") == "uuid"
    assert echoed["raw"].pop("contentEncoding") == "base64"
    assert (echoed["colour"].pop("title"), echoed["colour"].pop("x-enum-varnames")) == (
        "Colour",
        ["RED", "BLUE"],
    )
    assert made == captured


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
        (UUID, {"type": "string", "format": "uuid"}),
        (bytes, {"type": "string", "contentEncoding": "base64"}),
        (Annotated[bytes, at.MaxLen(5)], {"type": "string", "contentEncoding": "base64"}),
        (
            Colour,
            {
                "type": "string",
                "enum": ["red", "blue"],
                "title": "Colour",
                "x-enum-varnames": ["RED", "BLUE"],
            },
        ),
        (Literal[Colour.RED], {"type": "string", "enum": ["red"]}),
        (
            dict[Colour, int],
            {
                "type": "object",
                "additionalProperties": {"type": "integer"},
                "propertyNames": {
                    "enum": ["red", "blue"],
                    "title": "Colour",
                    "x-enum-varnames": ["RED", "BLUE"],
                },
            },
        ),
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
    assert children == {"type": "array", "items": {"$ref": "#/definitions/Node"}, "default": []}
    jsonschema.Draft7Validator(complete).validate({"children": [{"children": []}]})
    assert not jsonschema.Draft7Validator(complete).is_valid({"children": [{"x": 1}]})


def test_a_pydantic_model_brings_its_own_schema() -> None:
    writer = SchemaWriter()
    complete = writer.finish(writer.schema(User))
    assert complete["properties"]["street"] == {"$ref": "#/definitions/Street"}
    assert complete["definitions"]["Street"]["required"] == ["name"]


def test_a_default_that_cannot_be_sent_is_left_out() -> None:
    assert SchemaWriter().schema(int, object()) == {"type": "integer"}


@dataclass
class Basket:
    lines: list[int] = field(default_factory=list)
    notes: dict[str, str] = field(default_factory=dict)
    number: int = field(default_factory=lambda: 7)


@attrs.define
class AttrsBasket:
    lines: list[int] = attrs.Factory(list)
    number: int = attrs.Factory(lambda: 7)


class StructBasket(msgspec.Struct):
    lines: list[int] = []
    number: int = msgspec.field(default_factory=lambda: 7)


@pytest.mark.parametrize("cls", [Basket, AttrsBasket, StructBasket])
def test_the_default_of_a_factory_is_noted_where_it_is_always_the_same(cls: Any) -> None:
    properties = SchemaWriter().schema(cls)["properties"]
    assert properties["lines"]["default"] == []
    assert properties.get("notes", {"default": {}})["default"] == {}
    assert "default" not in properties["number"]  # Its code is not run.


class LibraryApi(Api):
    """Books and who has them.

    Two shelves.
    """

    lent = Event([Parameter("isbn", str), Parameter("reader", str)])
    """A book went out.

    Args:
        isbn: The book's number.
    """
    lost = Event(["isbn"])

    class Meta:
        name = "library"
        auto_register = False

    def lend(self, isbn: str, days: int = 14) -> Item:
        """Lend a book.

        Args:
            isbn: The book's number,
                with dashes.
            days: For how long.

        Returns:
            What was lent.

        Raises:
            LookupError: There is none.
        """
        raise LookupError

    def paint(self) -> Colour:
        return Colour.RED


def test_what_docstrings_say_is_in_the_contract() -> None:
    contract = contract_of(LibraryApi.__lightbus__)
    assert contract["description"] == "Books and who has them.\n\nTwo shelves."
    lend = contract["rpcs"]["lend"]
    assert lend["parameters"]["description"] == "Lend a book."
    assert lend["parameters"]["properties"]["isbn"] == {
        "type": "string",
        "description": "The book's number, with dashes.",
    }
    assert lend["parameters"]["properties"]["days"]["description"] == "For how long."
    assert lend["response"]["description"] == "What was lent."
    lent = contract["events"]["lent"]["parameters"]
    assert lent["description"] == "A book went out."
    assert lent["properties"]["isbn"]["description"] == "The book's number."
    assert "description" not in lent["properties"]["reader"]
    assert "description" not in contract["events"]["lost"]["parameters"]


class BranchApi(LibraryApi):
    class Meta:
        name = "branch"
        auto_register = False


def test_an_inherited_event_keeps_its_description_and_an_api_has_only_its_own() -> None:
    contract = contract_of(BranchApi.__lightbus__)
    assert contract["events"]["lent"]["parameters"]["description"] == "A book went out."
    assert "description" not in contract


def test_the_class_of_a_result_is_named_beside_the_title_of_the_message() -> None:
    rpcs = contract_of(LibraryApi.__lightbus__)["rpcs"]
    assert rpcs["lend"]["response"]["title"] == "RPC library.lend() response"
    assert rpcs["lend"]["response"]["x-class"] == "Item"
    assert rpcs["paint"]["response"]["x-class"] == "Colour"
    assert "x-class" not in contract_of(AuthApi.__lightbus__)["rpcs"]["check_password"]["response"]


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
