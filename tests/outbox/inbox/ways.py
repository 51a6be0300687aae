"""Handlers with an inbox by way of Django and of SQLAlchemy, for what holds with either."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from sqlalchemy import Engine, NullPool, create_engine, text
from sqlalchemy.orm import Session, sessionmaker

from lightbus.declared.inbox import Handler
from lightbus.sqlalchemy import inbox

from .conftest import Bank, in_django

#: What a handler does: it gets what pays a number in, and the event, or the list of events.
Run = Callable[[Callable[[int], object], Any], object]
#: How Django's kinds of databases are reached by SQLAlchemy.
_DRIVERS = {"postgresql": "postgresql+psycopg", "mysql": "mysql+pymysql"}


class Way(Protocol):
    """How a handler uses the bank's database."""

    #: What a handler is to use for what may fail.
    nested: str

    def handler(self, run: Run, **options: Any) -> Handler:
        """A handler with an inbox."""

    def nesting(self) -> Any:
        """A savepoint within the handler that runs."""

    def fail(self) -> None:
        """Break a rule of the bank within the handler that runs."""

    def lose(self) -> None:
        """Roll back beneath the handler that runs, as MySQL does it at a deadlock: the connection goes on."""


class InDjango:
    """Django's ORM."""

    nested = r"transaction\.atomic\(\)"

    def __init__(self, bank: Bank) -> None:
        self._bank = bank

    def handler(self, run: Run, **options: Any) -> Handler:
        """A handler with an inbox."""

        @in_django(self._bank, **options)
        def charge(event_message: Any, **_: Any) -> None:
            run(self._bank.pay_in, event_message)

        return charge

    def nesting(self) -> Any:
        """A savepoint within the handler that runs."""
        from django.db import transaction

        return transaction.atomic(using=self._bank.alias)

    def fail(self) -> None:
        """Break a rule of the bank within the handler that runs."""
        self._bank.execute("INSERT INTO bank VALUES ('ann', 0)")

    def lose(self) -> None:
        """Roll back beneath the handler that runs."""
        from django.db import connections

        connections[self._bank.alias].connection.rollback()


class InSqlAlchemy:
    """SQLAlchemy's sessions."""

    nested = r"session\.begin_nested\(\)"

    def __init__(self, engine: Engine) -> None:
        self._maker = sessionmaker(engine)
        self._session: Session | None = None

    def handler(self, run: Run, **options: Any) -> Handler:
        """A handler with an inbox."""

        @inbox(self._maker, **options)
        def charge(event_message: Any, session: Session, **_: Any) -> None:
            self._session = session
            pay = text("UPDATE bank SET balance = balance + :number")
            run(lambda number: session.execute(pay, {"number": number}), event_message)

        return charge

    def nesting(self) -> Any:
        """A savepoint within the handler that runs."""
        assert self._session is not None
        return self._session.begin_nested()

    def fail(self) -> None:
        """Break a rule of the bank within the handler that runs."""
        assert self._session is not None
        self._session.execute(text("INSERT INTO bank VALUES ('ann', 0)"))

    def lose(self) -> None:
        """Roll back beneath the handler that runs."""
        assert self._session is not None
        self._session.connection().connection.rollback()


@contextmanager
def way_of(name: str, bank: Bank) -> Iterator[Way]:
    """The way of a library."""
    if name == "django":
        yield InDjango(bank)
        return
    engine = create_engine(url_of(bank), poolclass=NullPool)
    yield InSqlAlchemy(engine)
    engine.dispose()


def url_of(bank: Bank) -> str:
    """Where SQLAlchemy finds the bank's database."""
    from django.db import connections

    settings, vendor = connections[bank.alias].settings_dict, connections[bank.alias].vendor
    if vendor == "sqlite":
        return f"sqlite:///{settings['NAME']}"
    where = f"{settings['USER']}@{settings['HOST']}:{settings['PORT']}"
    return f"{_DRIVERS[vendor]}://{where}/{settings['NAME']}"
