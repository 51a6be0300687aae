"""``@inbox()``: a handler whose effects in Django's database happen once for each event."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from importlib import import_module
from typing import Any, NoReturn, TypeVar, cast, overload

from lightbus.declared.definition import where
from lightbus.declared.inbox import Recipient
from lightbus.exceptions import ConfigurationError, InboxTableMissing, InvalidListener, MissingExtra
from lightbus.options import Duration
from lightbus.outbox.inbox import (
    KEEP,
    STEP,
    Agings,
    Arrivals,
    Key,
    by_event,
    checked,
    events_in,
    handle_once,
    marked,
    parted,
    refuse_awaitable,
    rolled_back,
    taken,
    tell_not_deleted,
    with_new,
)
from lightbus.outbox.rows import INBOX

from .writing import close_if_broken_or_old, models_of, without_table

try:
    from django.db import DEFAULT_DB_ALIAS, DatabaseError, InterfaceError, connections, transaction
    from django.utils import timezone
except ImportError as e:
    raise MissingExtra("lightbus.django", "django") from e

F = TypeVar("F", bound=Callable[..., object])

#: How each kind of database adds rows that are not there, and counts them: the beginning and the end.
_INSERTS = {
    "postgresql": ("INSERT INTO", "ON CONFLICT DO NOTHING"),
    "sqlite": ("INSERT INTO", "ON CONFLICT DO NOTHING"),
    "mysql": ("INSERT IGNORE INTO", ""),
}
_COLUMNS = ("group", "event", "event_id", "handled_at")


@overload
def inbox(function: F, /) -> F: ...


@overload
def inbox(*, using: str = ..., keep: float | str = ...) -> Callable[[F], F]: ...


def inbox(
    function: F | None = None, /, *, using: str = DEFAULT_DB_ALIAS, keep: float | str = KEEP
) -> F | Callable[[F], F]:
    """Decorate a handler of events, so that its effects in the database happen once for each event.

    It runs in ``transaction.atomic()``, which first notes the event in the table ``lightbus_inbox``. Where
    that has it already, the event is acknowledged, and the handler does not run.

    Args:
        function: The handler, where there are no arguments.
        using: Django's name of the database.
        keep: For how long an event is known after it was handled: seconds, or text such as ``14d``.

    Returns:
        The handler, with the same signature.

    Raises:
        InvalidListener: It is ``async def``, or has an inbox already; or the time is none.
    """
    if function is not None:
        return _decorated(function, using, keep)
    return lambda function: _decorated(function, using, keep)


def _decorated(function: F, alias: str, keep: object) -> F:
    seconds = checked(function, keep)
    if inspect.iscoroutinefunction(function):
        name = function.__name__
        raise InvalidListener(
            f"{where(function)}: {name} is async def, but Django's transactions are synchronous: write def "
            f"{name}(...), which runs in a thread; what has to be awaited goes into another handler"
        )
    box = _DjangoInbox(alias, seconds)

    @functools.wraps(function)
    def once(*args: Any, **kwargs: Any) -> Any:
        by = taken(function)
        if by is None:
            with transaction.atomic(using=alias):
                return function(*args, **kwargs)
        box.handle(function, by, args, kwargs)
        return None

    return marked(cast("F", once), box)


class _DjangoInbox:
    """The inbox of one handler.

    Args:
        alias: Django's name of the database.
        keep: Seconds for which an event is known after it was handled.
    """

    gives = ""

    def __init__(self, alias: str, keep: Duration) -> None:
        self._alias = alias
        self.name = f"django:{alias}"
        self.keep = keep
        self._agings = Agings()

    def check(self) -> None:
        """Look whether Django has the database, and the app."""
        alias = self._alias
        models_of(alias)
        if connections[alias].vendor not in _INSERTS:
            raise ConfigurationError(
                f"an inbox needs PostgreSQL, MySQL, MariaDB or SQLite; the database {alias!r} is "
                f"{connections[alias].display_name}"
            )
        if not connections[alias].settings_dict["AUTOCOMMIT"]:
            raise ConfigurationError(
                f"DATABASES[{alias!r}] has AUTOCOMMIT False, so that transaction.atomic() does not commit, "
                "nor does an inbox; take it out"
            )

    def handle(
        self, function: Callable[..., object], by: Recipient, args: Sequence[Any], kwargs: dict[str, Any]
    ) -> None:
        """Run the handler on the events that are new, in the transaction that notes them."""
        place, events = events_in(args)
        arrivals = Arrivals(events, by)

        def run(notes: _DjangoNotes) -> None:
            with notes.watched():
                refuse_awaitable(function, function(*with_new(args, place, arrivals), **kwargs))

        handle_once(lambda: self._begin(function), arrivals, run)
        self._forget_old(by, arrivals.count())

    @contextmanager
    def _begin(self, function: Callable[..., object]) -> Iterator[_DjangoNotes]:
        connection = connections[self._alias]
        close_if_broken_or_old(connection)
        # Durable: within another transaction, its end would not be a commit.
        with transaction.atomic(using=self._alias, durable=True):
            yield _DjangoNotes(self._alias, connection, function)

    def _forget_old(self, by: Recipient, handled: int) -> None:
        """Delete a few notes that are older than they are to be kept, if it is time for that."""
        aging, deleted = self._agings.of(by), 0
        if not aging.begin(handled):
            return
        try:
            old = timezone.now() - timedelta(seconds=self.keep)
            for group in by.all_groups:
                deleted = max(deleted, self._delete(group, old))
        except (DatabaseError, InterfaceError) as e:
            tell_not_deleted(by, e)
        finally:
            aging.end(deleted)

    def _delete(self, group: str, old: Any) -> int:
        rows = _notes(self._alias).filter(group=group, handled_at__lt=old)
        # By their keys: a range would keep MySQL from adding notes meanwhile.
        keys = list(rows.order_by("handled_at").values_list("pk", flat=True)[:STEP])
        if keys:
            _notes(self._alias).filter(pk__in=keys).delete()
        return len(keys)


class _DjangoNotes:
    """The notes of an inbox in a transaction of Django's."""

    def __init__(self, alias: str, connection: Any, function: Callable[..., object]) -> None:
        self._alias = alias
        self._connection = connection
        self._function = function
        self._has_failed = False

    def add(self, keys: Sequence[Key]) -> int:
        connection, number = self._connection, 0
        now = connection.ops.adapt_datetimefield_value(timezone.now())
        try:
            with connection.cursor() as cursor:
                for part in parted(keys):
                    cursor.execute(
                        _insert(connection, len(part)), [value for key in part for value in (*key, now)]
                    )
                    number += cursor.rowcount
        except DatabaseError as e:
            self._raise(e)
        return number

    def known(self, keys: Sequence[Key]) -> Collection[Key]:
        found: set[Key] = set()
        for group, event, ids in by_event(keys):
            rows = _notes(self._alias).filter(group=group, event=event, event_id__in=ids)
            found.update((group, event, each) for each in rows.values_list("event_id", flat=True))
        return found

    def roll_back(self) -> None:
        transaction.set_rollback(True, using=self._alias)

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Note whether a statement fails, though the handler may catch its error."""
        with self._connection.execute_wrapper(self._watch):
            yield

    def check(self, keys: Sequence[Key]) -> None:
        is_over = transaction.get_rollback(using=self._alias)
        if self._has_failed and not is_over:
            # PostgreSQL rolls back after any error, and calls that a commit; MySQL after a deadlock.
            try:
                is_over = not self.known(keys[:1])
            except DatabaseError:
                is_over = True
        if is_over:
            raise rolled_back(self._function, "a transaction.atomic() of its own")

    def _watch(self, execute: Callable[..., Any], *of: Any) -> Any:
        try:
            return execute(*of)
        except Exception:
            self._has_failed = True
            raise

    def _raise(self, error: DatabaseError) -> NoReturn:
        said = without_table(self._alias, error, "inbox")
        if said:
            raise InboxTableMissing(said) from error
        raise error


def _insert(connection: Any, number: int) -> str:
    begin, end = _INSERTS[connection.vendor]
    quote = connection.ops.quote_name
    columns = ", ".join(map(quote, _COLUMNS))
    rows = ", ".join([f"({', '.join(['%s'] * len(_COLUMNS))})"] * number)
    return f"{begin} {quote(INBOX)} ({columns}) VALUES {rows} {end}"


def _notes(alias: str) -> Any:
    # Late: Django refuses models before its apps are loaded.
    return import_module("lightbus.django.models").InboxEvent.objects.using(alias)
