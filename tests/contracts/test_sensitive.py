"""``Annotated[..., Sensitive]`` is in the contract, in all that is made of it, and changes nothing else."""

from __future__ import annotations

import json
import typing
from dataclasses import dataclass
from typing import Annotated, Any

import annotated_types as at
import pydantic
import pytest

from lightbus import Api, Event, Parameter, Sensitive, values
from lightbus.contracts.asyncapi import document
from lightbus.contracts.clients.module import module_of
from lightbus.contracts.compare import compare
from lightbus.contracts.contract import contract_of
from lightbus.contracts.files import check_contract
from lightbus.contracts.printing import show
from lightbus.contracts.validator import compile
from lightbus.contracts.writing import SchemaWriter
from lightbus.exceptions import MisconfiguredApiOptions, ValidationError

from .clients.making import made_of

Private = Annotated[str, Sensitive]
MARKED = {"type": "string", "x-sensitive": True}


@dataclass
class Person:
    name: str
    email: Private = ""
    friends: list[Person] | None = None


class Model(pydantic.BaseModel):
    email: Private
    others: list[Private] = []


class PeopleApi(Api):
    registered = Event([Parameter("who", Person), Parameter("pin", Annotated[int | None, Sensitive], None)])

    class Meta:
        name = "people"
        auto_register = False

    def find(
        self, email: Private = "x", *, by: dict[Private, int] | None = None
    ) -> Annotated[Person, Sensitive]:
        """Find somebody."""
        raise NotImplementedError


CONTRACT: dict[str, Any] = json.loads(json.dumps(contract_of(PeopleApi.__lightbus__)))


@pytest.mark.parametrize(
    ("hint", "schema"),
    [
        (Private, MARKED),
        (Annotated[str, Sensitive()], MARKED),
        (list[Private], {"type": "array", "items": MARKED}),
        (Annotated[str, Sensitive, at.MaxLen(5)], {**MARKED, "maxLength": 5}),
        (Annotated[Private, at.MaxLen(5)], {**MARKED, "maxLength": 5}),
        (Private | None, {"anyOf": [MARKED, {"type": "null"}]}),
        (
            Annotated[str | None, Sensitive],
            {"anyOf": [{"type": "string"}, {"type": "null"}], "x-sensitive": True},
        ),
        (
            dict[Annotated[int, Sensitive], Private],
            {
                "type": "object",
                "additionalProperties": MARKED,
                "propertyNames": {"pattern": r"^-?\d+$", "x-sensitive": True},
            },
        ),
        (Annotated[Any, Sensitive], {"x-sensitive": True}),
    ],
)
def test_the_mark_is_in_the_schema(hint: Any, schema: dict[str, Any]) -> None:
    assert SchemaWriter().schema(hint) == schema


def test_the_mark_is_in_classes_of_every_kind_and_in_those_that_contain_themselves() -> None:
    person = CONTRACT["events"]["registered"]["parameters"]["definitions"]["Person"]
    assert person["properties"]["email"] == {**MARKED, "default": ""}
    assert CONTRACT["rpcs"]["find"]["response"]["x-sensitive"] is True
    model = SchemaWriter().schema(Model)["properties"]
    assert model["email"]["x-sensitive"] is True and model["others"]["items"]["x-sensitive"] is True


def test_values_are_sent_checked_and_cast_as_without_it() -> None:
    check_contract("people", CONTRACT)
    sent = {"name": "Ann", "email": "a@b.c", "friends": None}
    assert values.cast(sent, Annotated[Person, Sensitive]) == Person("Ann", "a@b.c")
    with pytest.raises(ValidationError):
        values.cast(5, Private)
    with pytest.raises(ValidationError):
        values.cast("123456", Annotated[str, Sensitive, at.MaxLen(5)])
    validator = compile(CONTRACT["events"]["registered"]["parameters"], "it")
    validator.validate({"who": sent, "pin": None})
    with pytest.raises(ValidationError):
        validator.validate({"who": {**sent, "email": 5}, "pin": None})


def test_it_breaks_nobody() -> None:
    plain = json.loads(json.dumps(CONTRACT).replace('"x-sensitive": true', '"x-other": true'))
    assert compare(plain, CONTRACT) == compare(CONTRACT, plain) == []


def test_a_person_and_asyncapi_are_told_of_it() -> None:
    text = show("people", CONTRACT)
    assert "email: Annotated[str, Sensitive] = 'x'" in text and "-> Annotated[Person, Sensitive]" in text
    assert "pin: Annotated[int | None, Sensitive]" in text
    told = json.dumps(document({"people": CONTRACT}, "shop", "1"))
    assert told.count('"x-sensitive": true') == json.dumps(CONTRACT).count('"x-sensitive": true') > 5


@pytest.mark.parametrize("form", ["dataclass", "typeddict"])
def test_the_module_of_a_typed_client_has_it_and_makes_the_same_schema_again(form: Any) -> None:
    assert "Annotated[str, Sensitive]" in module_of({"people": CONTRACT}, form)
    with made_of({"people": CONTRACT}, form) as module:
        hints = typing.get_type_hints(module.PeopleApi_find.call, include_extras=True)
        assert SchemaWriter().schema(hints["return"])["x-sensitive"] is True
        (person,) = (cls for name, cls in vars(module).items() if name.endswith("Person"))
        assert SchemaWriter().schema(typing.get_type_hints(person, include_extras=True)["email"]) == MARKED


def test_the_mark_by_itself_is_no_type() -> None:
    with pytest.raises(MisconfiguredApiOptions, match=r"write Annotated\[str, Sensitive\]"):
        SchemaWriter().schema(Sensitive)
