"""Listeners with an inbox as the worker runs them: groups, lists, retries, dead letters, and what is told."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from lightbus import Backoff, DeliveryPolicy
from lightbus.bus.path import BusPath
from lightbus.declared.inbox import MARK
from lightbus.exceptions import InvalidListener
from lightbus.messages import EventMessage
from lightbus.options import Duration
from lightbus.testing import hosted
from tests.outbox.shop import ShopApi

from .conftest import Bank, in_django

TWICE = {"bus_options": {"id": "one"}}


def service(listen: Callable[[BusPath], object]) -> ModuleType:
    """A bus module whose listeners are set up so."""
    module = ModuleType("billing")
    module.before_server_start = listen  # type: ignore[attr-defined]
    return module


def charging(bank: Bank, **options: Any) -> Callable[..., None]:
    @in_django(bank, **options)
    def charge(event_message: EventMessage, number: int, note: str) -> None:
        bank.pay_in(number)
        if note == "fails":
            raise ValueError("it fails")

    return charge


def inboxes(host: Any) -> dict[tuple[str, ...], int]:
    return dict(host.bus.client.parts.metrics.inbox.values)


def test_a_listener_handles_each_event_once_and_counts(small_bank: Bank) -> None:
    listen = lambda bus: bus.shop.placed.listen(charging(small_bank))  # noqa: E731
    with hosted(ShopApi, service(listen)) as host:
        for _ in range(3):
            host.bus.shop.placed.fire(number=5, **TWICE)
        host.settle()
        assert inboxes(host) == {("charge", "new"): 1, ("charge", "done_before"): 2}
    assert small_bank.balance == 5
    assert small_bank.notes == [("billing-charge", "shop.placed", "one")]


def test_a_failure_is_retried_and_a_dead_letter_leaves_nothing_behind(small_bank: Bank) -> None:
    policy = DeliveryPolicy(attempts=2, backoff=Backoff(initial=Duration(1), jitter=False))
    listen = lambda bus: bus.shop.placed.listen(charging(small_bank), on_error=policy)  # noqa: E731
    with hosted(ShopApi, service(listen)) as host:
        host.bus.shop.placed.fire(number=5, note="fails")
        host.settle()
        host.advance(1)
        host.settle()
        assert len(host.dead_letters("charge")) == 1
        assert small_bank.notes == []
    assert small_bank.balance == 0


def test_lists_have_only_what_is_new(small_bank: Bank) -> None:
    lists: list[list[int]] = []

    @in_django(small_bank)
    def charge(events: list[EventMessage]) -> None:
        lists.append([each.kwargs["number"] for each in events])
        for each in events:
            small_bank.pay_in(each.kwargs["number"])
        if len(events) > 1 and any(each.kwargs["note"] == "fails" for each in events):
            raise ValueError("not together")

    listen = lambda bus: bus.shop.placed.listen(charge, bus_options={"batch": 10})  # noqa: E731
    with hosted(ShopApi, service(listen)) as host:
        host.bus.shop.placed.fire_many(
            [{"number": n} for n in (1, 2, 1)], bus_options={"ids": ["a", "b", "a"]}
        )
        host.settle()
        host.bus.shop.placed.fire_many(
            [{"number": 4, "note": "fails"}, {"number": 2}, {"number": 8}],
            bus_options={"ids": ["c", "b", "d"]},
        )
        host.settle()
        assert inboxes(host) == {("charge", "new"): 4, ("charge", "done_before"): 2}
    # After the list has failed, each of its events comes alone.
    assert lists == [[1, 2], [4, 8], [4], [8]]
    assert small_bank.balance == 15


def test_arguments_are_converted_and_refused_by_the_hints_of_the_handler(small_bank: Bank) -> None:
    got: list[object] = []

    @in_django(small_bank)
    def charge(event_message: EventMessage, number: float, note: str) -> None:
        got.append(number)

    with hosted(ShopApi, service(lambda bus: bus.shop.placed.listen(charge))) as host:
        host.bus.shop.placed.fire(number=5)
        host.settle()
    assert got == [5.0] and isinstance(got[0], float)

    @in_django(small_bank)
    def lacking(event_message: EventMessage, number: int) -> None: ...

    with pytest.raises(InvalidListener, match="lacks note"):
        with hosted(ShopApi, service(lambda bus: bus.shop.placed.listen(lacking))):
            pass


@pytest.mark.parametrize(("keep", "warns"), [("1h", False), ("10m", True)])
def test_a_keep_that_is_shorter_than_the_retries_is_told(
    small_bank: Bank, caplog: pytest.LogCaptureFixture, keep: str, warns: bool
) -> None:
    listen = lambda bus: bus.shop.placed.listen(charging(small_bank, keep=keep))  # noqa: E731
    with hosted(ShopApi, service(listen)):
        assert ("its inbox forgets an event 600 s after" in caplog.text) is warns


def test_an_inbox_that_can_not_work_keeps_the_service_from_starting(small_bank: Bank) -> None:
    from lightbus.django import inbox

    @inbox(using="nothing")
    def charge(event_message: EventMessage, number: int, note: str) -> None: ...

    with pytest.raises(
        InvalidListener, match=r"test_worker\.py:\d+: the listener charge: .* no database 'noth"
    ):
        with hosted(ShopApi, service(lambda bus: bus.shop.placed.listen(charge))):
            pass


def test_a_decorator_that_hides_it_is_told(small_bank: Bank, caplog: pytest.LogCaptureFixture) -> None:
    inner = charging(small_bank)

    def hiding(event_message: EventMessage, **arguments: Any) -> None:
        inner(event_message, **arguments)

    assert not hasattr(hiding, MARK)
    policy = DeliveryPolicy(attempts=1)
    listen = lambda bus: bus.shop.placed.listen(hiding, on_error=policy)  # noqa: E731
    with caplog.at_level(logging.ERROR), hosted(ShopApi, service(listen)) as host:
        host.bus.shop.placed.fire(number=5)
        host.settle()
        assert "charge() has an inbox, but it was not called by its listener" in caplog.text
    assert small_bank.balance == 0


def test_an_object_that_is_called_may_have_it(small_bank: Bank) -> None:
    class Charge:
        @in_django(small_bank)
        def __call__(self, event_message: EventMessage, number: int, note: str) -> None:
            small_bank.pay_in(number)

    handler = functools.partial(Charge())
    listen = lambda bus: bus.shop.placed.listen(handler, listener_name="charge")  # noqa: E731
    with hosted(ShopApi, service(listen)) as host:
        host.bus.shop.placed.fire(number=5, **TWICE)
        host.bus.shop.placed.fire(number=5, **TWICE)
        host.settle()
    assert small_bank.balance == 5
