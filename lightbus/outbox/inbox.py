"""An inbox in a database: which of the events that came are new, and when old notes of them are deleted."""

from __future__ import annotations

import inspect
import logging
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Final, Protocol, TypeVar

from lightbus.declared.definition import where
from lightbus.declared.inbox import MARK, Handler, Inbox, Recipient, inbox_of, recipient
from lightbus.exceptions import InboxError, InvalidListener, InvalidMessage
from lightbus.messages import MAX_ID, EventMessage, handled
from lightbus.options import Duration, parse_duration

from .rows import MAX_EVENT

logger = logging.getLogger(__name__)

F = TypeVar("F", bound=Handler)
#: An event for one group: the group, the event's name, and its id.
Key = tuple[str, str, str]

#: How long an event is known after it was handled, if nothing else is said.
KEEP: Final = "14d"
_LEAST, _MOST = 1.0, 3650 * 86_400.0
#: The most rows of one statement: some databases take no more than a thousand parameters.
_AT_ONCE = 200
#: How often a list is begun anew because others have handled some of its events meanwhile.
_TRIES = 10
#: The most notes that are deleted at a time.
STEP: Final = 500
#: So many events, or seconds, lie between two deletions; if one has found all that it may delete, a second.
_EVENTS, _SECONDS, _SOON = 200, 60.0, 1.0


class Arrivals:
    """The events of one run of a handler, and which of them are new, as far as is known.

    Args:
        events: The events, in their order.
        by: The listener that they have come to.

    Raises:
        InvalidMessage: One of them has a name or an id that can't be noted.
    """

    def __init__(self, events: Sequence[EventMessage], by: Recipient) -> None:
        self._by = by
        self._number = len(events)
        self._new: dict[tuple[Key, ...], EventMessage] = {}
        for event in events:
            # One that is twice in a list runs once.
            self._new.setdefault(_keys(event, by), event)

    @property
    def new(self) -> list[EventMessage]:
        """The events that are new, in their order."""
        return list(self._new.values())

    @property
    def keys(self) -> list[Key]:
        """What is to be noted, in an order that is the same everywhere: so no two wait for each other."""
        return sorted(key for keys in self._new for key in keys)

    def forget(self, known: Collection[Key]) -> None:
        """Take out the events that were noted before."""
        self._new = {keys: event for keys, event in self._new.items() if not any(k in known for k in keys)}

    def count(self) -> int:
        """Count the events, now that those that are new are handled; return how many these were."""
        new = len(self._new)
        self._by.count(new, self._number - new)
        if new < self._number:
            logger.debug(
                "of %d events, %s had handled %d before", self._number, self._by.name, self._number - new
            )
        return new


def _keys(event: EventMessage, by: Recipient) -> tuple[Key, ...]:
    name = event.canonical_name
    # Some databases would cut it, and take it for another one.
    if len(name) > MAX_EVENT or len(event.id) > MAX_ID:
        raise InvalidMessage(
            f"an inbox notes names of up to {MAX_EVENT} characters and ids of up to {MAX_ID}, not those of "
            f"{name:.80} (event {event.id:.80})"
        )
    return tuple((group, name, event.id) for group in by.groups[event.api_name])


class Notes(Protocol):
    """The notes of an inbox, as one transaction sees them."""

    def add(self, keys: Sequence[Key]) -> int:
        """Add notes that are not there; wait for others who add the same. Return how many were added."""

    def known(self, keys: Sequence[Key]) -> Collection[Key]:
        """Return those that are there."""

    def roll_back(self) -> None:
        """Let the transaction end without a change."""

    def check(self, keys: Sequence[Key]) -> None:
        """Look whether a commit would commit them, once the handler has run.

        Raises:
            InboxError: It would not.
        """


def handle_once(
    begin: Callable[[], AbstractContextManager[Notes]], arrivals: Arrivals, run: Callable[[Any], None]
) -> None:
    """Handle those events that are new, in the transaction that notes them.

    Args:
        begin: Begins a transaction, which ends with what it returns.
        arrivals: The events.
        run: Runs the handler on them.
    """
    for keys in tries(arrivals):
        with begin() as notes:
            if notes.add(keys) == len(keys):
                run(notes)
                notes.check(keys)
                break
            notes.roll_back()
        with begin() as notes:
            arrivals.forget(notes.known(keys))


def tries(arrivals: Arrivals) -> Iterator[Sequence[Key]]:
    """Go through what is to be noted until nothing is new: others may handle the same events meanwhile.

    Raises:
        InboxError: That does not end.
    """
    for _ in range(_TRIES):
        keys = arrivals.keys
        if not keys:
            return
        yield keys
    if arrivals.new:
        raise InboxError("other processes handle the same events at present; they are tried again later")


def parted(keys: Sequence[Key]) -> Iterator[Sequence[Key]]:
    """Go through keys in as large parts as one statement takes."""
    for i in range(0, len(keys), _AT_ONCE):
        yield keys[i : i + _AT_ONCE]


