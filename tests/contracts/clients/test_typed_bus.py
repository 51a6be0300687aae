"""A bus with the types of a generated module, at work."""

from __future__ import annotations

import asyncio
from datetime import date, datetime
from typing import Any
from uuid import UUID

import pytest

from lightbus import EventMessage, values
from lightbus.bus.path import BusPath
from lightbus.contracts.contract import contract_of
from lightbus.exceptions import InvalidParameters, ValidationError
from lightbus.testing import bus_mocker, hosted
from tests.contracts.buses import bus_of

from . import apis
from .making import made_of

ANN = apis.User("Ann", apis.Kind.GUEST, apis.Address("Main St", date(2026, 1, 2)))


class AuthApi(apis.AuthApi):
    """The API as its owner has it."""

    class Meta:
        name = "auth"
        auto_register = False

    def find(self, kind: Any = None, since: datetime | None = None, limit: int = 10) -> list[apis.User]:
        return [ANN][:limit]

    def one(self, id: UUID, of: int | None = None) -> apis.User | None:
        return ANN if id.int else None

    def check_password(self, username: str, password: str = "") -> bool:
        return username == password


@pytest.fixture
def host() -> Any:
    with hosted(AuthApi) as running:
        yield running


def test_results_are_objects_of_the_module(host: Any) -> None:
    with made_of(apis.contracts()) as module:
        bus = module.typed(host.bus)
        (ann,) = bus.auth.find()
        assert ann == module.AuthUser(
            name="Ann",
            kind=module.AuthKind.GUEST,
            address=module.AuthAddress(street="Main St", date=date(2026, 1, 2)),
        )
        assert bus.auth.one(id=UUID(int=0)) is None
        assert bus.auth.one.call(id=UUID(int=1)) == ann
        assert bus.auth["one"](id=UUID(int=1)) == ann
        assert module.typed(host.bus) is bus
        assert bus.auth.check_password(username="a", password="a") is True


def test_results_are_objects_on_an_event_loop_too() -> None:
    async def scenario() -> None:
        with made_of(apis.contracts()) as module:
            async with hosted(AuthApi) as host:
                ann = await module.typed(host.bus).auth.one.call_async(id=UUID(int=1))
                assert (type(ann), ann.kind) == (module.AuthUser, module.AuthKind.GUEST)

    asyncio.run(scenario())


def test_typed_dicts_are_results_as_they_are(host: Any) -> None:
    with made_of(apis.contracts(), "typeddict") as module:
        bus = module.typed(host.bus)
        assert bus is host.bus
        assert bus.auth.one(id=UUID(int=1)) == host.bus.auth.one(id=UUID(int=1))


def test_objects_of_the_module_are_sent_as_its_owners_would_be(host: Any) -> None:
    with made_of(apis.contracts()) as module:
        bus = module.typed(host.bus)
        bus.auth.user_registered.fire(username="a", kind=module.AuthKind.GUEST, at=datetime(2026, 1, 1))
        heard = [event.kwargs for event in host.events("auth.user_registered")]
        assert heard == [{"username": "a", "kind": "guest", "at": "2026-01-01T00:00:00", "note": None}]


def test_bus_options_reach_calls_and_events(host: Any) -> None:
    with made_of(apis.contracts()) as module:
        bus = module.typed(host.bus)
        fired = bus.auth.user_registered.fire(
            username="a", at=datetime(2026, 1, 1), bus_options={"id": "mine"}
        )
        assert isinstance(fired, EventMessage)
        assert fired.id == "mine"
        with pytest.raises(InvalidParameters, match="timeout"):
            bus.auth.check_password(username="a", bus_options={"timeout": -1})


def test_mocks_answer_typed_clients_too() -> None:
    with made_of(apis.contracts()) as module:
        bus = module.typed(bus_of(AuthApi))
        with bus_mocker(bus) as mock:
            address = module.AuthAddress(street="s")
            ann = module.AuthUser(name="Ann", kind=module.AuthKind.GUEST, address=address)
            mock.mock_rpc_call("auth.one", result=ann)
            assert bus.auth.one(id=UUID(int=1)) == ann
            mock.mock_event_firing("auth.user_registered")
            bus.auth.user_registered.fire(username="a", at=datetime(2026, 1, 1))
            mock.assert_event_fired("auth.user_registered")


def test_what_its_owner_added_to_a_result_is_left_out() -> None:
    with made_of(apis.contracts()) as module:
        address: Any = module.AuthAddress
        cast = values.tolerant_caster(list[address])
        assert cast([{"street": "s", "number": 3}]) == [address(street="s")]
        either = values.tolerant_caster(module.AuthPoint | module.AuthCircle)
        circle = {"type": "circle", "radius": 1.0}
        assert either(circle) == module.AuthCircle(**circle)


def test_a_result_of_another_contract_is_told_with_what_to_do() -> None:
    changed = contract_of(AuthApi.__lightbus__)
    changed["rpcs"]["check_password"]["response"] = {"type": "string"}
    with hosted(AuthApi) as running, made_of({"auth": changed}) as module:
        with pytest.raises(ValidationError) as raised:
            module.typed(running.bus).auth.check_password(username="a")
        assert str(raised.value) == (
            "the result of auth.check_password: expected str, got False; "
            f"{module.__name__} was written for another contract, so write it again with `lightbus types`"
        )


def test_create_and_get_bus_return_it_with_its_types(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    def create(*args: Any, **kwargs: Any) -> BusPath:
        made.append((args, kwargs))
        return bus_of(AuthApi)

    monkeypatch.setattr("lightbus.create", create)
    with made_of(apis.contracts()) as module:
        bus = module.create("redis://h", service_name="s")
        assert made == [(("redis://h",), {"service_name": "s"})]
        assert "find" in dir(bus.auth)
        assert module.typed(bus).client is bus.client
