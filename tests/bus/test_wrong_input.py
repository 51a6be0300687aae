"""What is wrong in a call or an event is told of that call or event, in a sentence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pydantic
import pytest

import lightbus
from lightbus import Api, Event
from lightbus.exceptions import InvalidParameters, ValidationError


class Login(pydantic.BaseModel):
    user: str
    password: pydantic.SecretStr


class AuthApi(Api):
    entered = Event(parameters=("login",))

    class Meta:
        name = "auth"
        auto_register = False

    def check(self, login: Login) -> bool:
        raise NotImplementedError


@pytest.fixture
def bus() -> lightbus.BusPath:
    memory: dict[str, Any] = {"memory": {}}
    names = ("rpc_transport", "event_transport", "result_transport")
    config = {"apis": {"default": dict.fromkeys(names, memory)}, "bus": {"schema": {"transport": memory}}}
    bus = lightbus.create(config, plugins=[])
    bus.client.register_api(AuthApi())
    return bus


Ask = Callable[[lightbus.BusPath, Any], Any]
ASK: dict[str, Ask] = {
    "a call": lambda bus, options: bus.auth.check(login=1, bus_options=options),
    "an event": lambda bus, options: bus.auth.entered.fire(login=1, bus_options=options),
    "many events": lambda bus, options: bus.auth.entered.fire_many([{"login": 1}], bus_options=options),
    "a listener": lambda bus, options: bus.auth.entered.listen(print, bus_options=options),
}


@pytest.mark.parametrize("ask", ASK.values(), ids=ASK)
@pytest.mark.parametrize(
    ("options", "said"), [(1, "1"), (0, "0"), ("timeout", "'timeout'"), ([5], "a list of 1")]
)
def test_options_that_are_no_dict(bus: lightbus.BusPath, ask: Ask, options: Any, said: str) -> None:
    with pytest.raises(InvalidParameters) as raised:
        ask(bus, options)
    assert str(raised.value) == f"bus_options is {said}; give a dict, such as bus_options={{'timeout': 5}}"


LOGIN = Login(user="ada", password=pydantic.SecretStr("x"))
SEND: dict[str, tuple[Callable[[lightbus.BusPath], Any], str]] = {
    "a call": (lambda bus: bus.auth.check(login=LOGIN), "the call auth.check: "),
    "an event": (lambda bus: bus.auth.entered.fire(login=LOGIN), "the event auth.entered: "),
    "many events": (
        lambda bus: bus.auth.entered.fire_many([{"login": LOGIN}]),
        "event 0 of the list: the event auth.entered: ",
    ),
    "a look before the call": (
        lambda bus: bus.auth.check.validate_parameters({"login": LOGIN}),
        "the call auth.check: ",
    ),
    "a look before the event": (
        lambda bus: bus.auth.entered.validate_parameters({"login": LOGIN}),
        "the event auth.entered: ",
    ),
}


@pytest.mark.parametrize(("send", "where"), SEND.values(), ids=SEND)
def test_an_argument_that_can_not_be_sent_is_told_with_the_api(
    bus: lightbus.BusPath, send: Callable[[lightbus.BusPath], Any], where: str
) -> None:
    with pytest.raises(ValidationError) as raised:
        send(bus)
    assert str(raised.value).startswith(f"{where}login.password: is a SecretStr, which would arrive as")
    assert "give it a @field_serializer" in str(raised.value)
