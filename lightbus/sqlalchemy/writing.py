"""``outbox(bus, session)``: events that commit with what SQLAlchemy writes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar, cast

from sqlalchemy import Connection, Executable, insert, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, async_scoped_session
from sqlalchemy.orm import Session, scoped_session

from lightbus.exceptions import NotInTransaction, OutboxTableMissing, SyncCallOnEventLoop
from lightbus.outbox.path import outbox_of
from lightbus.outbox.postgresql import NOTIFY, notifies
from lightbus.outbox.rows import NewRow, values

from .schema import EVENTS

Bus = TypeVar("Bus")
Synchronous = Session | scoped_session[Session] | Connection
Asynchronous = AsyncSession | async_scoped_session[AsyncSession] | AsyncConnection

#: The most rows of one statement: databases bound the number of its parameters.
_MOST_AT_ONCE = 1_000
_NOTIFY = text(NOTIFY)


def outbox(
    bus: Bus,
    session: Synchronous | Asynchronous,
    *,
    key: str | None = None,
    require_transaction: bool = True,
) -> Bus:
    """Return the bus with events that are fired if the transaction commits, and only then.

    Args:
        bus: The bus.
        session: A session or a connection; with an asynchronous one, await ``fire_async()``.
        key: Events of one key are fired in the order in which their transactions have locked a row; an event
            that can't be sent keeps back those of its key that come after it.
        require_transaction: Whether a connection that commits each statement is an error.

    Returns:
        The same names; ``outbox(bus, session).shop.placed.fire(...)`` writes a row, and needs no Redis.
    """
    return outbox_of(bus, _Store(session, require_transaction, notifies(bus)), key)


class _Store:
    def __init__(self, session: Synchronous | Asynchronous, require_transaction: bool, notify: bool) -> None:
        self._session = session
        self._notifies = notify
        self._is_strict = require_transaction
        self._is_async = isinstance(session, AsyncSession | async_scoped_session | AsyncConnection)

    def insert(self, rows: Sequence[NewRow]) -> None:
        if self._is_async:
            raise SyncCallOnEventLoop("fire() of an outbox in an AsyncSession", "....fire_async(...)")
        session = cast("Synchronous", self._session)
        try:
            connection = session if isinstance(session, Connection) else session.connection()
            self._check(connection)
            for statement in self._statements(connection, rows):
                session.execute(statement)
        except DBAPIError as e:
            raise (table_missing(e) or e) from e

    async def insert_async(self, rows: Sequence[NewRow]) -> None:
        if not self._is_async:
            raise NotInTransaction(
                "fire_async() of an outbox takes an AsyncSession; this session is synchronous: write fire()"
            )
        session = cast("Asynchronous", self._session)
        connection = session if isinstance(session, AsyncConnection) else await session.connection()
        try:
            self._check(connection.sync_connection)
            for statement in self._statements(connection, rows):
                await session.execute(statement)
        except DBAPIError as e:
            raise (table_missing(e) or e) from e

    def _statements(
        self, connection: Connection | AsyncConnection, rows: Sequence[NewRow]
    ) -> Iterator[Executable]:
        for i in range(0, len(rows), _MOST_AT_ONCE):
            yield insert(EVENTS).values([dict(values(row)) for row in rows[i : i + _MOST_AT_ONCE]])
        if self._notifies and connection.dialect.name == "postgresql":
            yield _NOTIFY

    def _check(self, connection: Connection | None) -> None:
        if self._is_strict and connection is not None and commits_each(connection):
            raise NotInTransaction(
                "this connection has the isolation level AUTOCOMMIT, so that the event would not commit with "
                "the data; use an engine without it, or outbox(bus, session, require_transaction=False)"
            )


def commits_each(connection: Connection) -> bool:
    """Tell whether a connection commits each statement by itself; the database is not asked."""
    level = connection.get_execution_options().get("isolation_level")
    if level is not None:
        return str(level).upper() == "AUTOCOMMIT"
    dbapi = connection.connection.dbapi_connection
    return connection.dialect.detect_autocommit_setting(dbapi) if dbapi is not None else False


def table_missing(error: DBAPIError) -> OutboxTableMissing | None:
    """Return what to say where a table of the outbox is not there; None where something else is wrong."""
    said = without_table(error, "outbox")
    return OutboxTableMissing(said) if said else None


def without_table(error: DBAPIError, what: str) -> str:
    """Return what to say where a table is not there; nothing where something else is wrong."""
    code = getattr(error.orig, "sqlstate", None) or getattr(error.orig, "pgcode", None) or ""
    says = any(words in str(error.orig) for words in ("no such table", "doesn't exist"))
    if code != "42P01" and not says:
        return ""
    return (
        f"the database has no table for the {what}; write {what}_table(Base.metadata), by `from "
        f"lightbus.sqlalchemy import {what}_table`, beside your models, and run: alembic revision "
        f"--autogenerate -m {what} && alembic upgrade head"
    )
