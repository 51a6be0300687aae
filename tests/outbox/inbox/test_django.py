"""``@inbox()`` in Django's transactions, on each kind of database."""

from __future__ import annotations

import functools
import threading
import warnings
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from lightbus.exceptions import (
    ConfigurationError,
    InboxError,
    InboxTableMissing,
    InvalidListener,
    InvalidMessage,
)
from lightbus.messages import EventMessage
from lightbus.outbox import inbox as rules

from .conftest import GROUP, Bank, Listener, event, in_django


def charging(bank: Bank, **options: Any) -> Callable[..., None]:
    @in_django(bank, **options)
    def charge(event_message: EventMessage, number: int) -> None:
        bank.pay_in(number)

    return charge


def test_an_event_that_comes_twice_has_its_effects_once(bank: Bank, listener: Listener) -> None:
    charge = charging(bank)
    for given in (event(5), event(5), event(7, "two"), event(5)):
        listener.call(charge, given)
    assert bank.balance == 12
    assert listener.counted == {"new": 2, "done_before": 2}
    assert bank.notes == [(GROUP, "shop.placed", "one"), (GROUP, "shop.placed", "two")]


def test_events_of_other_names_or_groups_and_ids_in_other_letters_are_others(
    bank: Bank, listener: Listener
) -> None:
    charge = charging(bank)
    for given in (event(1, "a"), event(1, "A"), event(1, "a", "paid")):
        listener.call(charge, given)
    Listener("billing-other").call(charge, event(1, "a"))
    assert bank.balance == 4


def test_what_a_handler_that_raises_has_done_is_undone_and_it_runs_again(
    bank: Bank, listener: Listener
) -> None:
    runs: list[int] = []

    @in_django(bank)
    def charge(event_message: EventMessage, number: int) -> None:
        bank.pay_in(number)
        runs.append(number)
        if len(runs) == 1:
            raise ValueError("not yet")

    with pytest.raises(ValueError, match="not yet"):
        listener.call(charge, event(5))
    assert (bank.balance, bank.notes, listener.counted) == (0, [], {})
    listener.call(charge, event(5))
    assert (bank.balance, len(runs)) == (5, 2)


@pytest.mark.parametrize("first_fails", [False, True])
def test_a_twin_waits_for_the_end_of_the_first(bank: Bank, listener: Listener, first_fails: bool) -> None:
    from django.db import connections

    begun, may_end, runs = threading.Event(), threading.Event(), []

    @in_django(bank)
    def charge(event_message: EventMessage, number: int) -> None:
        runs.append(number)
        is_first = not begun.is_set()
        begun.set()
        assert may_end.wait(60)
        bank.pay_in(number)
        if is_first and first_fails:
            raise ValueError("the first fails")

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
    bank: Bank, listener: Listener
) -> None:
    lists: list[list[int]] = []

    @in_django(bank)
    def charge(events: list[EventMessage]) -> None:
        lists.append([each.kwargs["number"] for each in events])
        for each in events:
            bank.pay_in(each.kwargs["number"])
        if len(lists) == 2:
            raise ValueError("all or nothing")

    listener.call(charge, [event(2, "b")])
    many = [event(4, "d"), event(2, "b"), event(1, "a"), event(4, "d"), event(3, "c")]
    with pytest.raises(ValueError, match="all or nothing"):
        listener.call(charge, many)
    assert bank.balance == 2
    listener.call(charge, many)
    listener.call(charge, many)
    assert lists == [[2], [4, 1, 3], [4, 1, 3]]
    assert bank.balance == 10
    assert listener.counted == {"new": 4, "done_before": 7}


def test_a_long_list_is_noted_by_few_statements(bank: Bank, listener: Listener) -> None:
    from django.db import connections
    from django.test.utils import CaptureQueriesContext

    @in_django(bank)
    def count(events: list[EventMessage]) -> None:
        bank.pay_in(len(events))

    with CaptureQueriesContext(connections[bank.alias]) as queries:
        listener.call(count, [event(1, str(n)) for n in range(500)])
    inserts = [each["sql"] for each in queries.captured_queries if each["sql"].startswith("INSERT")]
    assert len(inserts) == 3
    listener.call(count, [event(1, str(n)) for n in range(501)])
    assert (bank.balance, len(bank.notes)) == (501, 501)


def test_an_error_of_the_commit_is_the_handlers(bank: Bank, listener: Listener) -> None:
    from django.db import IntegrityError

    if bank.alias == "mariadb":
        return  # It checks foreign keys at once.
    bank.execute(
        "CREATE TABLE payment (who varchar(20) REFERENCES bank (name) DEFERRABLE INITIALLY DEFERRED)"
    )

    @in_django(bank)
    def charge(event_message: EventMessage, number: int) -> None:
        bank.pay_in(number)
        bank.execute("INSERT INTO payment VALUES ('nobody')")

    try:
        with pytest.raises(IntegrityError):
            listener.call(charge, event(5))
        assert (bank.balance, bank.notes, listener.counted) == (0, [], {})
    finally:
        bank.execute("DROP TABLE payment")


