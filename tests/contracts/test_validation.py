"""What the switches of validation and casting change, from one end of the bus to the other."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest

from lightbus import Api, Event, EventMessage, Parameter
from lightbus.bus.path import BusPath
from lightbus.exceptions import (
    InvalidParameters,
    LightbusWorkerError,
    NoWorker,
    ProcedureNotFound,
    SchemaNotFound,
    ValidationError,
)
from lightbus.messages import RpcMessage
from lightbus.transports.memory.broker import broker
from tests.contracts.buses import bus_of, hosted
from tests.support.eventually import eventually_async

OFF = {"validate": False}
INCOMING = {"validate": {"incoming": True, "outgoing": False}}
OUTGOING = {"validate": {"incoming": False, "outgoing": True}}


@dataclass
class Item:
    """A value with fields."""

    sku: str
    qty: int = 1


class ShopApi(Api):
    """What the tests call and listen to."""

    sold = Event(parameters=(Parameter("sku", str), Parameter("price", Decimal)))

    class Meta:
        name = "shop"
        auto_register = False

    taken: list[Any] = []

    def order(self, item: Item, price: Decimal = Decimal(0)) -> int:
        self.taken.append((item, price))
        return 1

    def wrong(self) -> int:
        return "not a number"  # type: ignore[return-value]


class AnySoldApi(Api):
    """The same API by name, whose event takes anything."""

    sold = Event(
        parameters=(Parameter("sku", Any), Parameter("price", Any), Parameter("more", Any, default=None))
    )

    class Meta:
        name = "shop"
        auto_register = False


@pytest.fixture(autouse=True)
def nothing_taken() -> None:
    ShopApi.taken.clear()


def run(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(scenario)


async def closing(bus: BusPath, call: Awaitable[Any]) -> Any:
    """Await a call and close the bus that it was made on."""
    try:
        return await call
    finally:
        await bus.client.close_async()


class TestACaller:
    def test_sends_nothing_that_does_not_fit_the_contract_on_the_bus(self) -> None:
        async def scenario() -> None:
            sent: list[RpcMessage] = []
            host, client = bus_of(ShopApi, default=OFF), bus_of(service="web")
            async with hosted(host):
                host.client.before_rpc_execution(lambda rpc_message, **_: sent.append(rpc_message))
                with pytest.raises(ValidationError, match=r"call shop\.order: item\.qty"):
                    await closing(client, client.shop.order.call_async(item={"sku": "x", "qty": "many"}))
            assert sent == []

        run(scenario())

    def test_sends_it_where_outgoing_messages_are_not_validated(self) -> None:
        async def scenario() -> None:
            host, client = bus_of(ShopApi), bus_of(service="web", default=INCOMING)
            async with hosted(host):
                with pytest.raises(LightbusWorkerError, match=r"ValidationError.*item\.qty"):
                    await closing(client, client.shop.order.call_async(item={"sku": "x", "qty": "many"}))

        run(scenario())

    def test_many_first_calls_at_once_are_all_validated(self) -> None:
        async def scenario() -> None:
            host, client = bus_of(ShopApi, default=OFF), bus_of(service="web")
            async with hosted(host):
                calls = [client.shop.order.call_async(item=1) for _ in range(20)]
                found = await closing(client, asyncio.gather(*calls, return_exceptions=True))
            assert {type(e) for e in found} == {ValidationError}

        run(scenario())

    def test_names_the_procedures_that_there_are(self) -> None:
        async def scenario() -> None:
            client = bus_of(service="web")
            async with hosted(bus_of(ShopApi)):
                with pytest.raises(ProcedureNotFound, match="order, wrong"):
                    await closing(client, client.shop.ordre.call_async())

        run(scenario())

    @pytest.mark.parametrize(("settings", "fails"), [(INCOMING, True), (OUTGOING, False)])
    def test_checks_what_is_answered_where_incoming_messages_are_validated(
        self, settings: dict[str, Any], fails: bool
    ) -> None:
        async def scenario() -> None:
            client = bus_of(service="web", default=settings)
            async with hosted(bus_of(ShopApi, default=OFF)):
                call = closing(client, client.shop.wrong.call_async())
                if fails:
                    with pytest.raises(ValidationError, match=r"result of shop\.wrong: expected integer"):
                        await call
                else:
                    assert await call == "not a number"

        run(scenario())

    @pytest.mark.parametrize(("strict", "error"), [(True, SchemaNotFound), (False, NoWorker)])
    def test_needs_a_contract_only_where_validation_is_strict(self, strict: bool, error: type) -> None:
        async def scenario() -> None:
            client = bus_of(service="web", default={"strict_validation": strict})
            with pytest.raises(error):
                await closing(client, client.nobody.knows.call_async())

        run(scenario())


class TestAnOwner:
    @pytest.mark.parametrize(("settings", "fails"), [(INCOMING, True), (OUTGOING, False)])
    def test_checks_calls_where_incoming_messages_are_validated(
        self, settings: dict[str, Any], fails: bool
    ) -> None:
        async def scenario() -> None:
            host = bus_of(ShopApi, default={**settings, "cast_values": False})
            client = bus_of(service="web", default=OFF)
            async with hosted(host):
                call = closing(client, client.shop.order.call_async(item={"sku": 5}))
                if fails:
                    with pytest.raises(LightbusWorkerError, match=r"item\.sku: expected string, got 5"):
                        await call
                else:
                    assert await call == 1
                    assert ShopApi.taken == [({"sku": 5}, Decimal(0))]

        run(scenario())

    @pytest.mark.parametrize(("settings", "fails"), [(OUTGOING, True), (INCOMING, False)])
    def test_checks_what_it_answers_where_outgoing_messages_are_validated(
        self, settings: dict[str, Any], fails: bool
    ) -> None:
        async def scenario() -> None:
            client = bus_of(service="web", default=OFF)
            async with hosted(bus_of(ShopApi, default=settings)):
                call = closing(client, client.shop.wrong.call_async())
                if fails:
                    with pytest.raises(LightbusWorkerError, match="expected integer, got 'not a number'"):
                        await call
                else:
                    assert await call == "not a number"

        run(scenario())

    @pytest.mark.parametrize(
        ("casts", "taken"),
        [(True, (Item("x", 2), Decimal("1.50"))), (False, ({"sku": "x", "qty": 2}, "1.50"))],
    )
    def test_hands_its_procedures_the_types_of_their_hints_where_values_are_cast(
        self, casts: bool, taken: Any
    ) -> None:
        async def scenario() -> None:
            client = bus_of(service="web")
            async with hosted(bus_of(ShopApi, shop={"cast_values": casts})):
                call = client.shop.order.call_async(item=Item("x", 2), price=Decimal("1.50"))
                assert await closing(client, call) == 1

        run(scenario())
        assert ShopApi.taken == [taken]

    def test_refuses_a_name_that_the_procedure_does_not_have_even_without_validation(self) -> None:
        async def scenario() -> None:
            client = bus_of(service="web", default=OFF)
            async with hosted(bus_of(ShopApi, default=OFF)):
                with pytest.raises((InvalidParameters, LightbusWorkerError), match="colour"):
                    await closing(client, client.shop.order.call_async(item={"sku": "x"}, colour="red"))

        run(scenario())

    @pytest.mark.parametrize(("settings", "fails"), [({}, True), (OFF, False)])
    def test_fires_only_what_fits_where_outgoing_messages_are_validated(
        self, settings: dict[str, Any], fails: bool
    ) -> None:
        async def scenario() -> None:
            bus = bus_of(ShopApi, default=settings)
            fire = closing(bus, bus.shop.sold.fire_async(sku=5, price="1.50"))
            if fails:
                with pytest.raises(ValidationError, match=r"event shop\.sold: sku: expected string"):
                    await fire
            else:
                assert (await fire).native_id

        run(scenario())


class TestAListener:
    """It listens to another service's API, whose contract it knows from the bus alone."""

    async def listen(
        self, settings: dict[str, Any], fire: BusPath, *, publish: type[Api] | None = ShopApi, **kwargs: Any
    ) -> tuple[list[Any], list[str]]:
        """Fire one event; return what a listener of it got, and why it was put aside if it was."""
        heard: list[Any] = []

        def on_sold(event_message: EventMessage, sku: Any, price: Decimal, **others: Any) -> None:
            heard.append((sku, price, *others))

        bus = bus_of(service="mail", default=settings)
        bus.shop.sold.listen(on_sold, listener_name="sold")
        owner = bus_of(*([publish] if publish else []))
        async with hosted(owner), hosted(bus):
            await fire.shop.sold.fire_async(**kwargs)
            await eventually_async(lambda: bool(heard or broker().groups["mail-sold"].dead))
            await fire.client.close_async()
            return heard, [letter.reason for letter in broker().groups["mail-sold"].dead]

    @pytest.mark.parametrize(
        ("settings", "expected"),
        [
            ({"cast_values": False}, ([], ["invalid"])),
            ({**OUTGOING, "cast_values": False}, ([(5, "1.50")], [])),
        ],
    )
    def test_takes_only_what_fits_the_owners_contract_where_incoming_messages_are_validated(
        self, settings: dict[str, Any], expected: Any
    ) -> None:
        async def scenario() -> None:
            fire = bus_of(ShopApi, default=OFF)
            assert await self.listen(settings, fire, sku=5, price="1.50") == expected

        run(scenario())

    @pytest.mark.parametrize(("settings", "heard"), [({}, []), (OUTGOING, [("x", Decimal(1), "more")])])
    def test_refuses_a_name_that_the_owners_contract_does_not_have(
        self, settings: dict[str, Any], heard: list[Any]
    ) -> None:
        async def scenario() -> None:
            fire = bus_of(AnySoldApi, default=OFF)
            found, dead = await self.listen(settings, fire, sku="x", price="1", more=1)
            assert (found, dead) == (heard, [] if heard else ["invalid"])

        run(scenario())

    @pytest.mark.parametrize(("casts", "price"), [(True, Decimal("1.50")), (False, "1.50")])
    def test_gets_the_types_of_its_hints_where_values_are_cast(self, casts: bool, price: Any) -> None:
        async def scenario() -> None:
            fire = bus_of(ShopApi)
            heard, dead = await self.listen({"cast_values": casts}, fire, sku="x", price="1.50")
            assert (heard, dead) == ([("x", price)], [])

        run(scenario())

    def test_takes_anything_of_an_api_that_nobody_has_published(self) -> None:
        async def scenario() -> None:
            fire = bus_of(AnySoldApi, default=OFF)
            heard, _ = await self.listen({}, fire, publish=None, sku=5, price="1")
            assert heard == [(5, Decimal(1), "more")]

        run(scenario())

    def test_retries_what_has_no_contract_where_validation_is_strict(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def scenario() -> None:
            bus = bus_of(service="mail", default={"strict_validation": True})
            bus.shop.sold.listen(lambda event_message, **_: None, listener_name="sold")
            fire = bus_of(ShopApi)
            async with hosted(bus):
                await fire.shop.sold.fire_async(sku="x", price="1")
                await eventually_async(
                    lambda: "SchemaNotFound" in caplog.text and "tried again" in caplog.text
                )
                await fire.client.close_async()

        run(scenario())
