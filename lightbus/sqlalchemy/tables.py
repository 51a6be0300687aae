"""The tables of an outbox in a database of SQLAlchemy's, as its relay uses them."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, timedelta
from typing import Any

from sqlalchemy import (
    Connection,
    Engine,
    Select,
    Update,
    bindparam,
    delete,
    exists,
    func,
    insert,
    literal,
    select,
    text,
    true,
    update,
)
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.pool import SingletonThreadPool, StaticPool
from sqlalchemy.util import await_only

from lightbus.outbox.database import Batch, CannotListen, DatabaseFailed, Outcome, first_line_of, told
from lightbus.outbox.postgresql import LISTEN, WHO, Ear
from lightbus.outbox.rows import (
    BUCKETS,
    FAILED,
    HELD,
    MOST_COUNTED,
    ROW_COLUMNS,
    SENT,
    WAITING,
    Row,
    Stuck,
    Waiting,
)

from .schema import EVENTS, LOCKS, now
from .writing import table_missing

logger = logging.getLogger(__name__)

#: Pools of databases in memory, which end with their connection.
_OF_MEMORY = (SingletonThreadPool, StaticPool)
_COLUMNS = [EVENTS.c[name] for name in ROW_COLUMNS]


class SqlAlchemyTables:
    """The tables of an outbox in the database of an engine.

    Args:
        engine: The engine.
        name: Its name in the manifest.
        notify: Whether signs of those who write are waited for.
    """

    def __init__(self, engine: Engine, name: str, *, notify: bool = False) -> None:
        self.name = f"sqlalchemy:{name}"
        self.is_exclusive = engine.dialect.name == "sqlite"
        self.listens = notify
        # Each statement is to see what others have committed before it.
        self._engine = (
            engine if self.is_exclusive else engine.execution_options(isolation_level="READ COMMITTED")
        )
        self._connection: Connection | None = None
        self._has_locks = False
        # Whether the last batch has left something behind, and had all of its buckets.
        self._is_behind = self._led_all = False
        self._ear: Ear | None = None

    @told(SQLAlchemyError)
    def begin(self, buckets: Sequence[int], limit: int) -> Batch | None:
        """Begin a transaction, lead these buckets in it, and read what waits there."""
        connection = self._connected()
        if not self._is_behind:
            waits = EVENTS.c.state == WAITING
            is_something_there = connection.scalar(select(exists().where(waits, _among(buckets))))
            # While nothing waits, the database has nothing to write.
            connection.rollback()
            if not is_something_there:
                return None
        self._is_behind = False
        if not self._has_locks:
            self._make_locks(connection)
        led = self._lead(connection, buckets)
        if not led:
            connection.rollback()
            return None
        read = connection.execute(reading(led, limit)).all()
        rows = [Row._make(columns[:-1]) for columns in read]
        self._is_behind = len(rows) >= limit
        if not rows or not read[0].any_stuck:
            return Batch(rows)
        return Batch(rows, frozenset(connection.scalars(_stuck_keys())))

    def _lead(self, connection: Connection, buckets: Sequence[int]) -> Sequence[int]:
        """Return the buckets that this transaction has locked: all, as a rule, or none.

        Relays of one partition compete for its first one. The others are theirs alone, unless a relay runs
        that has another number of partitions.
        """
        if self.is_exclusive:
            # An UPDATE as the first statement takes SQLite's one lock, as BEGIN IMMEDIATE does.
            taken = connection.execute(_touch().where(LOCKS.c.part.in_(buckets)))
            self._has_locks = bool(taken.rowcount)
            return buckets if self._has_locks else ()
        lock = select(LOCKS.c.part).with_for_update(skip_locked=True)
        ours = lock.where(LOCKS.c.part.in_(buckets)).order_by(LOCKS.c.part)
        if self._led_all:
            # Whoever led the last batch mostly leads this one, too: then one statement will do.
            led = connection.scalars(ours).all()
            self._led_all = len(led) == len(buckets)
            return led if self._led_all else ()
        if not connection.scalars(lock.where(LOCKS.c.part == buckets[0])).all():
            # Somebody may have emptied the table.
            there = select(exists().where(LOCKS.c.part == buckets[0]))
            self._has_locks = bool(connection.scalar(there))
            return ()
        led = connection.scalars(ours).all()
        self._led_all = len(led) == len(buckets)
        return led

    def _make_locks(self, connection: Connection) -> None:
        """Make the rows that relays lock, in a transaction of their own: else others would wait."""
        known = set(connection.scalars(select(LOCKS.c.part)))
        missing = [{"part": part} for part in range(BUCKETS) if part not in known]
        try:
            if missing:
                connection.execute(insert(LOCKS), missing)
            connection.commit()
        except IntegrityError:
            # Another relay has made them just now.
            connection.rollback()
        self._has_locks = True

    @told(SQLAlchemyError)
    def finish(self, outcome: Outcome) -> None:
        """Write what has become of the rows, and commit."""
        connection = self._connection
        if connection is None:
            raise DatabaseFailed("the connection is gone")
        if outcome.sent:
            # As numbers in the text: hundreds of parameters cost more than what is done with them.
            seqs: Any = bindparam("seqs", outcome.sent, expanding=True, literal_execute=True)
            ours = EVENTS.c.seq.in_(seqs)
            kept = update(EVENTS).where(ours).values(state=SENT)
            connection.execute(kept if outcome.kept else delete(EVENTS).where(ours))
        for seq, error in outcome.failed.items():
            marked = update(EVENTS).where(EVENTS.c.seq == seq)
            tried = EVENTS.c.attempts + 1
            connection.execute(marked.values(state=FAILED, error=error, attempts=tried))
        if outcome.held:
            held = update(EVENTS).where(EVENTS.c.seq.in_(outcome.held)).values(state=HELD)
            connection.execute(held)
        connection.commit()

    def _connected(self) -> Connection:
        """Return the connection, which no pool has, so that those who write never wait for it."""
        if self._connection is None:
            self._connection = self._engine.connect()
            if not isinstance(self._engine.pool, _OF_MEMORY):
                self._connection.detach()
        # From a transaction that was begun for a task that has ended meanwhile.
        self._connection.rollback()
        return self._connection

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        connection = self._connected()
        with connection.begin():
            yield connection

    @told(SQLAlchemyError)
    def rollback(self) -> None:
        """End the transaction, if there is one, without a change."""
        if self._connection is not None:
            self._connection.rollback()

    def failure_of(self, error: Any) -> Exception:
        """Return what a relay is told in place of an error of SQLAlchemy's."""
        missing = table_missing(error) if isinstance(error, DBAPIError) else None
        return missing or DatabaseFailed(first_line_of(error))

    def reset(self) -> None:
        """Drop the connection, which may be broken, with its transaction."""
        connection, self._connection, self._ear = self._connection, None, None
        if connection is None:
            return
        try:
            raw = None if connection.invalidated else connection.connection.dbapi_connection
            connection.invalidate()
            connection.close()
            if raw is not None:
                # No pool has it, so nobody else ends it.
                connection.dialect.do_terminate(raw)
        except (SQLAlchemyError, connection.dialect.loaded_dbapi.Error) as e:
            logger.debug("%s: the connection was broken, and is no longer used: %s", self.name, e)

    @told(SQLAlchemyError)
    def prune(self, seconds: float) -> None:
        """Delete the rows that were sent and are older than that."""
        old = now() - timedelta(seconds=seconds)
        with self._transaction() as connection:
            connection.execute(delete(EVENTS).where(EVENTS.c.state == SENT, EVENTS.c.created_at < old))

    @told(SQLAlchemyError)
    def waiting(self) -> Waiting:
        """Return how full the outbox is."""
        waits = EVENTS.c.state.in_((WAITING, HELD))
        with self._transaction() as connection:
            rows = _number(connection, waits)
            failed = _number(connection, EVENTS.c.state == FAILED)
            first = select(EVENTS.c.created_at).where(waits).order_by(EVENTS.c.seq).limit(1)
            return Waiting(rows, _age(connection.scalar(first)), failed)

    @told(SQLAlchemyError)
    def stuck(self, limit: int) -> Sequence[Stuck]:
        """Return rows that can't be sent, the oldest first."""
        more = EVENTS.c.error, EVENTS.c.attempts, EVENTS.c.created_at
        failed = select(*_COLUMNS, *more).where(EVENTS.c.state == FAILED)
        found = []
        with self._transaction() as connection:
            for *row, error, attempts, created in connection.execute(
                failed.order_by(EVENTS.c.seq).limit(limit)
            ):
                made = Row(*row)
                behind = (EVENTS.c.state == HELD) & (EVENTS.c.key == made.key)
                held = _number(connection, behind) if made.key else 0
                found.append(Stuck(made, error, attempts, _age(created), held))
        return found

    @told(SQLAlchemyError)
    def retry(self, seqs: Sequence[int] | None) -> int:
        """Have rows sent that could not be, and those that wait for them; count them."""
        return self._decide(seqs, update(EVENTS).values(state=WAITING, error=""))

    @told(SQLAlchemyError)
    def drop(self, seqs: Sequence[int] | None) -> int:
        """Delete rows that could not be sent; those that wait for them go on."""
        return self._decide(seqs, delete(EVENTS))

    def _decide(self, seqs: Sequence[int] | None, statement: Any) -> int:
        these = true() if seqs is None else EVENTS.c.seq.in_(list(seqs))
        with self._transaction() as connection:
            # Batches on their way may hold rows because of those that change here.
            if self.is_exclusive:
                connection.execute(_touch())
            else:
                connection.execute(select(LOCKS.c.part).order_by(LOCKS.c.part).with_for_update()).all()
            number: int = connection.execute(statement.where(EVENTS.c.state == FAILED, these)).rowcount
            left = list(connection.scalars(_stuck_keys()))
            held = update(EVENTS).where(EVENTS.c.state == HELD, EVENTS.c.key.not_in(left))
            connection.execute(held.values(state=WAITING))
        return number

    @told(SQLAlchemyError)
    def wait(self, seconds: float) -> bool:
        """Wait for a sign that something was written."""
        if self._ear is not None:
            if self._engine.dialect.is_async:
                return await_only(self._ear.wait_on_loop(seconds))
            return self._ear.wait(seconds)
        if self._engine.dialect.name != "postgresql":
            name = self._engine.dialect.name
            raise CannotListen(f"{name} has nothing like NOTIFY; only PostgreSQL has")
        with self._transaction() as connection:
            process = connection.scalar(text(WHO))
            raw: Any = connection.connection.dbapi_connection
            self._ear = Ear(connection.dialect.get_driver_connection(raw), process)
            connection.execute(text(LISTEN))
        return True

    @told(SQLAlchemyError)
    def close(self) -> None:
        """Close the connection."""
        connection, self._connection, self._ear = self._connection, None, None
        if connection is None or connection.invalidated:
            return
        raw, dialect = connection.connection.dbapi_connection, connection.dialect
        connection.close()
        if raw is not None and dialect.is_async and not dialect.has_terminate:
            # SQLAlchemy ends no connection of such a driver that no pool has.
            dialect.do_close(raw)


def reading(buckets: Sequence[int], limit: int) -> Select[Any]:
    """Return the statement that reads what waits in some buckets, and whether any key is stuck."""
    any_stuck = exists(_stuck_keys().with_only_columns(literal(1))).label("any_stuck")
    waits = select(*_COLUMNS, any_stuck).where(EVENTS.c.state == WAITING, _among(buckets))
    return waits.order_by(EVENTS.c.seq).limit(limit)


def _stuck_keys() -> Select[Any]:
    """Return the statement that reads the keys of rows that can't be sent."""
    return select(EVENTS.c.key).distinct().where(EVENTS.c.state == FAILED, EVENTS.c.key != "")


def _touch() -> Update:
    return update(LOCKS).values(part=LOCKS.c.part)


def _among(buckets: Sequence[int]) -> Any:
    return true() if len(buckets) == BUCKETS else EVENTS.c.bucket.in_(buckets)


def _number(connection: Connection, condition: Any) -> int:
    some = select(literal(1)).select_from(EVENTS).where(condition).limit(MOST_COUNTED).subquery()
    return connection.scalar(select(func.count()).select_from(some)) or 0


def _age(moment: Any) -> float:
    if moment is None:
        return 0.0
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, float((now() - aware).total_seconds()))
