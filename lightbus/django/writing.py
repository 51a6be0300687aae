"""``outbox(bus)``: events that commit with what Django's ORM writes."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any, TypeVar

from lightbus.exceptions import ConfigurationError, MissingExtra, NotInTransaction, OutboxTableMissing
from lightbus.outbox.path import outbox_of
from lightbus.outbox.postgresql import NOTIFY, notifies
from lightbus.outbox.rows import NewRow, values

try:
    from django.core.exceptions import AppRegistryNotReady, ImproperlyConfigured
    from django.db import DEFAULT_DB_ALIAS, DatabaseError, connections, transaction
except ImportError as e:
    raise MissingExtra("lightbus.django", "django") from e

Bus = TypeVar("Bus")

_ASYNC = (
    "Django's transactions are synchronous: put the whole block, from transaction.atomic() to "
    "outbox(bus)....fire(), into a function, and await sync_to_async(function)(...)"
)


def outbox(
    bus: Bus, *, using: str = DEFAULT_DB_ALIAS, key: str | None = None, require_transaction: bool = True
) -> Bus:
    """Return the bus with events that are fired if the transaction commits, and only then.

    Args:
        bus: The bus.
        using: Django's name of the database.
        key: Events of one key are fired in the order in which their transactions have locked a row; an event
            that can't be sent keeps back those of its key that come after it.
        require_transaction: Whether an event outside of ``transaction.atomic()`` is an error.

    Returns:
        The same names; ``outbox(bus).shop.placed.fire(...)`` writes a row, and needs no Redis.
    """
    return outbox_of(bus, _Store(using, require_transaction, notifies(bus)), key)


class _Store:
    def __init__(self, alias: str, require_transaction: bool, notify: bool) -> None:
        self._alias = alias
        self._is_strict = require_transaction
        self._notifies = notify

    def insert(self, rows: Sequence[NewRow]) -> None:
        connection = transaction.get_connection(self._alias)
        if self._is_strict and not connection.in_atomic_block and connection.get_autocommit():
            raise NotInTransaction(
                f"no transaction is open in the database {self._alias!r}: fire within `with "
                "transaction.atomic():`, together with what the event is about; "
                "outbox(bus, require_transaction=False) writes it by itself"
            )
        model = _models().OutboxEvent
        try:
            model.objects.using(self._alias).bulk_create([model(**values(row)) for row in rows])
            if self._notifies and connection.vendor == "postgresql":
                with connection.cursor() as cursor:
                    cursor.execute(NOTIFY)
        except DatabaseError as e:
            raise (table_missing(self._alias, e) or e) from e

    async def insert_async(self, rows: Sequence[NewRow]) -> None:
        raise NotInTransaction(f"fire_async() can't be within a transaction. {_ASYNC}")


def table_missing(alias: str, error: BaseException) -> OutboxTableMissing | None:
    """Return what to say where a table of the outbox is not there; None where something else is wrong."""
    said = without_table(alias, error, "outbox")
    return OutboxTableMissing(said) if said else None


def without_table(alias: str, error: BaseException, what: str) -> str:
    """Return what to say where a table is not there; nothing where something else is wrong."""
    cause = error.__cause__
    code = getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None) or ""
    says = any(words in str(error) for words in ("no such table", "doesn't exist"))
    if code != "42P01" and not says:
        return ""
    option = "" if alias == DEFAULT_DB_ALIAS else f" --database {alias}"
    return (
        f"the database {alias!r} has no table for the {what}; add 'lightbus.django' to INSTALLED_APPS, and "
        f"run: python manage.py migrate lightbus{option}"
    )


def models_of(alias: str) -> Any:
    """Return the models of the tables.

    Raises:
        ConfigurationError: Django is not set up, has no such database, or not the app.
    """
    try:
        if alias not in connections.databases:
            known = ", ".join(sorted(connections.databases))
            raise ConfigurationError(f"Django has no database {alias!r}; DATABASES has {known}")
        return import_module("lightbus.django.models")
    except (ImproperlyConfigured, AppRegistryNotReady) as e:
        raise ConfigurationError(
            "Django is not set up; write django: mysite.settings into the manifest, or call django.setup()"
        ) from e
    except RuntimeError as e:
        raise ConfigurationError(
            "'lightbus.django' is not among INSTALLED_APPS; add it, and run: python manage.py migrate"
        ) from e


def _models() -> Any:
    # Late: Django refuses models before its apps are loaded, and where the app is not installed.
    try:
        return import_module("lightbus.django.models")
    except RuntimeError as e:
        raise OutboxTableMissing(
            "Django does not know the tables of the outbox; add 'lightbus.django' to INSTALLED_APPS, and "
            "run: python manage.py migrate lightbus"
        ) from e


def close_if_broken_or_old(connection: Any) -> None:
    """Close a connection that is broken, or older than ``CONN_MAX_AGE``; the next query makes a new one.

    If that is 0, as by default, Django closes it after each request. Here it stays: to connect takes as long
    as to send a hundred events, or to handle ten.
    """
    if connection.errors_occurred or connection.settings_dict["CONN_MAX_AGE"]:
        connection.close_if_unusable_or_obsolete()
