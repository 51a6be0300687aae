"""The notes of an inbox as statements of SQLAlchemy's, within a session."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Final, NoReturn

from sqlalchemy import Connection, Insert, delete, event, insert, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.orm import Session, SessionTransaction

from lightbus.exceptions import InboxError, InboxTableMissing
from lightbus.outbox.inbox import STEP, Key, by_event, parted, rolled_back

from .schema import NOTES, now
from .writing import commits_each, without_table

_IGNORING: Final = insert(NOTES).prefix_with("IGNORE")
#: How each kind of database adds rows that are not there, and counts them.
INSERTS: Final[dict[str, Insert]] = {
    name: statement.inline().execution_options(preserve_rowcount=True)
    for name, statement in {
        "postgresql": postgresql.insert(NOTES).on_conflict_do_nothing(),
        "sqlite": sqlite.insert(NOTES).on_conflict_do_nothing(),
        "mysql": _IGNORING,
        "mariadb": _IGNORING,
    }.items()
}
#: The mark of a connection on which a statement has failed.
_FAILED = "lightbus_failed"


class SessionNotes:
    """The notes of an inbox in the transaction of a session.

    Args:
        session: The session.
        transaction: Its transaction.
        function: The handler.
    """

    def __init__(
        self, session: Session, transaction: SessionTransaction, function: Callable[..., object]
    ) -> None:
        #: The session.
        self.session = session
        self._transaction = transaction
        self._function = function
        self._connection: Connection | None = None
        self._is_running = False

    def add(self, keys: Sequence[Key]) -> int:
        """Add notes that are not there; wait for others who add the same. Return how many were added."""
        connection, number, moment = self._connected(), 0, now()
        if connection.dialect.name not in INSERTS:
            raise InboxError(
                "an inbox needs PostgreSQL, MySQL, MariaDB or SQLite; this database is "
                f"{connection.dialect.name}"
            )
        if commits_each(connection):
            raise InboxError(
                "this session has the isolation level AUTOCOMMIT, so that the effects of the handler would "
                "not commit with the note that it is done; use an engine without it"
            )
        statement = INSERTS[connection.dialect.name]
        try:
            if len(keys) == 1:
                return connection.execute(statement, _row(keys[0], moment)).rowcount
            for part in parted(keys):
                number += connection.execute(statement.values([_row(key, moment) for key in part])).rowcount
        except DBAPIError as e:
            _raise(e)
        return number

    def known(self, keys: Sequence[Key]) -> Collection[Key]:
        """Return those that are there."""
        connection, found = self._connected(), set[Key]()
        columns = NOTES.c.group, NOTES.c.event, NOTES.c.event_id
        for group, name, ids in by_event(keys):
            rows = select(*columns).filter_by(group=group, event=name).where(NOTES.c.event_id.in_(ids))
            found.update((row[0], row[1], row[2]) for row in connection.execute(rows))
        return found

    def roll_back(self) -> None:
        """Let the transaction end without a change."""
        self.session.rollback()

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Refuse a commit while the handler runs, and note whether a statement fails."""
        connection = self._connected()
        if not event.contains(connection.engine, "handle_error", _note_failure):
            event.listen(connection.engine, "handle_error", _note_failure)
        connection.info.pop(_FAILED, None)
        event.listen(self.session, "before_commit", self._before_commit)
        self._is_running = True
        try:
            yield
        finally:
            self._is_running = False

    def check(self, keys: Sequence[Key]) -> None:
        """Look whether a commit would commit them, once the handler has run.

        Raises:
            InboxError: It would not.
        """
        is_over = not self._transaction.is_active
        if not is_over and self._connected().info.pop(_FAILED, False):
            # PostgreSQL rolls back after any error, and calls that a commit; MySQL after a deadlock.
            try:
                is_over = not self.known(keys[:1])
            except SQLAlchemyError:
                is_over = True
        if is_over:
            raise rolled_back(self._function, "a session.begin_nested() of its own")

    def _connected(self) -> Connection:
        """Return the connection on which the session would write a note."""
        if self._connection is None:
            self._connection = self.session.connection(bind_arguments={"clause": _ANY})
        return self._connection

    def _before_commit(self, session: Session) -> None:
        if self._is_running and session.get_nested_transaction() is None:
            name = getattr(self._function, "__name__", "the handler")
            raise InboxError(
                f"{name}() may not commit: its inbox commits what it has written, together with the note "
                "that it is done; take session.commit() out"
            )


_ANY = select(NOTES.c.id)


def delete_old(session: Session, groups: Collection[str], old: datetime) -> int:
    """Delete a few notes that are older than they are to be kept; return how many of one group."""
    connection, most = session.connection(bind_arguments={"clause": _ANY}), 0
    for group in groups:
        rows = select(NOTES.c.id).where(NOTES.c.group == group, NOTES.c.handled_at < old)
        # By their keys: a range would keep MySQL from adding notes meanwhile.
        keys = connection.scalars(rows.order_by(NOTES.c.handled_at).limit(STEP)).all()
        if keys:
            connection.execute(delete(NOTES).where(NOTES.c.id.in_(keys)))
        most = max(most, len(keys))
    return most


def _row(key: Key, moment: datetime) -> dict[str, Any]:
    group, name, event_id = key
    return {"group": group, "event": name, "event_id": event_id, "handled_at": moment}


def _note_failure(context: ExceptionContext) -> None:
    if context.connection is not None:
        context.connection.info[_FAILED] = True


def _raise(error: DBAPIError) -> NoReturn:
    said = without_table(error, "inbox")
    if said:
        raise InboxTableMissing(said) from error
    raise error
