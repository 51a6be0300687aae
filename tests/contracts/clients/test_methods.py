"""``bus[AuthApi.check_password]``: calls by the methods of a class that is at hand."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import pytest

from lightbus import Api, BusPath, Event
from lightbus.exceptions import InvalidParameters, UnknownApi, ValidationError
from lightbus.testing import bus_mocker, hosted
from tests.contracts.buses import bus_of

from . import apis
from .test_typed_bus import ANN, AuthApi


class AsyncApi(Api):
    told = Event(["what"])

    class Meta:
        name = "some.async"
        auto_register = False
        version = 3

    async def double(self, number: int, *, sign: int = 1) -> int:
        return 2 * number * sign


class OneApi(Api):
    class Meta:
        name = "some.one"
        auto_register = False

    def ping(self) -> None:
        raise NotImplementedError


class OtherApi(OneApi):
    class Meta:
        name = "some.other"
        auto_register = False


@pytest.fixture
def host() -> Any:
    with hosted(AuthApi) as running:
        yield running


def test_its_result_is_of_the_class_that_the_method_names(host: Any) -> None:
    assert host.bus[AuthApi.find](limit=1) == [ANN]
    assert host.bus[AuthApi.one].call(id=UUID(int=1)) == ANN
    assert host.bus[AuthApi.one](UUID(int=0), of=apis.UserId(3)) is None


def test_it_is_awaited_as_every_call_is() -> None:
    async def scenario() -> None:
        async with hosted(AuthApi) as host:
            assert await host.bus[AuthApi.find].call_async() == [ANN]
            assert await host.bus[AuthApi.check_password].call_async("a", password="a") is True

    asyncio.run(scenario())


def test_the_result_of_an_async_method_is_what_it_returns_in_the_end() -> None:
    class DoubleApi(AsyncApi):
        class Meta:
            name = "some.async"
            auto_register = False

    with hosted(DoubleApi) as host:
        assert host.bus[AsyncApi.double](3, sign=-1) == -6


def test_an_event_and_a_class_lead_to_their_paths(host: Any) -> None:
    assert str(host.bus[AuthApi]) == "auth"
    assert str(host.bus[apis.AuthApi.user_registered]) == "auth.user_registered"
    assert isinstance(host.bus[apis.AuthApi.renamed], BusPath)


def test_mocks_answer_it_too() -> None:
    bus = bus_of(AuthApi)
    with bus_mocker(bus) as mock:
        mock.mock_rpc_call("auth.check_password", result=True)
        assert bus[AuthApi.check_password]("ann") is True
        mock.assert_rpc_called("auth.check_password")


def test_arguments_are_given_by_name_or_in_the_order_of_the_method(host: Any) -> None:
    with pytest.raises(InvalidParameters, match=r"^auth.check_password: username is given twice$"):
        host.bus[AuthApi.check_password]("a", username="b")
    with pytest.raises(InvalidParameters, match="it takes 2 arguments without a name"):
        host.bus[AuthApi.check_password]("a", "b", "c")


def test_a_result_that_the_method_does_not_name_is_told_with_what_to_do(host: Any) -> None:
    class OldApi(Api):
        class Meta:
            name = "auth"
            auto_register = False

        def check_password(self, username: str, password: str = "") -> str:
            raise NotImplementedError

    with pytest.raises(ValidationError) as raised:
        host.bus[OldApi.check_password](username="a")
    told = str(raised.value)
    assert told.startswith("the result of auth.check_password: expected str, got False; ")
    assert told.endswith(
        "OldApi.check_password() says otherwise here than where it runs; install the same version"
    )


@pytest.mark.parametrize("thing", [3, len, Api, [1], Event(["a"]), hosted, None])
def test_what_is_of_no_api_is_refused(host: Any, thing: Any) -> None:
    with pytest.raises(UnknownApi, match=r"^bus\[...\] takes a name, a class derived from lightbus.Api"):
        host.bus[thing]


def test_what_several_apis_have_is_refused_with_their_names(host: Any) -> None:
    with pytest.raises(UnknownApi) as raised:
        host.bus[OtherApi.ping]
    assert str(raised.value) == (
        "several APIs have OneApi.ping; write which one is meant: bus.some.one.ping, bus.some.other.ping"
    )


def test_it_is_looked_up_from_the_bus_itself(host: Any) -> None:
    with pytest.raises(UnknownApi, match=r"looked up from the bus itself; bus\.auth is a name on it"):
        host.bus.auth[AuthApi.find]
