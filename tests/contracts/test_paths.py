"""Contracts from code: ``bus.schema``, and what a path says of its procedure or event."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from lightbus import Api, Event, Parameter
from lightbus.bus.path import BusPath
from lightbus.contracts.contract import contract_of
from lightbus.exceptions import (
    ProcedureNotFound,
    SchemaNotFound,
    SyncCallOnEventLoop,
    TransportUnavailable,
    UnknownApi,
    ValidationError,
)
from tests.contracts.buses import bus_of
from tests.support.servers import Server


class ShopApi(Api):
    """What is asked for."""

    sold = Event(parameters=(Parameter("sku", str),))

    class Meta:
        name = "shop"
        auto_register = False

    def price(self, sku: str, discount: Decimal = Decimal(0)) -> float:
        return 1.0


CONTRACT: Any = json.loads(json.dumps(contract_of(ShopApi.__lightbus__)))


@pytest.fixture
def published(redis_server: Server) -> Server:
    """A Redis that has the contract, as if its owner ran."""
    redis_server.execute("SET", "schema:shop", json.dumps(CONTRACT))
    redis_server.execute("SADD", "schemas", "shop")
    return redis_server


@pytest.fixture
def client(published: Server) -> Iterator[BusPath]:
    """A bus that owns nothing."""
    bus = bus_of(url=published.url, service="web")
    yield bus
    bus.client.close()


class TestAClientThatHasReadNothingYet:
    def test_reads_the_contracts_when_a_schema_is_wanted(self, client: BusPath) -> None:
        assert client.shop.price.parameter_schema == CONTRACT["rpcs"]["price"]["parameters"]
        assert client.shop.price.response_schema == CONTRACT["rpcs"]["price"]["response"]
        assert client.shop.sold.parameter_schema == CONTRACT["events"]["sold"]["parameters"]
        assert client.shop.schema == CONTRACT
        assert client.schema.api_names == ["shop"]
        assert "shop" in client.schema and "nope" not in client.schema

    def test_validates_parameters(self, client: BusPath) -> None:
        client.shop.price.validate_parameters({"sku": "x", "discount": Decimal("0.5")})
        with pytest.raises(ValidationError, match=r"call shop\.price: sku: expected string, got 5"):
            client.shop.price.validate_parameters({"sku": 5})
        with pytest.raises(ValidationError, match=r"event shop\.sold: 'sku' is missing"):
            client.shop.sold.validate_parameters({})

    def test_validates_the_response_and_not_the_parameters(self, client: BusPath) -> None:
        client.shop.price.validate_response(1.5)
        with pytest.raises(ValidationError, match=r"result of shop\.price: expected number"):
            client.shop.price.validate_response({"sku": "x"})

    def test_says_what_to_do_where_there_is_no_contract(self, client: BusPath) -> None:
        with pytest.raises(SchemaNotFound, match=r"'nope'.*start the service that owns it.*load_local"):
            _ = client.nope.price.parameter_schema

    def test_names_what_there_is_where_a_name_is_wrong(self, client: BusPath) -> None:
        with pytest.raises(ProcedureNotFound, match="no 'prize'; it has: price, sold"):
            _ = client.shop.prize.parameter_schema
        with pytest.raises(ProcedureNotFound, match="no procedure 'sold'; it has: price"):
            client.shop.sold.validate_response(1)
        with pytest.raises(UnknownApi):
            client.validate_parameters({})

    def test_says_what_to_await_on_an_event_loop(self, client: BusPath) -> None:
        async def scenario() -> None:
            with pytest.raises(SyncCallOnEventLoop, match=r"await bus\.client\.load_contracts\(\)"):
                client.shop.price.validate_parameters({})
            await client.client.load_contracts()
            client.shop.price.validate_parameters({"sku": "x"})
            with pytest.raises(SchemaNotFound):
                client.nope.price.validate_parameters({})
            await client.client.close_async()

        asyncio.run(scenario())

    def test_says_that_the_bus_is_away(self) -> None:
        bus = bus_of(url="redis://127.0.0.1:1/0", service="web")
        with pytest.raises(TransportUnavailable):
            _ = bus.shop.schema
        bus.client.close()


class TestAnOwner:
    def test_knows_its_own_contract_without_a_bus(self) -> None:
        bus = bus_of(ShopApi, url="redis://127.0.0.1:1/0")
        bus.shop.price.validate_parameters({"sku": "x"})
        assert bus.shop.schema == CONTRACT

    @pytest.mark.parametrize("name", ["all.json", "folder"])
    def test_saves_what_another_process_can_load(self, tmp_path: Path, name: str) -> None:
        files = bus_of(ShopApi, url="redis://127.0.0.1:1/0").schema.save_local(tmp_path / name)
        if not name.endswith("json"):
            # As editors and other systems leave them.
            (tmp_path / name / "._shop.json").write_bytes(b"\0\5\26\7\0Mac OS X")
            (tmp_path / name / ".#shop.json").symlink_to("me@host.1234")
        assert [f.relative_to(tmp_path).as_posix() for f in files] == [
            name if name.endswith("json") else f"{name}/shop.json"
        ]
        other = bus_of(url="redis://127.0.0.1:1/0", service="web")
        assert other.schema.load_local(tmp_path / name) == ["shop"]
        assert other.shop.schema == CONTRACT
        with pytest.raises(ValidationError):
            other.shop.price.validate_parameters({})
