"""The tables of an outbox in a database of Django's, as its relay uses them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.db import DatabaseError, InterfaceError, connections, transaction
from django.db.models import Exists, F, SmallIntegerField
from django.utils import timezone

from lightbus.outbox.database import Batch, CannotListen, DatabaseFailed, Outcome, first_line_of, told
from lightbus.outbox.postgresql import LISTEN, WHO, Ear
from lightbus.outbox.rows import (
    BUCKETS,
    FAILED,
    HELD,
    MOST_COUNTED,
    OUTBOX,
    ROW_COLUMNS,
    SENT,
    WAITING,
    Row,
    Stuck,
    Waiting,
)

from .writing import close_if_broken_or_old, models_of, table_missing


class DjangoTables:
    """The tables of an outbox in a database of Django's.

    Args:
        alias: Django's name of the database.
        notify: Whether signs of those who write are waited for.

    Raises:
        ConfigurationError: There is no such database, or the app is not installed.
    """

    def __init__(self, alias: str, *, notify: bool = False) -> None:
        self.alias = alias
        self.name = f"django:{alias}"
        models = models_of(alias)
        self._outbox, self._lock = models.OutboxEvent, models.OutboxLock
        self._vendor = connections[alias].vendor
        self.is_exclusive = self._vendor == "sqlite"
        self.listens = notify
        self._ear: Ear | None = None
        self._atomic: Any = None
        self._has_locks = False
        # Whether the last batch has left something behind, and had all of its buckets.
        self._is_behind = self._led_all = False

    @told(DatabaseError, InterfaceError)
    def begin(self, buckets: Sequence[int], limit: int) -> Batch | None:
        """Begin a transaction, lead these buckets in it, and read what waits there."""
        # One that was begun for a task that has ended meanwhile.
        self.rollback()
        self._leave_pool()
        if self._ear is None:
            close_if_broken_or_old(connections[self.alias])
        # Outside of a transaction: while nothing waits, the database has nothing to write.
        if not self._is_behind and not self._waiting(buckets).exists():
            return None
        self._is_behind = False
        if not self._has_locks:
            self._make_locks()
        self._atomic = transaction.atomic(using=self.alias)
        self._atomic.__enter__()
        led = self._lead(buckets)
        if not led:
            self.rollback()
            return None
        stuck = self._stuck_keys()
        # As a number: Django would make a bool of each one.
        any_stuck = Exists(stuck, output_field=SmallIntegerField())
        waiting = self._waiting(led).order_by("seq").annotate(any_stuck=any_stuck)
        read = list(waiting.values_list(*ROW_COLUMNS, "any_stuck")[:limit])
        rows = [Row._make(columns[:-1]) for columns in read]
        self._is_behind = len(rows) >= limit
        return Batch(rows, frozenset(stuck) if read and read[0][-1] else frozenset())

    def _stuck_keys(self) -> Any:
        """Return the keys of rows that can't be sent."""
        stuck = self._outbox.objects.using(self.alias).filter(state=FAILED).exclude(key="")
        return stuck.values_list("key", flat=True).distinct()

    def _leave_pool(self) -> None:
        """Give this thread a connection that no pool has, so that those who write never wait for it."""
        connection = connections[self.alias]
        if connection.settings_dict["OPTIONS"].get("pool"):
            connection.close()
            own = connection.copy()
            own.settings_dict["OPTIONS"].pop("pool")
            connections[self.alias] = own

    def _waiting(self, buckets: Sequence[int]) -> Any:
        rows = self._outbox.objects.using(self.alias).filter(state=WAITING)
        return rows if len(buckets) == BUCKETS else rows.filter(bucket__in=buckets)

    def _lead(self, buckets: Sequence[int]) -> Sequence[int]:
        """Return the buckets that this transaction has locked: all, as a rule, or none.

        Relays of one partition compete for its first one. The others are theirs alone, unless a relay runs
        that has another number of partitions.
        """
        locks = self._lock.objects.using(self.alias)
        if self.is_exclusive:
            # An UPDATE as the first statement takes SQLite's one lock, as BEGIN IMMEDIATE does.
            self._has_locks = bool(locks.filter(part__in=buckets).update(part=F("part")))
            return buckets if self._has_locks else ()
        lock = locks.select_for_update(skip_locked=True)
        ours = lock.filter(part__in=buckets).order_by("part").values_list("part", flat=True)
        if self._led_all:
            # Whoever led the last batch mostly leads this one, too: then one statement will do.
            led = list(ours)
            self._led_all = len(led) == len(buckets)
            return led if self._led_all else ()
        if not list(lock.filter(part=buckets[0])):
            # Somebody may have emptied the table.
            self._has_locks = locks.filter(part=buckets[0]).exists()
            return ()
        led = list(ours)
        self._led_all = len(led) == len(buckets)
        return led

    def _make_locks(self) -> None:
        """Make the rows that relays lock, in a transaction of their own: else others would wait."""
        locks = self._lock.objects.using(self.alias)
        # MySQL would wait for the locks of those that are there already.
        known = set(locks.values_list("part", flat=True))
        missing = [self._lock(part=part) for part in range(BUCKETS) if part not in known]
        locks.bulk_create(missing, ignore_conflicts=True)
        self._has_locks = True

    @told(DatabaseError, InterfaceError)
    def finish(self, outcome: Outcome) -> None:
        """Write what has become of the rows, and commit."""
        rows = self._outbox.objects.using(self.alias)
        if outcome.kept and outcome.sent:
            rows.filter(seq__in=outcome.sent).update(state=SENT)
        elif outcome.sent:
            self._delete(outcome.sent)
        for seq, error in outcome.failed.items():
            rows.filter(seq=seq).update(state=FAILED, error=error, attempts=F("attempts") + 1)
        if outcome.held:
            rows.filter(seq__in=outcome.held).update(state=HELD)
        atomic, self._atomic = self._atomic, None
        atomic.__exit__(None, None, None)

    def _delete(self, seqs: Sequence[int]) -> None:
        """Delete rows, by their numbers in the text: as parameters, they cost more than the deletion."""
        connection = connections[self.alias]
        table, seq = map(connection.ops.quote_name, (OUTBOX, "seq"))
        statement = f"DELETE FROM {table} WHERE {seq} IN ({', '.join(map(str, seqs))})"  # noqa: S608 - numbers
        with connection.cursor() as cursor:
            cursor.execute(statement)

    @told(DatabaseError, InterfaceError)
    def rollback(self) -> None:
        """End the transaction, if there is one, without a change."""
        atomic, self._atomic = self._atomic, None
        if atomic is not None:
            transaction.set_rollback(True, using=self.alias)
            atomic.__exit__(None, None, None)

    def failure_of(self, error: Any) -> Exception:
        """Return what a relay is told in place of an error of Django's."""
        return table_missing(self.alias, error) or DatabaseFailed(first_line_of(error))

    def reset(self) -> None:
        """Drop the connection, which may be broken, with its transaction."""
        self._ear = None
        atomic, self._atomic = self._atomic, None
        connection = connections[self.alias]
        if atomic is not None:
            try:
                transaction.set_rollback(True, using=self.alias)
                atomic.__exit__(None, None, None)
            except (DatabaseError, InterfaceError):
                # The transaction has ended with its connection.
                connection.in_atomic_block = False
        connection.close()

    @told(DatabaseError, InterfaceError)
    def prune(self, seconds: float) -> None:
        """Delete the rows that were sent and are older than that."""
        old = timezone.now() - timedelta(seconds=seconds)
        self._outbox.objects.using(self.alias).filter(state=SENT, created_at__lt=old).delete()

    @told(DatabaseError, InterfaceError)
    def waiting(self) -> Waiting:
        """Return how full the outbox is."""
        self._leave_pool()
        rows = self._outbox.objects.using(self.alias)
        waits = rows.filter(state__in=(WAITING, HELD))
        oldest = waits.order_by("seq").values_list("created_at", flat=True).first()
        age = 0.0 if oldest is None else max(0.0, (timezone.now() - oldest).total_seconds())
        return Waiting(waits[:MOST_COUNTED].count(), age, rows.filter(state=FAILED)[:MOST_COUNTED].count())

    @told(DatabaseError, InterfaceError)
    def stuck(self, limit: int) -> Sequence[Stuck]:
        """Return rows that can't be sent, the oldest first."""
        rows = self._outbox.objects.using(self.alias)
        fields = (*ROW_COLUMNS, "error", "attempts", "created_at")
        now, found = timezone.now(), []
        for *row, error, attempts, created in (
            rows.filter(state=FAILED).order_by("seq").values_list(*fields)[:limit]
        ):
            made = Row(*row)
            held = rows.filter(state=HELD, key=made.key).count() if made.key else 0
            found.append(Stuck(made, error, attempts, (now - created).total_seconds(), held))
        return found

    @told(DatabaseError, InterfaceError)
    def retry(self, seqs: Sequence[int] | None) -> int:
        """Have rows sent that could not be, and those that wait for them; count them."""
        with transaction.atomic(using=self.alias):
            self._stop_relays()
            number: int = self._failed(seqs).update(state=WAITING, error="")
            self._let_go()
        return number

    @told(DatabaseError, InterfaceError)
    def drop(self, seqs: Sequence[int] | None) -> int:
        """Delete rows that could not be sent; those that wait for them go on."""
        with transaction.atomic(using=self.alias):
            self._stop_relays()
            number: int = self._failed(seqs).delete()[0]
            self._let_go()
        return number

    def _failed(self, seqs: Sequence[int] | None) -> Any:
        failed = self._outbox.objects.using(self.alias).filter(state=FAILED)
        return failed if seqs is None else failed.filter(seq__in=list(seqs))

    def _stop_relays(self) -> None:
        """Wait for the batches on their way: they may hold rows because of those that change here."""
        locks = self._lock.objects.using(self.alias)
        if self.is_exclusive:
            locks.update(part=F("part"))
        else:
            list(locks.select_for_update().order_by("part"))

    def _let_go(self) -> None:
        """Let the rows wait no more whose key has no failed one left."""
        held = self._outbox.objects.using(self.alias).filter(state=HELD)
        held.exclude(key__in=list(self._stuck_keys())).update(state=WAITING)

    @told(DatabaseError, InterfaceError)
    def wait(self, seconds: float) -> bool:
        """Wait for a sign that something was written."""
        if self._ear is not None:
            return self._ear.wait(seconds)
        connection = connections[self.alias]
        if self._vendor != "postgresql":
            raise CannotListen(f"{connection.display_name} has nothing like NOTIFY; only PostgreSQL has")
        with connection.cursor() as cursor:
            cursor.execute(WHO)
            self._ear = Ear(connection.connection, cursor.fetchone()[0])
            cursor.execute(LISTEN)
        return True

    def close(self) -> None:
        """Close the connection of this thread."""
        self.reset()