def by_event(keys: Sequence[Key]) -> Iterator[tuple[str, str, list[str]]]:
    """Go through groups and names of events, with as many ids as one statement takes."""
    found: dict[tuple[str, str], list[str]] = {}
    for group, event, event_id in keys:
        found.setdefault((group, event), []).append(event_id)
    for (group, event), ids in found.items():
        for i in range(0, len(ids), _AT_ONCE):
            yield group, event, ids[i : i + _AT_ONCE]


class Aging:
    """When notes that are old are deleted: by whoever has handled some events, and a few at a time."""

    def __init__(self) -> None:
        self._busy = threading.Lock()
        self._handled = 0
        self._next = float("-inf")

    def begin(self, handled: int) -> bool:
        """Count events that were handled; tell whether old notes are to be deleted now, until :meth:`end`."""
        self._handled += handled
        if self._handled < _EVENTS and time.monotonic() < self._next:
            return False
        return self._busy.acquire(blocking=False)

    def end(self, deleted: int) -> None:
        """Put the next time off; there is more if as many were deleted as may be at a time."""
        self._handled = 0
        self._next = time.monotonic() + (_SOON if deleted >= STEP else _SECONDS)
        self._busy.release()


class Agings:
    """When old notes are deleted, for each listener of one handler."""

    def __init__(self) -> None:
        self._all: dict[Recipient, Aging] = {}

    def of(self, by: Recipient) -> Aging:
        """Return that of one listener."""
        return self._all.get(by) or self._all.setdefault(by, Aging())


def taken(function: Handler) -> Recipient | None:
    """Take the listener for which a handler runs; None where other code has called it, as a test does.

    Raises:
        InboxError: A message is handled, but not by its listener.
    """
    by = recipient.get()
    if by is not None:
        recipient.set(None)
    elif handled.get():
        name = getattr(function, "__name__", "the handler")
        raise InboxError(
            f"{name}() has an inbox, but it was not called by its listener, and so can't know its group: use "
            "functools.wraps in decorators around @inbox; put what other handlers call, too, into a function "
            "of its own"
        )
    return by


def events_in(args: Sequence[Any]) -> tuple[int, Sequence[EventMessage]]:
    """Return which argument has the events, and the events: a method has its object before them."""
    for place, value in enumerate(args[:2]):
        if isinstance(value, EventMessage):
            return place, (value,)
        if isinstance(value, list) and value and isinstance(value[0], EventMessage):
            return place, value
    raise InboxError("a listener calls its handler with an event, or a list of events, as first argument")


def with_new(args: Sequence[Any], place: int, arrivals: Arrivals) -> Sequence[Any]:
    """Return the arguments of a handler, in which a list of events has only those that are new."""
    if not isinstance(args[place], list):
        return args
    return (*args[:place], arrivals.new, *args[place + 1 :])


def refuse_awaitable(function: Handler, result: object) -> None:
    """Refuse what is to be awaited: it would run after the transaction.

    Raises:
        InboxError: It is such.
    """
    if inspect.isawaitable(result):
        if inspect.iscoroutine(result):
            result.close()
        name = getattr(function, "__name__", "the handler")
        raise InboxError(f"{name}() returned something to await, which would run after its transaction")


def checked(function: object, keep: object) -> Duration:
    """Check what gets an inbox, and return for how long that keeps its notes.

    Raises:
        InvalidListener: It is no function, has one already, or the time is none.
    """
    if not callable(function) or isinstance(function, type):
        raise InvalidListener(f"@inbox() decorates the function that handles events, not {function!r:.80}")
    name = getattr(function, "__name__", repr(function))
    if inbox_of(function) is not None:
        raise InvalidListener(f"{where(function)}: {name} has an inbox already; take one of the two out")
    try:
        seconds = parse_duration(keep)
    except ValueError:
        seconds = Duration(-1)
    if not _LEAST <= seconds <= _MOST:
        raise InvalidListener(
            f"{where(function)}: the inbox of {name} has keep={keep!r}; give a time from 1s to 3650d, such "
            f"as {KEEP!r}"
        )
    return seconds


def marked(handler: F, inbox: Inbox) -> F:
    """Leave an inbox at the handler that uses it, for the worker that runs that."""
    setattr(handler, MARK, inbox)
    return handler


def tell_not_deleted(by: Recipient, error: Exception) -> None:
    """Say why old notes are still there; the events are done, and the notes are deleted another time."""
    logger.warning("old notes of the inbox of %s could not be deleted: %s", by.name, error)


def rolled_back(function: Handler, remedy: str) -> InboxError:
    """Return the error of a handler that has returned, but has left a transaction that can't commit."""
    name = getattr(function, "__name__", "the handler")
    return InboxError(
        f"{name}() has returned, but its transaction can't commit any more: an error of the database was "
        f"caught, or the transaction was rolled back; put what may fail into {remedy}, or raise"
    )
