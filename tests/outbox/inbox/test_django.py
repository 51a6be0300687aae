"""``@inbox()`` in Django's transactions, on each kind of database."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any

import pytest

from lightbus.exceptions import (
    ConfigurationError,
    InboxError,
    InvalidListener,
    InvalidMessage,
)
from lightbus.messages import EventMessage

from .conftest import GROUP, Bank, Listener, event, in_django


def charging(bank: Bank, **options: Any) -> Callable[..., None]:
    @in_django(bank, **options)
    def charge(event_message: EventMessage, number: int) -> None:
        bank.pay_in(number)

    return charge


def test_events_that_follow_each_other_share_a_connection(bank: Bank, listener: Listener) -> None:
    from django.db import connections

    used = set()

    @in_django(bank)
    def charge(event_message: EventMessage, number: int) -> None:
        used.add(connections[bank.alias].connection)

    for name in ("a", "b"):
        listener.call(charge, event(1, name))
    assert len(used) == 1


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


def test_a_rollback_by_the_handler_is_told(small_bank: Bank, listener: Listener) -> None:
    from django.db import transaction

    @in_django(small_bank)
    def charge(event_message: EventMessage, number: int) -> None:
        transaction.set_rollback(True, using=small_bank.alias)

    with pytest.raises(InboxError, match=r"charge\(\) has returned, but its transaction can't commit"):
        listener.call(charge, event(5))


def test_an_event_that_was_noted_under_the_name_before_is_known(bank: Bank, listener: Listener) -> None:
    charge, renamed = charging(bank), Listener("billing-old", GROUP)
    Listener("billing-old").call(charge, event(5))
    renamed.call(charge, event(5))
    renamed.call(charge, event(7, "two"))
    listener.call(charge, event(7, "two"))
    assert bank.balance == 12


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
