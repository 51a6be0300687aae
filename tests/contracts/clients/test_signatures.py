"""How the signatures of two generated modules differ, in words."""

from __future__ import annotations

from typing import Any

from lightbus.contracts.clients.module import module_of
from lightbus.contracts.clients.signatures import differences, signatures_of

from .apis import contracts
from .test_module import INT, TEXT, api, procedure


def kind(*values: str, **more: Any) -> dict[str, Any]:
    return {"type": "string", "enum": list(values), **more}


def between(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    return differences(module_of(old), module_of(new))


def test_every_procedure_event_and_class_is_found() -> None:
    found = signatures_of(module_of(contracts()))
    assert found["auth.check_password"] == {"username": "str", "password": "str = ''", "->": "bool"}
    assert found["auth.user_registered"]["kind"] == "AuthKind = ..."
    assert found["shop.orders.import"]["customer"] == "str"
    assert found["AuthKind"] == {"USER": "'user'", "GUEST": "'guest'"}
    assert not [name for name in found if "listener" in name or "Api" in name]


def test_equal_modules_do_not_differ() -> None:
    assert between(contracts(), contracts()) == []


def test_each_change_is_one_line() -> None:
    old = api(
        rpcs={
            "find": procedure({"kind": kind("user"), "limit": INT, "old": TEXT}, TEXT, required=["limit"]),
            "gone": procedure(),
        },
        events={"seen": {"parameters": procedure({"x": INT})["parameters"]}},
    )
    new = api(
        rpcs={
            "find": procedure(
                {"kind": kind("user", "guest"), "limit": TEXT, "new": INT}, INT, required=["limit"]
            ),
            "added": procedure(),
        },
        events={"seen": {"parameters": procedure({"x": TEXT})["parameters"]}},
    )
    assert between(old, new) == [
        "x.added is new",
        "x.find: kind gained 'guest'",
        "x.find: limit: int becomes str",
        "x.find: old is gone",
        "x.find: its result: str becomes int",
        "x.find: new is new: int = ...",
        "x.gone is gone",
        "x.seen: x: int = ... becomes str = ...",
    ]


def test_an_enum_and_a_class_are_told_by_their_own_names() -> None:
    def contract(**more: Any) -> dict[str, Any]:
        colours = kind("red", *more.get("colours", ()), title="Colour")
        car = {"type": "object", "title": "Car", "properties": {"colour": colours}, "required": ["colour"]}
        return api(rpcs={"f": procedure({"car": car})})

    assert between(contract(), contract(colours=["blue"])) == ["XColour: BLUE is new: 'blue'"]


def test_what_is_no_such_module_has_no_signatures() -> None:
    assert signatures_of("def broken(") == signatures_of("") == {}