def test_a_transaction_that_an_error_has_ended_is_told_though_the_error_was_caught(
    bank: Bank, listener: Listener
) -> None:
    from django.db import IntegrityError, transaction

    @in_django(bank)
    def careless(event_message: EventMessage, number: int) -> None:
        bank.pay_in(number)
        with pytest.raises(IntegrityError):
            bank.execute("INSERT INTO bank VALUES ('ann', 0)")

    @in_django(bank)
    def careful(event_message: EventMessage, number: int) -> None:
        bank.pay_in(number)
        with pytest.raises(IntegrityError), transaction.atomic(using=bank.alias):
            bank.execute("INSERT INTO bank VALUES ('ann', 0)")

    if bank.alias == "postgresql":
        with pytest.raises(InboxError, match=r"put what may fail into a transaction\.atomic\(\) of its own"):
            listener.call(careless, event(5))
    else:
        listener.call(careless, event(5))  # Here, only the statement has failed.
        bank.pay_in(-5)
    listener.call(careful, event(7, "two"))
    assert bank.balance == 7
    assert (GROUP, "shop.placed", "two") in bank.notes


def test_a_deadlock_that_was_caught_does_not_pass_for_a_commit(bank: Bank, listener: Listener) -> None:
    from django.db import connections

    @in_django(bank)
    def charge(event_message: EventMessage, number: int) -> None:
        bank.pay_in(number)
        # As MySQL does it at a deadlock: the transaction is rolled back, and the connection goes on.
        with pytest.raises(Exception, match="nowhere"):
            bank.execute("SELECT * FROM nowhere")
        if bank.alias != "postgresql":
            connections[bank.alias].connection.rollback()
        bank_of_others.append(number)

    bank_of_others: list[int] = []
    with pytest.raises(InboxError, match="can't commit any more"):
        listener.call(charge, event(5))
    assert (bank.balance, bank.notes) == (0, [])


def test_a_rollback_by_the_handler_is_told(small_bank: Bank, listener: Listener) -> None:
    from django.db import transaction

    @in_django(small_bank)
    def charge(event_message: EventMessage, number: int) -> None:
        transaction.set_rollback(True, using=small_bank.alias)

    with pytest.raises(InboxError, match=r"charge\(\) has returned, but its transaction can't commit"):
        listener.call(charge, event(5))


def test_a_missing_table_is_told_with_its_remedy(bank: Bank, listener: Listener) -> None:
    bank.execute("ALTER TABLE lightbus_inbox RENAME TO away")
    try:
        with pytest.raises(
            InboxTableMissing, match=r"table for the inbox.* manage\.py migrate lightbus --data"
        ):
            listener.call(charging(bank), event(5))
    finally:
        bank.execute("ALTER TABLE away RENAME TO lightbus_inbox")
    assert bank.balance == 0


def test_an_event_that_was_noted_under_the_name_before_is_known(bank: Bank, listener: Listener) -> None:
    charge, renamed = charging(bank), Listener("billing-old", GROUP)
    Listener("billing-old").call(charge, event(5))
    renamed.call(charge, event(5))
    renamed.call(charge, event(7, "two"))
    listener.call(charge, event(7, "two"))
    assert bank.balance == 12


