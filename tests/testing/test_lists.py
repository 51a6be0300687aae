"""Lists of events in memory: fired and handled, and what plugins have around each event of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import lightbus
from lightbus import Api, BusPath, DeliveryPolicy, Event, EventMessage, OnError, Parameter
from lightbus.plugins import LightbusPlugin
from lightbus.testing import hosted

around: ContextVar[tuple[str, ...]] = ContextVar("around", default=())


class ShopApi(Api):
    sold = Event(parameters=(Parameter("sku", str),))

    class Meta:
        name = "shop"
        auto_register = False


class Watch(LightbusPlugin):
    """Writes down what is around what."""

    def __init__(self) -> None:
        self.seen: list[tuple[Any, ...]] = []

    @contextmanager
    def around_event_sent(self, *, event_message: EventMessage, client: Any) -> Iterator[None]:
        with self._within("sent", event_message):
            yield

    @contextmanager
    def around_event_execution(
        self, *, event_message: EventMessage, client: Any, listener_name: str
    ) -> Iterator[None]:
        with self._within("run", event_message):
            yield

    @contextmanager
    def _within(self, what: str, message: EventMessage) -> Iterator[None]:
        token = around.set((*around.get(), what))
        self.seen.append((what, message.kwargs["sku"], *around.get()[:-1]))
        try:
            yield
            self.seen.append((what, message.kwargs["sku"], "ended"))
        except RuntimeError as e:
            self.seen.append((what, message.kwargs["sku"], str(e)))
            raise
        finally:
            around.reset(token)


def make(*plugins: LightbusPlugin, then: OnError = OnError.DEAD_LETTER) -> tuple[BusPath, list[list[str]]]:
    """A bus with a listener of lists, and the lists that it gets."""
    bus = lightbus.create(service_name="shop", plugins=list(plugins))
    bus.client.register_api(ShopApi)
    lists: list[list[str]] = []

    def note(messages: list[EventMessage]) -> None:
        lists.append([message.kwargs["sku"] for message in messages])
        if any(message.kwargs["sku"] == "broken" for message in messages):
            for message in messages:
                message.kwargs.clear()
            raise RuntimeError("cannot note it")

    bus.shop.sold.listen(
        note,
        on_error=DeliveryPolicy(attempts=2 if then is OnError.DEAD_LETTER else 1, then=then),
        bus_options={"batch": 3, "batch_wait": 0.02},
    )
    return bus, lists


def test_a_list_that_is_fired_comes_as_lists() -> None:
    bus, lists = make()
    with hosted(bus) as host:
        bus.shop.sold.fire_many([{"sku": sku} for sku in "abcde"])
        host.settle()
        assert lists == [["a", "b", "c"], ["d", "e"]]


def test_a_list_that_raises_is_handled_event_by_event_each_as_it_arrived() -> None:
    bus, lists = make()
    with hosted(bus) as host:
        bus.shop.sold.fire_many([{"sku": sku} for sku in ("a", "broken", "b")])
        host.settle()
        assert lists == [["a", "broken", "b"], ["a"], ["broken"], ["b"]]
        host.advance(2)
        assert lists[4:] == [["broken"]]
        (letter,) = host.dead_letters("note")
        assert letter.message.kwargs == {"sku": "broken"}
        assert letter.attempts == 2


def test_a_listener_that_stops_at_a_failure_keeps_what_it_had_not_handled() -> None:
    bus, lists = make(then=OnError.STOP_LISTENER)
    with hosted(bus) as host:
        bus.shop.sold.fire_many([{"sku": sku} for sku in ("a", "broken", "b")])
        host.settle()
        assert lists == [["a", "broken", "b"], ["a"], ["broken"]]
        assert host.dead_letters("note") == []


def test_what_plugins_have_around_an_event_of_a_list_is_beside_that_of_the_others() -> None:
    watch = Watch()
    bus, _ = make(watch)
    with hosted(bus) as host:
        bus.shop.sold.fire_many([{"sku": sku} for sku in "abc"])
        host.settle()
        # Each begins before the first ends, and none is within another one.
        assert [each for each in watch.seen if each[0] == "sent"] == [
            *(("sent", sku) for sku in "abc"),
            *(("sent", sku, "ended") for sku in "abc"),
        ]
        assert [each for each in watch.seen if each[0] == "run"] == [
            *(("run", sku) for sku in "abc"),
            *(("run", sku, "ended") for sku in "abc"),
        ]


def test_the_failure_of_a_list_is_told_to_what_is_around_each_event() -> None:
    watch = Watch()
    bus, _ = make(watch)
    with hosted(bus) as host:
        bus.shop.sold.fire_many([{"sku": "a"}, {"sku": "a"}, {"sku": "broken"}])
        host.settle()
    assert [each[2:] for each in watch.seen if each[0] == "run"].count(("ended",)) == 2
