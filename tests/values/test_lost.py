"""What would arrive as something else is refused when it is sent, or when its API is defined."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any

import attrs
import msgspec
import pydantic
import pydantic.dataclasses
import pytest

from lightbus import Api, Event, Parameter, values
from lightbus.contracts.contract import contract_of
from lightbus.exceptions import MisconfiguredApiOptions, ValidationError


class Login(pydantic.BaseModel):
    user: str
    password: pydantic.SecretStr | None = None


class Logins(pydantic.BaseModel):
    all: list[dict[str, Login]]


class Key(pydantic.BaseModel):
    key: pydantic.SecretBytes


class Token(pydantic.BaseModel):
    token: pydantic.Secret[int]


class Anything(pydantic.BaseModel):
    what: Any = None


class Excluded(pydantic.BaseModel):
    cached: int = pydantic.Field(0, exclude=True)


class ByTwoNames(pydantic.BaseModel):
    born: int = pydantic.Field(0, serialization_alias="bornOn")


class ReadByAnother(pydantic.BaseModel):
    born: int = pydantic.Field(0, validation_alias="bornOn")


class Masked(pydantic.BaseModel):
    password: str

    @pydantic.field_serializer("password")
    def hide(self, value: str) -> str:
        return "***"


class MaskedByNote(pydantic.BaseModel):
    password: Annotated[str, pydantic.PlainSerializer(lambda value: "***")]


class MaskedWhole(pydantic.BaseModel):
    password: str = ""

    @pydantic.model_serializer
    def hide(self) -> dict[str, str]:
        return {}


class Unreadable(pydantic.BaseModel):
    size: int

    @pydantic.field_serializer("size")
    def with_unit(self, value: int) -> str:
        return f"{value} kg"


class Holder(pydantic.BaseModel):
    inner: Masked


@dataclasses.dataclass
class Order:
    lines: list[int]
    total: int = dataclasses.field(init=False, default=0)


@attrs.define
class Parcel:
    weight: int
    _label: str = "x"
    state: str = attrs.field(init=False, default="new")


def changed(thing: Any, **fields: Any) -> Any:
    for name, value in fields.items():
        setattr(thing, name, value)
    return thing


LOST: dict[str, tuple[Any, str]] = {
    "a secret": (
        Login(user="ada", password=pydantic.SecretStr("x")),
        "login.password: is a SecretStr, which",
    ),
    "no secret": (Login(user="ada"), "login.password: is a SecretStr, which would arrive as asterisks"),
    "a deep secret": (Logins(all=[{"a": Login(user="ada")}]), "login.all.password: is a SecretStr"),
    "secret bytes": (Key(key=pydantic.SecretBytes(b"x")), "login.key: is a SecretBytes"),
    "a secret of a type": (Token(token=pydantic.Secret(1)), "login.token: is a Secret"),
    "a secret anywhere": (
        Anything(what=[{"a": Key.model_construct(key=pydantic.SecretBytes(b"x"))}]),
        "login.what[0].a.key: would arrive as asterisks",
    ),
    "excluded": (Excluded(cached=1), "login.cached: is left out by Field(exclude=True)"),
    "written by another name": (
        ByTwoNames(born=1),
        "login.born: is sent as 'bornOn' and read by another name",
    ),
    "read by another name": (
        ReadByAnother.model_validate({"bornOn": 1}),
        "login.born: is sent as 'born' and read by another name",
    ),
    "a serializer": (Masked(password="x"), "login.password: would arrive as another value"),
    "a serializer below": (
        Holder(inner=Masked(password="x")),
        "login.inner.password: would arrive as another",
    ),
    "a note": (MaskedByNote(password="x"), "login.password: would arrive as another value"),
    "a serializer of all": (MaskedWhole(password="x"), "login.password: would arrive as another value"),
    "what can't be read": (
        Unreadable(size=1),
        "login.size: is made by a serializer into what Unreadable does",
    ),
    "no argument": (
        changed(Order([1]), total=1),
        "login.total: would arrive as another value: it is init=False",
    ),
    "no argument of attrs": (
        changed(Parcel(1, "y"), state="sent"),
        "login.state: would arrive as another value",
    ),
}


@pytest.mark.parametrize("case", LOST)
def test_what_would_arrive_as_something_else_is_not_sent(case: str) -> None:
    value, told = LOST[case]
    with pytest.raises(ValidationError) as caught:
        values.dump({"login": value})
    assert told in str(caught.value)


class Revealed(pydantic.BaseModel):
    password: pydantic.SecretStr
    seen: int = pydantic.Field(1, repr=False)

    @pydantic.field_serializer("password", when_used="json")
    def reveal(self, value: pydantic.SecretStr) -> str:
        return value.get_secret_value()


class Named(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(populate_by_name=True)
    one: int = pydantic.Field(alias="first")
    two: int = pydantic.Field(
        validation_alias=pydantic.AliasChoices("second", "zwei"), serialization_alias="zwei"
    )
    three: int = pydantic.Field(0, validation_alias="third")


class Computed(pydantic.BaseModel):
    born: int
    what: Any = None

    @pydantic.computed_field
    def age(self) -> int:
        return 2026 - self.born


class Tree(pydantic.BaseModel):
    children: list[Tree] = []


class Numbers(pydantic.RootModel[list[int]]):
    pass


class Camel(msgspec.Struct, rename="camel", omit_defaults=True):
    line_width: int = 1


@dataclasses.dataclass
class Sum:
    lines: list[int]
    total: int = dataclasses.field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.total = sum(self.lines)


@pydantic.dataclasses.dataclass
class Called:
    name: str = pydantic.Field(default="", alias="called")


ARRIVES: list[Any] = [
    Revealed(password=pydantic.SecretStr("x"), seen=2),
    Named.model_validate({"first": 1, "zwei": 2, "third": 3}),
    Computed(born=2000, what=[{"a": 1}]),
    Tree(children=[Tree()]),
    Numbers([1, 2]),
    Camel(3),
    Sum([1, 2]),
    Called(called="Ada"),
    Parcel(1, "y"),
]


@pytest.mark.parametrize("value", ARRIVES, ids=lambda value: type(value).__name__)
def test_what_is_sent_is_what_arrives(value: Any) -> None:
    assert values.cast(values.dump(value), type(value)) == value


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        (Excluded(cached=1), {}),
        (Masked(password="x"), {"password": "***"}),
        (ByTwoNames(born=1), {"bornOn": 1}),
        (changed(Order([1]), total=1), {"lines": [1]}),
    ],
)
def test_an_answer_may_leave_out_what_its_class_says(value: Any, sent: Any) -> None:
    assert values.dump_answer(value) == sent
    with pytest.raises(ValidationError):
        values.dump(value)


def test_an_answer_has_no_asterisks() -> None:
    with pytest.raises(ValidationError, match=r"^password: is a SecretStr, which would arrive as asterisks"):
        values.dump_answer(Login(user="ada"))


def test_what_pydantic_can_not_dump_is_told() -> None:
    class Picture(pydantic.BaseModel):
        data: bytes

    with pytest.raises(ValidationError, match=r"^x: Picture can't be sent: 'utf-8' codec can't decode"):
        values.dump({"x": Picture(data=b"\xff")})


def _contract(**members: Any) -> dict[str, Any]:
    meta = type("Meta", (), {"name": "auth", "auto_register": False})
    cls: Any = type("AuthApi", (Api,), {"Meta": meta, **members})
    return contract_of(cls.__lightbus__)


@pytest.mark.parametrize(
    ("cls", "told"),
    [
        (Login, "Login.password is a SecretStr"),
        (Logins, "Logins.all.password is a SecretStr"),
        (list[Excluded], "Excluded.cached is left out by Field(exclude=True)"),
        (ByTwoNames, "ByTwoNames.born is sent as 'bornOn'"),
    ],
)
def test_an_event_that_could_not_be_fired_as_it_is_is_refused_when_defined(cls: Any, told: str) -> None:
    with pytest.raises(MisconfiguredApiOptions) as caught:
        _contract(logged_in=Event(parameters=(Parameter("login", cls),)))
    assert f"auth.logged_in: parameter login: {told}" in str(caught.value)


def test_a_procedure_that_would_answer_with_asterisks_is_refused_when_defined() -> None:
    def find(self: Any) -> Login | None:
        raise NotImplementedError

    with pytest.raises(
        MisconfiguredApiOptions, match=r"auth.find\(\): what it returns: Login.password is a Se"
    ):
        _contract(find=find)


def test_a_procedure_may_take_a_secret_from_who_writes_it_as_text() -> None:
    def check(self: Any, login: Login) -> bool:
        raise NotImplementedError

    _contract(check=check)
    login = values.cast({"user": "ada", "password": "x"}, Login)
    assert login.password.get_secret_value() == "x"
