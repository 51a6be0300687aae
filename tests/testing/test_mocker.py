"""Mocks of a bus: what is expected, what was done, and what can't be true."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import lightbus
from lightbus.exceptions import (
    EventNotFound,
    LightbusWorkerError,
    ProcedureNotFound,
    ValidationError,
)
from lightbus.testing import BusMocker, MockResult, bus_mocker

from . import clerk, shop

bus = lightbus.create({"service_name": "store"})
bus.client.register_api(shop.StoreApi)


def test_calls_are_answered_and_remembered() -> None:
    with BusMocker(bus) as mock:
        mock.mock_rpc_call("store.price", result=12)
        mock.mock_rpc_call("elsewhere.anything", result={"a": [1]})
        assert bus.store.price(sku="cup") == 12
        first = bus.elsewhere.anything(x=1)
        first["a"].append(2)
        assert bus.elsewhere.anything(x=2) == {"a": [1]}, "each call has a result of its own"
        mock.assert_rpc_called("store.price")
        mock.assert_rpc_called("elsewhere.anything", times=2)
        mock.assert_rpc_not_called("store.other")
        assert mock.rpc_names_called == ["store.price", "elsewhere.anything", "elsewhere.anything"]
        assert [m.kwargs for m in mock.get_rpc_messages("elsewhere.anything")] == [{"x": 1}, {"x": 2}]
        assert len(mock.get_rpc_messages()) == 3
        assert repr(mock) == "<MockResult: 0 events, 3 calls>"


def test_events_are_remembered_and_go_nowhere() -> None:
    with BusMocker(bus) as mock:
        mock.mock_event_firing("store.sold")
        message = bus.store.sold.fire(sku="cup", count=1)
        mock.assert_event_fired("store.sold", times=1)
        mock.assert_events_fired("store.sold")
        mock.assert_event_not_fired("store.refused")
        assert mock.get_event_messages("store.sold") == mock.get_event_messages() == [message]
        assert mock.event_names_fired == ["store.sold"]


@pytest.mark.parametrize(
    ("check", "said"),
    [
        (
            lambda m: m.assert_rpc_called("store.other"),
            "store.other was not called; called were: store.price",
        ),
        (lambda m: m.assert_rpc_called("store.price", times=2), "should be called 2 times, and was 1 times"),
        (lambda m: m.assert_rpc_called("store.price", times=0), "should be called never, and was 1 times"),
        (lambda m: m.assert_rpc_not_called("store.price"), "should be called never"),
        (lambda m: m.assert_event_fired("store.sold"), "store.sold was not fired; nothing was fired"),
        (lambda m: m.assert_event_fired("store.sold", times=1), "fired 1 times, and was 0 times"),
    ],
)
def test_what_is_not_so_is_said(check: Any, said: str) -> None:
    with BusMocker(bus) as mock:
        mock.mock_rpc_call("store.price", 1)
        bus.store.price(sku="cup")
        with pytest.raises(AssertionError, match=said):
            check(mock)


def test_what_was_not_announced_fails() -> None:
    with BusMocker(bus):
        with pytest.raises(AssertionError, match=r"mock_rpc_call\('store.price', result=...\)"):
            bus.store.price(sku="cup")
        with pytest.raises(AssertionError, match=r"mock_event_firing\('store.sold'\)"):
            bus.store.sold.fire(sku="cup", count=1)


def test_unless_that_is_not_required() -> None:
    with BusMocker(bus, require_mocking=False) as mock:
        assert bus.store.price(sku="cup") is None
        bus.store.sold.fire(sku="cup", count=1)
        assert (len(mock.get_rpc_messages()), len(mock.get_event_messages())) == (1, 1)


def test_a_mock_can_be_an_error() -> None:
    with BusMocker(bus) as mock:
        mock.mock_rpc_call("store.price", "LookupError('cup')", error=True, trace="line 1")
        with pytest.raises(LightbusWorkerError, match=r"LookupError\('cup'\)[\s\S]*line 1"):
            bus.store.price(sku="cup")


def test_mocks_and_what_is_sent_must_fit_the_contract() -> None:
    with BusMocker(bus) as mock:
        with pytest.raises(ValidationError, match="expected integer"):
            mock.mock_rpc_call("store.price", "twelve")
        with pytest.raises(ProcedureNotFound, match="it has"):
            mock.mock_rpc_call("store.prize", 1)
        with pytest.raises(EventNotFound):
            mock.mock_event_firing("store.solt")
        mock.mock_rpc_call("store.price", 12)
        with pytest.raises(ValidationError, match="sku"):
            bus.store.price(sku=5)
        with pytest.raises(ValidationError, match="'code' is not a known name"):
            bus.store.price(code="cup")
        mock.mock_event_firing("store.sold")
        with pytest.raises(ValidationError, match="count"):
            bus.store.sold.fire(sku="cup", count="many")
        assert mock.get_event_messages() == []


@BusMocker(bus)
def test_as_a_decorator(mock: MockResult) -> None:
    mock.mock_rpc_call("store.price", 1)
    assert bus.store.price(sku="cup") == 1


@pytest.mark.parametrize("sku", ["cup"])
@bus_mocker(bus)
def test_as_a_decorator_beside_fixtures(mock: MockResult, sku: str, tmp_path: object) -> None:
    mock.mock_rpc_call("store.price", 1)
    assert bus.store.price(sku=sku) == 1


class TestInAClass:
    @BusMocker(bus)
    def test_as_a_decorator(self, mock: MockResult) -> None:
        assert mock.rpc_names_called == []


def test_coroutine_functions_are_decorated_too() -> None:
    @BusMocker(bus)
    async def test(mock: MockResult) -> None:
        mock.mock_rpc_call("store.price", 7)
        assert await bus.store.price.call_async(sku="cup") == 7

    asyncio.run(test())


def test_in_camel_case() -> None:
    with bus_mocker(bus) as mock:
        mock.mockRpcCall("store.price", 1)
        mock.mockEventFiring("store.sold")
        bus.store.price(sku="cup")
        bus.store.sold.fire(sku="cup", count=1)
        mock.assertRpcCalled("store.price", times=1)
        mock.assertRpcNotCalled("store.other")
        mock.assertEventFired("store.sold", times=1)
        mock.assertEventNotFired("store.other")
        assert mock.rpcNamesCalled == ["store.price"] and mock.eventNamesFired == ["store.sold"]
        assert len(mock.getRpcMessages()) == len(mock.getEventMessages("store.sold")) == 1


def test_afterwards_the_bus_is_as_it_was() -> None:
    mocker = BusMocker(bus)
    due = bus.client.parts.watch.due
    with mocker as outer:
        outer.mock_rpc_call("store.price", 1)
        with mocker as inner:
            inner.mock_rpc_call("store.price", 2)
            assert bus.store.price(sku="cup") == 2
        assert bus.store.price(sku="cup") == 1
        assert len(outer.get_rpc_messages()) == len(inner.get_rpc_messages()) == 1
    assert bus.client.parts.transports == bus.client.parts.connections.transports
    assert bus.client.parts.watch.due == due
    with BusMocker(clerk.bus, require_mocking=False):
        assert clerk.bus.store.price(sku="cup") is None


def test_a_decorated_function_may_hide_an_async_one() -> None:
    async def test(mock: Any) -> None:
        mock.mock_rpc_call("store.price", 12)
        await asyncio.sleep(0)
        assert await bus.store.price.call_async(sku="cup") == 12

    asyncio.run(BusMocker(bus)(lambda mock: test(mock))())