def test_old_notes_are_deleted_in_small_steps_and_those_of_others_stay(
    bank: Bank, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    from django.utils import timezone

    from lightbus.django.models import InboxEvent

    monkeypatch.setattr(rules, "_SOON", 0.0)
    now = timezone.now()
    ages = [(GROUP, n, 61) for n in range(700)] + [("billing-other", 0, 61), (GROUP, 1_000, 50)]
    InboxEvent.objects.using(bank.alias).bulk_create(
        InboxEvent(
            group=group, event="shop.placed", event_id=f"old-{n}", handled_at=now - timedelta(seconds=age)
        )
        for group, n, age in ages
    )
    charge = charging(bank, keep="60s")
    listener.call(charge, event(1, "a"))
    assert len(bank.notes) == 702 - rules.STEP + 1
    listener.call(charge, event(1, "b"))
    kept = [(GROUP, "shop.placed", each) for each in ("a", "b", "old-1000")]
    assert bank.notes == [*kept, ("billing-other", "shop.placed", "old-0")]
    # From now on, not at each event.
    InboxEvent.objects.using(bank.alias).update(handled_at=now - timedelta(seconds=61))
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
    try:
        charge = charging(small_bank, keep=1)
        small_bank.execute(
            'INSERT INTO lightbus_inbox ("group", event, event_id, handled_at) '
            "VALUES (%s, 'e', 'i', '2020-01-01')",
            GROUP,
        )
        listener.call(charge, event(5))
    finally:
        small_bank.execute("DROP TRIGGER stays")
    assert small_bank.balance == 5
    assert "old notes of the inbox of charge could not be deleted: it stays" in caplog.text


def test_by_hand_it_runs_in_a_transaction_and_notes_nothing(small_bank: Bank) -> None:
    from django.db import transaction

    @in_django(small_bank)
    def charge(event_message: EventMessage, number: int) -> str:
        assert transaction.get_connection(small_bank.alias).in_atomic_block
        small_bank.pay_in(number)
        return "charged"

    assert charge(event(), number=5) == "charged"
    assert charge(event_message=event(), number=5) == "charged"
    assert (small_bank.balance, small_bank.notes) == (10, [])


def test_other_decorators_may_stand_around_it_and_methods_beneath(
    small_bank: Bank, listener: Listener
) -> None:
    def logged(function: Any) -> Any:
        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            return function(*args, **kwargs)

        return call

    class Till:
        @logged
        @in_django(small_bank)
        def charge(self, event_message: EventMessage, number: int) -> None:
            small_bank.pay_in(number)

    till = Till()
    listener.call(till.charge, event(5))
    listener.call(functools.partial(till.charge), event(5))
    assert small_bank.balance == 5


def test_what_its_listener_does_not_call_is_refused(small_bank: Bank, listener: Listener) -> None:
    from lightbus.messages import handled

    charge = charging(small_bank)

    @in_django(small_bank)
    def other(event_message: EventMessage, number: int) -> None:
        charge(event_message, number=number)

    token = handled.set(["one"])
    try:
        with pytest.raises(InboxError, match=r"charge\(\) has an inbox, but .* functools\.wraps"):
            charge(event(), number=1)
        with pytest.raises(InboxError, match=r"charge\(\) has an inbox, but"):
            listener.call(other, event())
    finally:
        handled.reset(token)
    assert small_bank.balance == 0


def test_async_handlers_and_other_misuse_are_refused_where_they_are_written(small_bank: Bank) -> None:
    from lightbus.django import inbox

    with pytest.raises(
        InvalidListener, match=r"test_django\.py:\d+: charge is async def, but Django's .* def charge"
    ):

        @inbox()
        async def charge(event_message: EventMessage) -> None: ...

    def plain(event_message: EventMessage) -> None: ...

    for keep in ("soon", 0, "0.5s", "4000d", -1, True):
        with pytest.raises(InvalidListener, match="give a time from 1s to 3650d"):
            inbox(keep=keep)(plain)
    with pytest.raises(InvalidListener, match="has an inbox already"):
        inbox(inbox(plain))
    with pytest.raises(InvalidListener, match="decorates the function"):
        inbox(using="default")("default")  # type: ignore[type-var]


def test_what_is_to_be_awaited_is_refused(small_bank: Bank, listener: Listener) -> None:
    async def later() -> None: ...

    @in_django(small_bank)
    def charge(event_message: EventMessage, number: int) -> object:
        small_bank.pay_in(number)
        return later()

    with warnings.catch_warnings(), pytest.raises(InboxError, match="would run after its transaction"):
        listener.call(charge, event(5))
    assert small_bank.balance == 0


def test_ids_and_names_that_a_column_would_cut_are_refused(small_bank: Bank, listener: Listener) -> None:
    for given in (event(1, "x" * 201), event(1, "x", "e" * 251)):
        with pytest.raises(InvalidMessage, match="of up to 255 characters and ids of up to 200"):
            listener.call(charging(small_bank), given)


def test_a_database_that_can_not_have_it_is_told_before_anything_comes(small_bank: Bank) -> None:
    from django.db import connections

    from lightbus.declared.inbox import inbox_of
    from lightbus.django import inbox

    def checked(alias: str) -> None:
        found = inbox_of(inbox(using=alias)(lambda event_message: None))
        assert found is not None and found.name == f"django:{alias}"
        found.check()

    checked(small_bank.alias)
    with pytest.raises(ConfigurationError, match="no database 'nothing'"):
        checked("nothing")
    settings = connections[small_bank.alias].settings_dict
    settings["AUTOCOMMIT"] = False
    try:
        with pytest.raises(ConfigurationError, match="AUTOCOMMIT False"):
            checked(small_bank.alias)
    finally:
        settings["AUTOCOMMIT"] = True


def test_the_notes_of_a_group_are_found_by_their_age_by_an_index(bank: Bank) -> None:
    if bank.alias != "sqlite":
        return  # They plan by what is in the table.
    plan = bank.execute(
        "EXPLAIN QUERY PLAN SELECT id FROM lightbus_inbox WHERE \"group\" = 'g' "
        "AND handled_at < '2026-01-01' ORDER BY handled_at LIMIT 500"
    )
    assert "USING COVERING INDEX lightbus_inbox_age" in str(plan) and "B-TREE" not in str(plan)
