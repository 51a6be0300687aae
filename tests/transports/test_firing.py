"""One way for one event and for a list: what firing needs is looked up once, until something changes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import Any

import pytest

import lightbus
from lightbus import Api, BusPath, Event, EventMessage, Parameter
from lightbus.bus.parts import Parts
from lightbus.declared.registry import Registry
from lightbus.exceptions import BusAlreadyClosed, NotAuthoritative, ValidationError
from lightbus.transports.memory.events import MemoryEventTransport

MEMORY: dict[str, Any] = {"memory": {}}
KINDS = ("rpc_transport", "event_transport", "result_transport")


class ShopApi(Api):
    sold = Event(parameters=(Parameter("number", int),))

    class Meta:
        name = "shop"
        auto_register = False


@pytest.fixture
def bus() -> BusPath:
    """A bus in memory, which defines the API ``shop``."""
    api = dict.fromkeys(KINDS, MEMORY)
    bus = lightbus.create({"apis": {"default": api}, "bus": {"schema": {"transport": MEMORY}}}, plugins=[])
    bus.client.parts = Parts(bus.client.parts.wiring, Registry(), bus.client)
    bus.client.register_api(ShopApi)
    return bus


async def fire_one(bus: BusPath, number: Any = 1) -> None:
    await bus.shop.sold.fire_async(number=number)


async def fire_two(bus: BusPath, number: Any = 1) -> None:
    await bus.shop.sold.fire_many_async([{"number": number}, {"number": number}])


both = pytest.mark.parametrize("fire", [fire_one, fire_two])
Manager = Callable[[EventMessage], AbstractContextManager[None]]


def around(bus: BusPath, manager: Manager) -> None:
    bus.client.parts.hooks.set_plugins(
        {"around_event_sent": [lambda *, event_message, client: manager(event_message)]}
    )


@both
async def test_an_api_that_is_defined_anew_is_checked_by_its_new_definition(bus: BusPath, fire: Any) -> None:
    await fire(bus)

    class Newer(Api):
        sold = Event(parameters=(Parameter("number", str),))

        class Meta:
            name = "shop"
            auto_register = False

    Newer.__qualname__ = ShopApi.__qualname__  # As if its module were run again.
    bus.client.register_api(Newer)
    await fire(bus, "one")
    with pytest.raises(ValidationError):
        await fire(bus, 1)


@both
async def test_settings_that_change_hold_for_the_next_event(bus: BusPath, fire: Any) -> None:
    await fire(bus)
    wiring = bus.client.parts.wiring
    other = lightbus.create(
        {
            "apis": {"default": dict.fromkeys(KINDS, MEMORY), "shop": {"owner": "other"}},
            "bus": {"schema": {"transport": MEMORY}},
        },
        plugins=[],
    )
    bus.client.parts.connections.rewire(other.client.parts.wiring)
    with pytest.raises(NotAuthoritative):
        await fire(bus)
    bus.client.parts.connections.rewire(wiring)
    await fire(bus)


@both
async def test_a_closed_bus_fires_nothing(bus: BusPath, fire: Any) -> None:
    await fire(bus)
    await bus.client.close_async()
    with pytest.raises(BusAlreadyClosed):
        await fire(bus)


@both
def test_each_event_loop_has_its_own_transport(bus: BusPath, fire: Any) -> None:
    used = []

    async def run() -> None:
        await fire(bus)
        used.append(bus.client.transports().event("shop"))
        await fire(bus)

    asyncio.run(run())
    asyncio.run(run())
    assert used[0] is not used[1]


@both
async def test_who_is_around_an_event_learns_that_firing_it_was_cancelled(
    bus: BusPath, fire: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends: list[type[BaseException]] = []
    is_sending = asyncio.Event()

    @contextmanager
    def noted(message: EventMessage) -> Iterator[None]:
        try:
            yield
        except BaseException as e:
            ends.append(type(e))
            raise

    async def never(self: MemoryEventTransport, events: Any, timeout: float) -> None:
        is_sending.set()
        await asyncio.Event().wait()

    around(bus, noted)
    monkeypatch.setattr(MemoryEventTransport, "publish_each", never)
    firing = asyncio.ensure_future(fire(bus))
    await is_sending.wait()
    firing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await firing
    assert set(ends) == {asyncio.CancelledError}
    assert bus.client.parts.metrics.events_fired.total(outcome="failed") == len(ends)


async def test_what_is_around_a_single_event_is_around_its_other_hooks_too(bus: BusPath) -> None:
    span: ContextVar[str] = ContextVar("span", default="")
    seen = []

    @contextmanager
    def within(message: EventMessage) -> Iterator[None]:
        token = span.set(f"of {message.kwargs['number']}")
        try:
            yield
        finally:
            span.reset(token)

    around(bus, within)
    bus.client.before_event_sent(lambda *, client, event_message: seen.append(span.get()))
    bus.client.after_event_sent(lambda *, client, event_message: seen.append(span.get()))
    await fire_one(bus, 7)
    assert seen == ["of 7", "of 7"]
    assert span.get() == ""
