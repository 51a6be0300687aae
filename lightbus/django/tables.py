"""The tables of an outbox in a database of Django's, as its relay uses them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.db import DatabaseError, InterfaceError, connections, transaction
from django.db.models import F
from django.utils import timezone

from lightbus.outbox.database import Batch, CannotListen, DatabaseFailed, Outcome, told
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

from .writing import models_of, table_missing


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

    @told(DatabaseError, InterfaceError)
    def begin(self, buckets: Sequence[int], limit: int) -> Batch | None:
        """Begin a transaction, lead these buckets in it, and read what waits there."""
        # One that was begun for a task that has ended meanwhile.
        self.rollback()
        self._leave_pool()
        if self._ear is None:
            connections[self.alias].close_if_unusable_or_obsolete()
        # Outside of a transaction: while nothing waits, the database has nothing to write.
        if not self._waiting(buckets).exists():
            return None
        if not self._has_locks:
            self._make_locks()
        self._atomic = transaction.atomic(using=self.alias)
        self._atomic.__enter__()
        led = self._lead(buckets)
        if not led:
            self.rollback()
            return None
        rows = self._waiting(led).order_by("seq").values_list(*ROW_COLUMNS)[:limit]
        stuck = self._outbox.objects.using(self.alias).filter(state=FAILED).exclude(key="")
        keys = frozenset(stuck.values_list("key", flat=True).distinct())
        return Batch([Row(*row) for row in rows], keys)

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
        if not list(locks.select_for_update(skip_locked=True).filter(part=buckets[0])):
            # Somebody may have emptied the table.
            self._has_locks = locks.filter(part=buckets[0]).exists()
            return ()
        led = locks.select_for_update(skip_locked=True).filter(part__in=buckets).order_by("part")
        return list(led.values_list("part", flat=True))

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
            rows.filter(seq__in=outcome.sent).delete()
        for seq, error in outcome.failed.items():
            rows.filter(seq=seq).update(state=FAILED, error=error, attempts=F("attempts") + 1)
        if outcome.held:
            rows.filter(seq__in=outcome.held).update(state=HELD)
        atomic, self._atomic = self._atomic, None
        atomic.__exit__(None, None, None)

    @told(DatabaseError, InterfaceError)
    def rollback(self) -> None:
        """End the transaction, if there is one, without a change."""
        atomic, self._atomic = self._atomic, None
        if atomic is not None:
            transaction.set_rollback(True, using=self.alias)
            atomic.__exit__(None, None, None)

    def failure_of(self, error: Any) -> Exception:
        """Return what a relay is told in place of an error of Django's."""
        said = f"{type(error).__name__}: {error}".strip()
        return table_missing(self.alias, error) or DatabaseFailed(said)

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
        rows = self._outbox.objects.using(self.alias)
        stuck = list(rows.filter(state=FAILED).exclude(key="").values_list("key", flat=True).distinct())
        rows.filter(state=HELD).exclude(key__in=stuck).update(state=WAITING)

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
