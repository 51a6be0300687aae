"""The contracts known in a process: its own, those of files, and those on the bus."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lightbus import Api, Event, Parameter
from lightbus.contracts.known import Contracts
from lightbus.exceptions import InvalidMessage, SchemaNotFound, ValidationError


class ShopApi(Api):
    class Meta:
        name = "shop"
        auto_register = False

    sold = Event([Parameter("sku", str)])

    def price(self, sku: str) -> int:
        return 1


def contract(kind: str) -> dict[str, Any]:
    """A contract of the same names, where everything is of one JSON type."""
    schema = {"type": "object", "additionalProperties": {"type": kind}}
    return {
        "events": {"sold": {"parameters": schema}},
        "rpcs": {"price": {"parameters": schema, "response": {"type": kind}}},
    }


def refuses(contracts: Contracts, value: Any) -> bool:
    validator = contracts.rpc_response("shop", "price")
    assert validator
    try:
        validator.validate(value)
    except ValidationError:
        return True
    return False


def test_nothing_is_known_of_an_unknown_name() -> None:
    contracts = Contracts()
    contracts.set_local(ShopApi.__lightbus__)
    assert contracts.event("other", "sold") is None
    assert contracts.event("shop", "price") is None
    assert contracts.rpc_parameters("shop", "sold") is None
    assert contracts.rpc_response("shop", "x") is None
    assert contracts.get("other") is None


def test_a_local_api_is_validated_by_its_definition() -> None:
    contracts = Contracts()
    published = contracts.set_local(ShopApi.__lightbus__)
    assert contracts.get("shop") is published
    for validator in (contracts.event("shop", "sold"), contracts.rpc_parameters("shop", "price")):
        assert validator
        validator.validate({"sku": "a"})
        with pytest.raises(ValidationError, match="sku: expected string"):
            validator.validate({"sku": 1})
    assert refuses(contracts, "1")
    assert not refuses(contracts, 1)


def test_a_validator_is_compiled_once() -> None:
    contracts = Contracts()
    contracts.set_local(ShopApi.__lightbus__)
    assert contracts.event("shop", "sold") is contracts.event("shop", "sold")


def test_a_contract_on_the_bus_is_replaced_by_its_next_version_and_forgotten() -> None:
    contracts = Contracts()
    assert contracts.set_remote("shop", contract("string"))
    assert not contracts.set_remote("shop", contract("string"))
    assert not refuses(contracts, "x")
    assert contracts.set_remote("shop", contract("integer"))
    assert refuses(contracts, "x")
    contracts.remove_remote("shop")
    contracts.remove_remote("shop")
    assert contracts.rpc_response("shop", "price") is None
    assert contracts.api_names() == []


def test_the_own_definition_comes_before_a_file_and_a_file_before_the_bus(tmp_path: Path) -> None:
    contracts = Contracts()
    contracts.set_remote("shop", contract("string"))
    assert not refuses(contracts, "x")
    (tmp_path / "shop.json").write_text(json.dumps(contract("boolean")))
    assert contracts.load_local(tmp_path) == ["shop"]
    assert refuses(contracts, "x")
    assert not refuses(contracts, True)
    contracts.set_local(ShopApi.__lightbus__)
    assert refuses(contracts, True)
    assert not refuses(contracts, 1)
    assert contracts.get_remote("shop") == contract("string")


def test_a_file_may_hold_one_api_or_all(tmp_path: Path) -> None:
    everything = tmp_path / "all.json"
    everything.write_text(json.dumps({"a.b": contract("null"), "events": contract("null")}))
    contracts = Contracts()
    assert contracts.load_local(str(everything)) == ["a.b", "events"]
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "c.d.json").write_text(json.dumps({"events": {}, "rpcs": {}}))
    assert contracts.load_local(tmp_path / "one") == ["c.d"]
    assert contracts.api_names() == ["a.b", "c.d", "events"]


@pytest.mark.parametrize("text", ["", "[]", "{", '{"shop": 1}', '{"shop": {"events": {}}}', "[" * 100_000])
def test_a_file_without_contracts_is_an_error_that_names_it(tmp_path: Path, text: str) -> None:
    file = tmp_path / "shop.json"
    file.write_text(text)
    with pytest.raises(InvalidMessage, match=r"shop\.json"):
        Contracts().load_local(file)


def test_a_missing_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(SchemaNotFound, match=r"nothing\.json"):
        Contracts().load_local(tmp_path / "nothing.json")


@pytest.mark.parametrize(
    "bad",
    [
        None,
        [],
        {},
        {"events": {}, "rpcs": []},
        {"events": {"sold": {}}, "rpcs": {}},
        {"events": {}, "rpcs": {"price": {"parameters": {}}}},
        {"events": {"sold": {"parameters": {"$ref": "http://x/"}}}, "rpcs": {}},
        {"events": {"sold": {"parameters": "string"}}, "rpcs": {}},
        {"events": {"sold": {"parameters": {"properties": 3}}}, "rpcs": {}},
    ],
)
def test_what_is_no_contract_is_refused_and_the_known_one_stays(bad: Any) -> None:
    contracts = Contracts()
    contracts.set_remote("shop", contract("string"))
    with pytest.raises(InvalidMessage, match="shop"):
        contracts.set_remote("shop", bad)
    assert not refuses(contracts, "x")


def test_a_schema_that_cannot_be_compiled_is_an_error_where_it_is_used() -> None:
    bad = contract("string")
    bad["rpcs"]["price"]["response"] = {"pattern": "(?=a)"}
    contracts = Contracts()
    contracts.set_remote("shop", bad)
    validator = contracts.rpc_response("shop", "price")
    assert validator
    with pytest.raises(InvalidMessage, match=r"shop\.price"):
        validator.validate("a")
    assert contracts.event("shop", "sold")
