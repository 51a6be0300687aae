"""What the tests of inboxes share: an account whose balance tells what was done, and a listener."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pytest

from lightbus.declared.inbox import Handler, Recipient, received
from lightbus.messages import EventMessage
from tests.host.conftest import bench, in_process  # noqa: F401 - fixtures
from tests.outbox.conftest import Outbox

GROUP = "billing-charge"


def event(number: int = 1, event_id: str = "one", name: str = "placed") -> EventMessage:
    """An event of the shop."""
    return EventMessage("shop", name, {"number": number}, id=event_id)


class Listener:
    """Calls a handler as the worker calls that of a listener.

    Args:
        groups: The groups under which its events are noted.
    """

    def __init__(self, *groups: str) -> None:
        self.counted: Counter[str] = Counter()
        noted: Mapping[str, Sequence[str]] = {"shop": groups or (GROUP,)}
        self.recipient = Recipient("charge", noted, self._add)

    def _add(self, name: str, outcome: str, *, by: int) -> None:
        assert name == "charge"
        self.counted[outcome] += by

    def call(self, handler: Handler, given: EventMessage | list[EventMessage], **more: Any) -> None:
        """Call a plain handler with an event, or a list of such."""
        arguments = more if isinstance(given, list) else {**given.kwargs, **more}
        received(handler, self.recipient, is_async=False)(given, **arguments)

    async def call_async(
        self, handler: Handler, given: EventMessage | list[EventMessage], **more: Any
    ) -> None:
        """Call a coroutine function with an event, or a list of such."""
        arguments = more if isinstance(given, list) else {**given.kwargs, **more}
        await received(handler, self.recipient, is_async=True)(given, **arguments)


@pytest.fixture
def listener() -> Listener:
    """A listener of the group ``billing-charge``."""
    return Listener()


class Bank:
    """An account in a database of Django's."""

    def __init__(self, alias: str) -> None:
        self.alias = alias

    @property
    def _cursor(self) -> Any:
        from django.db import connections

        return connections[self.alias].cursor()

    def execute(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Run a statement; returns the rows that it gives."""
        with self._cursor as cursor:
            cursor.execute(statement, values)
            return list(cursor.fetchall()) if cursor.description else []

    def pay_in(self, number: int) -> None:
        """Raise the balance."""
        self.execute("UPDATE bank SET balance = balance + %s", number)

    @property
    def balance(self) -> int:
        """The balance."""
        return int(self.execute("SELECT balance FROM bank")[0][0])

    @property
    def notes(self) -> list[tuple[str, str, str]]:
        """The events that the inbox has, each with its group and name."""
        from lightbus.django.models import InboxEvent

        rows = InboxEvent.objects.using(self.alias).order_by("group", "event", "event_id")
        return list(rows.values_list("group", "event", "event_id"))


@pytest.fixture
def bank(outbox: Outbox) -> Iterator[Bank]:
    """An empty account in each kind of database in turn, beside an empty inbox."""
    yield from opened(outbox)


@pytest.fixture
def small_bank(sqlite: Outbox) -> Iterator[Bank]:
    """An empty account in SQLite, for what is the same in each database."""
    yield from opened(sqlite)


def opened(outbox: Outbox) -> Iterator[Bank]:
    """Make the account, and remove it."""
    bank = Bank(outbox.alias)
    bank.execute("CREATE TABLE bank (name varchar(20) PRIMARY KEY, balance integer NOT NULL)")
    bank.execute("INSERT INTO bank VALUES ('ann', 0)")
    yield bank
    bank.execute("DROP TABLE bank")


def in_django(bank: Bank, **options: Any) -> Callable[[Handler], Handler]:
    """The inbox of Django in the bank's database."""
    from lightbus.django import inbox

    return inbox(using=bank.alias, **options)
