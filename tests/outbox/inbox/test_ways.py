"""What ``@inbox()`` promises by way of each library, on each kind of database."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest

from lightbus.exceptions import InboxError, InboxTableMissing
from lightbus.messages import EventMessage
from lightbus.outbox import inbox as rules

from .conftest import GROUP, Bank, Listener, event
from .ways import Way, way_of


@pytest.fixture(params=["django", "sqlalchemy"])
def way(request: pytest.FixtureRequest, bank: Bank) -> Iterator[Way]:
    """Each library in turn."""
    with way_of(request.param, bank) as it:
        yield it


def charging(pay: Callable[[int], object], event_message: EventMessage) -> None:
    """Pay in what the event says."""
    pay(event_message.kwargs["number"])


def test_an_event_that_comes_twice_has_its_effects_once(bank: Bank, way: Way, listener: Listener) -> None:
    charge = way.handler(charging)
    for given in (event(5), event(5), event(7, "two"), event(5)):
        listener.call(charge, given)
    assert bank.balance == 12
    assert listener.counted == {"new": 2, "done_before": 2}
    assert bank.notes == [(GROUP, "shop.placed", "one"), (GROUP, "shop.placed", "two")]


def test_events_of_other_names_or_groups_and_ids_in_other_letters_are_others(
    bank: Bank, way: Way, listener: Listener
) -> None:
    charge = way.handler(charging)
    for given in (event(1, "a"), event(1, "A"), event(1, "a", "paid")):
        listener.call(charge, given)
    Listener("billing-other").call(charge, event(1, "a"))
    assert bank.balance == 4


@pytest.mark.parametrize("first_fails", [False, True])
def test_a_twin_waits_for_the_end_of_the_first(
    bank: Bank, way: Way, listener: Listener, first_fails: bool
) -> None:
    from django.db import connections

    begun, may_end, runs = threading.Event(), threading.Event(), []

    def run(pay: Callable[[int], object], event_message: EventMessage) -> None:
        runs.append(event_message)
        is_first = not begun.is_set()
        begun.set()
        assert may_end.wait(60)
        charging(pay, event_message)
        if is_first and first_fails:
            raise ValueError("the first fails")

    charge = way.handler(run)

    def call() -> None:
        try:
            listener.call(charge, event(5))
        except ValueError:
            assert first_fails
        finally:
            connections.close_all()

    threads = [threading.Thread(target=call) for _ in range(2)]
    threads[0].start()
    assert begun.wait(60)
    threads[1].start()
    # The second waits, so that what follows can't come too early for it, only too late to show anything.
    threads[1].join(0.05)
    assert threads[1].is_alive() and len(runs) == 1
    may_end.set()
    for thread in threads:
        thread.join(60)
    assert bank.balance == 5
    assert len(runs) == 1 + first_fails
    assert listener.counted == ({"new": 1} if first_fails else {"new": 1, "done_before": 1})


def test_a_list_has_only_what_is_new_in_its_order_and_in_one_transaction(
    bank: Bank, way: Way, listener: Listener
) -> None:
    lists: list[list[int]] = []

    def run(pay: Callable[[int], object], events: list[EventMessage]) -> None:
        lists.append([each.kwargs["number"] for each in events])
        pay(sum(lists[-1]))
        if len(lists) == 2:
            raise ValueError("all or nothing")

    charge = way.handler(run)
    listener.call(charge, [event(2, "b")])
    many = [event(4, "d"), event(2, "b"), event(1, "a"), event(4, "d"), event(3, "c")]
    with pytest.raises(ValueError, match="all or nothing"):
        listener.call(charge, many)
    assert bank.balance == 2
    for _ in range(2):
        listener.call(charge, many)
    # More than one statement has room for.
    for number in (500, 501):
        listener.call(charge, [event(1, str(n)) for n in range(number)])
    assert lists[:3] == [[2], [4, 1, 3], [4, 1, 3]]
    assert (bank.balance, len(bank.notes)) == (511, 505)
    assert listener.counted == {"new": 505, "done_before": 507}


def test_a_transaction_that_an_error_has_ended_is_told_though_the_error_was_caught(
    bank: Bank, way: Way, listener: Listener
) -> None:
    def careless(pay: Callable[[int], object], event_message: EventMessage) -> None:
        charging(pay, event_message)
        with pytest.raises(Exception, match=r"(?i)unique|duplicate"):
            way.fail()

    def careful(pay: Callable[[int], object], event_message: EventMessage) -> None:
        charging(pay, event_message)
        with pytest.raises(Exception, match=r"(?i)unique|duplicate"), way.nesting():
            way.fail()

    if bank.alias == "postgresql":
        with pytest.raises(InboxError, match=f"put what may fail into a {way.nested} of its own"):
            listener.call(way.handler(careless), event(5))
    else:
        listener.call(way.handler(careless), event(5))  # Here, only the statement has failed.
        bank.pay_in(-5)
    listener.call(way.handler(careful), event(7, "two"))
    assert bank.balance == 7
    assert (GROUP, "shop.placed", "two") in bank.notes


def test_a_deadlock_that_was_caught_does_not_pass_for_a_commit(
    bank: Bank, way: Way, listener: Listener
) -> None:
    def run(pay: Callable[[int], object], event_message: EventMessage) -> None:
        charging(pay, event_message)
        with pytest.raises(Exception, match=r"(?i)unique|duplicate"):
            way.fail()
        if bank.alias != "postgresql":
            way.lose()

    with pytest.raises(InboxError, match="can't commit any more"):
        listener.call(way.handler(run), event(5))
    assert (bank.balance, bank.notes) == (0, [])


def test_a_missing_table_is_told_with_its_remedy(bank: Bank, way: Way, listener: Listener) -> None:
    bank.execute("ALTER TABLE lightbus_inbox RENAME TO away")
    remedies = r"table for the inbox.* (manage\.py migrate lightbus --data|inbox_table\(.* alembic revision)"
    try:
        with pytest.raises(InboxTableMissing, match=remedies):
            listener.call(way.handler(charging), event(5))
    finally:
        bank.execute("ALTER TABLE away RENAME TO lightbus_inbox")
    assert bank.balance == 0


def test_old_notes_are_deleted_in_small_steps_and_those_of_others_stay(
    bank: Bank, way: Way, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    from django.utils import timezone

    from lightbus.django.models import InboxEvent

    monkeypatch.setattr(rules, "_SOON", 0.0)
    monkeypatch.setattr(rules, "_SECONDS", 86_400.0)
    now = timezone.now()
    ages = [(GROUP, n, 3) for n in range(700)] + [("billing-other", 0, 3), (GROUP, 1_000, 1)]
    InboxEvent.objects.using(bank.alias).bulk_create(
        InboxEvent(
            group=group, event="shop.placed", event_id=f"old-{n}", handled_at=now - timedelta(hours=age)
        )
        for group, n, age in ages
    )
    charge = way.handler(charging, keep="2h")
    listener.call(charge, event(1, "a"))
    assert len(bank.notes) == 702 - rules.STEP + 1
    listener.call(charge, event(1, "b"))
    kept = [(GROUP, "shop.placed", each) for each in ("a", "b", "old-1000")]
    assert bank.notes == [*kept, ("billing-other", "shop.placed", "old-0")]
    # From now on, not at each event.
    InboxEvent.objects.using(bank.alias).update(handled_at=now - timedelta(hours=3))
    listener.call(charge, event(1, "c"))
    assert len(bank.notes) == 5
    monkeypatch.setattr(rules, "_EVENTS", 2)
    listener.call(charge, event(1, "d"))
    assert [each for _, _, each in bank.notes] == ["c", "d", "old-0"]


def test_notes_that_can_not_be_deleted_do_not_fail_the_handler(
    small_bank: Bank, listener: Listener, caplog: pytest.LogCaptureFixture
) -> None:
    small_bank.execute(
        "CREATE TRIGGER stays BEFORE DELETE ON lightbus_inbox BEGIN SELECT RAISE(ABORT, 'it stays'); END"
    )
    note = (
        "INSERT INTO lightbus_inbox (\"group\", event, event_id, handled_at) VALUES (%s, 'e', %s, "
        "'2020-01-01')"
    )
    try:
        for name in ("django", "sqlalchemy"):
            small_bank.execute(note, GROUP, name)
            with way_of(name, small_bank) as way:
                listener.call(way.handler(charging, keep=1), event(5, name))
    finally:
        small_bank.execute("DROP TRIGGER stays")
    assert small_bank.balance == 10
    assert caplog.text.count("old notes of the inbox of charge could not be deleted: ") == 2
