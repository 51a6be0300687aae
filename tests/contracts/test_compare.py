"""Which changes of a contract break whom.

C: callers (for an event: listeners) that stay with the old contract while its owner moves on.
O: an owner that stays with the old contract while its peers move on.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID

import annotated_types as at
import pytest

from lightbus import Api, Event, Parameter
from lightbus.contracts.compare import Difference, compare, compare_all
from lightbus.contracts.contract import contract_of
from lightbus.contracts.differences import Differ

C, O, CO, NOBODY = "C", "O", "CO", ""  # noqa: E741
EMPTY = Parameter("x").default
EVEN, EVEN_TWICE = Annotated[int, at.MultipleOf(2)], Annotated[int, at.MultipleOf(4)]


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class MoreColour(enum.Enum):
    RED = "red"
    BLUE = "blue"
    GREEN = "green"


def _item(**hints: Any) -> Any:
    """A dataclass named Item; a pair gives a hint and a default."""
    fields: dict[str, Any] = {"__annotations__": {}}
    for name, hint in hints.items():
        fields["__annotations__"][name] = hint[0] if isinstance(hint, tuple) else hint
        if isinstance(hint, tuple):
            fields[name] = hint[1]
    return dataclass(type("Item", (), fields))


@dataclass
class Node:
    value: int
    children: list[Node] = field(default_factory=list)


def _tree(hint: Any) -> Any:
    cls = type("Node", (), {"__annotations__": {"value": hint, "children": "list[Node]"}, "children": None})
    made: Any = dataclass(cls)
    made.__annotations__["children"] = list[made]
    return made


#: Old hint, new hint, who breaks where it is a parameter, a result, an event's parameter; words for it.
HINTS: list[tuple[str, Any, Any, str, str, str, str]] = [
    ("the same", int, int, NOBODY, NOBODY, NOBODY, ""),
    ("another type", int, str, CO, CO, CO, "int becomes str"),
    ("int to float", int, float, O, C, C, "int becomes float"),
    ("float to int", float, int, C, O, O, "float becomes int"),
    ("may be null now", str, str | None, O, C, C, "may also be None now"),
    ("may no longer be null", str | None, str, C, O, O, "may no longer be None"),
    ("further type in a union", int | None, int | str | None, O, C, C, "may also be str now"),
    ("unions in another order", int | str, str | int, NOBODY, NOBODY, NOBODY, ""),
    ("float beside int", int | str, int | float | str, O, C, C, "may be a float now"),
    ("hint added", Any, int, C, O, O, "may no longer be anything"),
    ("hint removed", int, Any, O, C, C, "may be anything now"),
    ("enum grows", Colour, MoreColour, O, C, C, "also allows 'green' now"),
    ("enum shrinks", MoreColour, Colour, C, O, O, "no longer allows 'green'"),
    ("enum to str", Colour, str, O, C, C, "no longer limited to 'red', 'blue'"),
    ("str to literal", str, Literal["red"], C, O, O, "only allows 'red' now"),
    ("enum to the same literal", Colour, Literal["red", "blue"], NOBODY, NOBODY, NOBODY, ""),
    ("text that is a date now", str, date, C, O, O, "str becomes date"),
    ("date to text", date, str, O, C, C, "date becomes str"),
    ("date to datetime", date, datetime, CO, CO, CO, "format changes from date to date-time"),
    ("Decimal to text", Decimal, str, O, C, C, "pattern"),
    ("list items widen", list[int], list[float], O, C, C, "int becomes float"),
    ("list to value", list[int], int, CO, CO, CO, "list[int] becomes int"),
    ("list to tuple", list[int], tuple[int, int], C, O, O, "minItems"),
    ("tuple gets longer", tuple[int, int], tuple[int, int, int], CO, CO, CO, "maxItems changes from 2 to 3"),
    ("dict values widen", dict[str, int], dict[str, int | None], O, C, C, "may also be None now"),
    ("minimum rises", Annotated[int, at.Ge(1)], Annotated[int, at.Ge(5)], C, O, O, "from 1 to 5"),
    ("minimum falls", Annotated[int, at.Ge(5)], Annotated[int, at.Ge(1)], O, C, C, "from 5 to 1"),
    ("maximum added", int, Annotated[int, at.Le(9)], C, O, O, "new rule maximum 9"),
    ("length limit removed", Annotated[str, at.MaxLen(9)], str, O, C, C, "no longer has the rule maxLength"),
    ("multiple of less", EVEN_TWICE, EVEN, O, C, C, "multipleOf changes from 4 to 2"),
    ("optional field added", _item(a=int), _item(a=int, b=(int, 1)), O, C, C, "is new, and optional"),
    ("required field added", _item(a=int), _item(a=int, b=int), CO, CO, CO, "is new, and required"),
    ("optional field removed", _item(a=int, b=(int, 1)), _item(a=int), C, O, O, "is gone"),
    ("required field removed", _item(a=int, b=int), _item(a=int), CO, CO, CO, "is gone"),
    ("field renamed", _item(a=int), _item(b=int), CO, CO, CO, "is gone"),
    ("field becomes optional", _item(a=int), _item(a=(int, 1)), O, C, C, "is optional now"),
    ("field becomes required", _item(a=(int, 1)), _item(a=int), C, O, O, "is required now"),
    ("field's default changes", _item(a=(int, 1)), _item(a=(int, 2)), NOBODY, NOBODY, NOBODY, "from 1 to 2"),
    ("field widens", _item(a=int), _item(a=int | None), O, C, C, "may also be None now"),
    ("class to dict", _item(a=int), dict[str, int], O, C, C, "is gone"),
    ("deep in a recursive type", Node, _tree(float), O, C, C, "int becomes float"),
    ("recursive type unchanged", Node, Node, NOBODY, NOBODY, NOBODY, ""),
]  # fmt: skip


UUID_TEXT = {"type": "string", "format": "uuid"}

#: Two schemas that mean the same, and in one of them what is only noted.
NOTED: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"type": "string"}, UUID_TEXT),
    ({"type": "string"}, {"type": "string", "format": "email"}),
    (UUID_TEXT, {"type": "string", "format": "email"}),
    ({"type": "string"}, {"type": "string", "contentEncoding": "base64", "contentMediaType": "image/png"}),
    ({"type": "string"}, {"type": "string", "title": "Name", "description": "A name.", "x-unit": "none"}),
    ({}, {"title": "Anything", "description": "Whatever it is.", "x-class": "Any"}),
    ({"type": "integer"}, {"type": "integer", "readOnly": True, "writeOnly": False, "x-": 1}),
    (
        {"anyOf": [{"type": "string"}, {"type": "null"}]},
        {"anyOf": [UUID_TEXT, {"type": "null", "x-a": 1}], "description": "An id.", "x-b": 2},
    ),
    (
        {"anyOf": [{"type": "string", "enum": ["a"]}, {"type": "string", "pattern": "^b"}]},
        {"anyOf": [{"type": "string", "pattern": "^b"}, {"type": "string", "enum": ["a"], "title": "A"}]},
    ),
    (
        {"$ref": "#/definitions/A", "definitions": {"A": {"type": "integer"}}},
        {"$ref": "#/definitions/B", "definitions": {"B": {"type": "integer", "title": "B"}}, "x-class": "B"},
    ),
]


@pytest.mark.parametrize(("bare", "noted"), NOTED, ids=[str(noted)[:60] for _, noted in NOTED])
def test_what_is_only_noted_makes_no_difference(bare: dict[str, Any], noted: dict[str, Any]) -> None:
    assert Differ(bare, noted).changes("x") == Differ(noted, bare).changes("x") == []


def test_a_format_that_makes_another_type_still_counts() -> None:
    (change,) = Differ(UUID_TEXT, {"type": "string", "format": "date"}).changes("x")
    assert (change.what, change.narrows) == ("str becomes date", True)
    (change,) = Differ({"type": "string", "format": "date"}, UUID_TEXT).changes("x")
    assert (change.what, change.widens) == ("date becomes str", True)


def test_a_docstring_and_the_names_of_an_enum_make_no_difference() -> None:
    def paint(self: Any, x: Literal["red", "blue"], id: str) -> Literal["red", "blue"]:
        raise NotImplementedError

    def documented(self: Any, x: Colour, id: UUID) -> Colour:
        """Paint it.

        Args:
            x: The colour.
        """
        raise NotImplementedError

    bare, noted = _contract(paint=paint), _contract(paint=documented, __doc__="A shop.")
    assert noted["description"] == "A shop."
    assert compare(bare, noted) == compare(noted, bare) == []


def _contract(**members: Any) -> dict[str, Any]:
    meta = type("Meta", (), {"name": "shop", "auto_register": False})
    cls: Any = type("ShopApi", (Api,), {"Meta": meta, **members})
    return contract_of(cls.__lightbus__)


def _procedure(parameter: Any = Any, result: Any = Any, default: Any = EMPTY) -> Callable[..., Any]:
    def sell(self: Any, x: Any) -> Any:
        raise NotImplementedError

    if default is not EMPTY:
        sell.__defaults__ = (default,)
    sell.__annotations__ = {"x": parameter, "return": result}
    return sell


def _list(item: Any) -> Any:
    return list[item]


def _broken(differences: list[Difference]) -> str:
    """Who breaks by any of the differences, in the letters of the table."""
    peers = any(d.callers or d.listeners for d in differences)
    assert peers == any(d.breaking for d in differences)
    return ("C" if peers else "") + ("O" if any(d.owner for d in differences) else "")


@pytest.mark.parametrize(
    ("old", "new", "as_parameter", "as_result", "in_event", "words"),
    [row[1:] for row in HINTS],
    ids=[row[0] for row in HINTS],
)
def test_a_changed_hint_breaks(
    old: Any, new: Any, as_parameter: str, as_result: str, in_event: str, words: str
) -> None:
    for before, after, verdict, path in (
        (_contract(sell=_procedure(old)), _contract(sell=_procedure(new)), as_parameter, "parameters.x"),
        (_contract(sell=_procedure(Any, old)), _contract(sell=_procedure(Any, new)), as_result, "response"),
        (
            _contract(sold=Event([Parameter("x", old)])),
            _contract(sold=Event([Parameter("x", new)])),
            in_event,
            "parameters.x",
        ),
    ):
        found = compare(before, after, "shop")
        assert _broken(found) == verdict
        assert any(words in d.what for d in found) if words else not found
        assert all(d.path.startswith(path) for d in found)
        assert all(not d.listeners for d in found if d.kind == "procedure")
        assert all(not d.callers for d in found if d.kind == "event")


def _rpc(**parameters: Any) -> dict[str, Any]:
    source = ", ".join(f"{n}={n}" if d is not ... else n for n, d in parameters.items() if n != "others")
    tail = ", **others" if "others" in parameters else ""
    space: dict[str, Any] = {n: d for n, d in parameters.items() if d is not ...}
    exec(f"def sell(self, {source}{tail}): pass", space)
    return _contract(sell=space["sell"])


def _event(*parameters: str | Parameter) -> dict[str, Any]:
    return _contract(sold=Event(parameters))


B = Parameter("b", int, 1)

#: Old contract, new contract, who breaks, and the words for it.
CONTRACTS: list[tuple[str, dict[str, Any], dict[str, Any], str, str]] = [
    ("optional parameter added", _rpc(a=...), _rpc(a=..., b=1), O, "b: is new, and optional"),
    ("required parameter added", _rpc(a=...), _rpc(a=..., b=...), CO, "b: is new, and required"),
    ("optional parameter removed", _rpc(a=..., b=1), _rpc(a=...), C, "b: is gone"),
    ("required parameter removed", _rpc(a=..., b=...), _rpc(a=...), CO, "b: is gone"),
    ("parameter renamed", _rpc(a=...), _rpc(b=...), CO, "a: is gone"),
    ("parameters in another order", _rpc(a=..., b=...), _rpc(b=..., a=...), NOBODY, ""),
    ("parameter becomes optional", _rpc(a=...), _rpc(a=None), O, "is optional now"),
    ("parameter becomes required", _rpc(a=None), _rpc(a=...), C, "is required now"),
    ("default changes", _rpc(a=1), _rpc(a=2), NOBODY, "its default changes from 1 to 2"),
    ("any further parameters", _rpc(a=...), _rpc(a=..., others=...), O, "further names are allowed now"),
    ("no further parameters", _rpc(a=..., others=...), _rpc(a=...), C, "no longer allowed"),
    ("procedure added", _contract(), _contract(sell=_procedure()), O, "is new"),
    ("procedure removed", _contract(sell=_procedure()), _contract(), C, "is gone"),
    (
        "procedure renamed",
        _contract(sell=_procedure(int)),
        _contract(vend=_procedure(int)),
        CO,
        "is gone, perhaps renamed to vend",
    ),
    ("event added", _contract(), _event("a"), NOBODY, "is new"),
    ("event removed", _event("a"), _contract(), C, "is gone"),
    ("event renamed", _event("a"), _contract(bought=Event(["a"])), C, "perhaps renamed to bought"),
    ("event's parameter added", _event("a"), _event("a", "b"), CO, "b: is new, and required"),
    ("event's optional parameter added", _event("a"), _event("a", B), C, "b: is new, and optional"),
    ("event's parameter removed", _event("a", "b"), _event("a"), CO, "b: is gone"),
    ("event's optional parameter removed", _event("a", B), _event("a"), CO, "b: is gone"),
    ("event's parameter renamed", _event("a"), _event("b"), CO, "a: is gone"),
    ("nothing", _event("a", B), _event("a", B), NOBODY, ""),
]


@pytest.mark.parametrize(
    ("old", "new", "verdict", "words"), [row[1:] for row in CONTRACTS], ids=[row[0] for row in CONTRACTS]
)
def test_a_changed_contract_breaks(old: Any, new: Any, verdict: str, words: str) -> None:
    found = compare(old, new, "shop")
    assert _broken(found) == verdict
    assert any(words in str(d) for d in found) if words else not found


def test_a_difference_is_a_sentence_with_its_place_and_its_verdict() -> None:
    old = _contract(sell=_procedure(_list(_item(a=int))))
    new = _contract(sell=_procedure(_list(_item(a=str))))
    (found,) = compare(old, new, "shop")
    assert str(found) == (
        "shop.sell() parameters.x[].a: int becomes str (breaks callers; an old owner fails new peers)"
    )
    (found,) = compare(_rpc(a=...), _rpc(a=..., b=1), "shop")
    assert str(found).endswith("parameters.b: is new, and optional (breaks nobody; deploy the owner first)")


def test_whole_sets_of_contracts_are_compared_by_api() -> None:
    one, other = _rpc(a=...), _event("a")
    found = compare_all({"gone": one, "same": one, "silent": other}, {"same": one, "new": one})
    assert [str(d) for d in found] == [
        "gone: is gone (breaks callers)",
        "new: is new (breaks nobody; deploy the owner first)",
        "silent: is gone (breaks listeners)",
    ]


def test_a_contract_compared_with_itself_has_no_differences() -> None:
    for _, old, new, _, _ in CONTRACTS:
        assert compare(old, old) == compare(new, new) == []
