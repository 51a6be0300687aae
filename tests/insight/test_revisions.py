"""How contracts have changed, from looks at them."""

from __future__ import annotations

from typing import Any

import pytest

from lightbus.insight.traffic.revisions import Revisions


def contract(**parameters: str) -> dict[str, Any]:
    """A contract with one procedure."""
    properties = {name: {"type": kind} for name, kind in parameters.items()}
    schema = {"type": "object", "properties": properties, "required": sorted(parameters)}
    return {"rpcs": {"find": {"parameters": schema, "response": {"type": "boolean"}}}, "events": {}}


def test_a_change_is_told_with_who_breaks_by_it() -> None:
    revisions = Revisions()
    revisions.note(1.0, {"auth": contract(name="string")})
    assert revisions.of("auth") is None
    revisions.note(2.0, {"auth": contract(name="string")})
    assert revisions.of("auth") is None
    revisions.note(3.0, {"auth": contract(name="string", age="integer")})
    found = revisions.of("auth")
    assert found is not None and found.at == 3.0
    assert any(breaks and "auth.find()" in told and "age" in told for told, breaks in found.differences)


def test_one_that_was_gone_is_compared_with_the_one_before() -> None:
    revisions = Revisions()
    for at, contracts in enumerate(
        ({"auth": contract(name="string")}, {}, {"auth": contract(name="integer")})
    ):
        revisions.note(float(at), contracts)
    found = revisions.of("auth")
    assert found is not None and found.at == 2.0


@pytest.mark.parametrize(
    "strange",
    [{}, {"rpcs": [], "events": {}}, {"rpcs": {"find": {}}, "events": {}}, {"rpcs": {"a": 1}, "events": {}}],
)
def test_what_is_no_whole_contract_is_not_compared(strange: dict[str, Any]) -> None:
    revisions = Revisions()
    revisions.note(1.0, {"auth": contract(name="string")})
    revisions.note(2.0, {"auth": strange})
    found = revisions.of("auth")
    assert found is not None and "can't be compared" in found.differences[0][0]


def test_not_all_of_very_many_differences_are_kept() -> None:
    revisions = Revisions()
    revisions.note(1.0, {"auth": contract(name="string")})
    revisions.note(2.0, {"auth": contract(**{f"n{n}": "string" for n in range(80)})})
    found = revisions.of("auth")
    assert found is not None and len(found.differences) == 50 and found.more > 0
