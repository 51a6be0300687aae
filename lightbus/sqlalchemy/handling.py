"""``@inbox(Session)``: a handler whose effects in SQLAlchemy's session happen once for each event."""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime, timedelta
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, overload

from lightbus.declared.definition import where
from lightbus.declared.inbox import Handler, Recipient
from lightbus.exceptions import ConfigurationError, InvalidListener, MissingExtra
from lightbus.options import Duration
from lightbus.outbox.inbox import (
    KEEP,
    Agings,
    Arrivals,
    checked,
    events_in,
    handle_once,
    marked,
    refuse_awaitable,
    taken,
    tell_not_deleted,
    tries,
    with_new,
)

try:
    from sqlalchemy.exc import SQLAlchemyError
    from sqlalchemy.ext.asyncio import AsyncSession, async_scoped_session, async_sessionmaker
    from sqlalchemy.orm import Session, scoped_session, sessionmaker
    from sqlalchemy.util import greenlet_spawn
except ImportError as e:
    raise MissingExtra("lightbus.sqlalchemy", "sqlalchemy") from e

from .notes import INSERTS, SessionNotes, delete_old
from .schema import now

P = ParamSpec("P")
E = TypeVar("E")
T = TypeVar("T")
S = TypeVar("S", bound=Session)
A = TypeVar("A", bound=AsyncSession)

Sessions = sessionmaker[Any] | scoped_session[Any]
AsyncSessions = async_sessionmaker[Any] | async_scoped_session[Any]

#: The name under which a handler gets its session.
SESSION = "session"


class _Plain(Generic[S]):
    """Decorates plain functions."""

    def __init__(self, sessions: Sessions, keep: object, name: str) -> None:
        self._given = sessions, keep, name

    @overload
    def __call__(self, function: Callable[Concatenate[E, S, P], T], /) -> Callable[Concatenate[E, P], T]: ...

    @overload
    def __call__(self, function: Callable[..., T], /) -> Callable[..., T]: ...

    def __call__(self, function: Any, /) -> Any:
        sessions, keep, name = self._given
        seconds = _checked(function, keep)
        if inspect.iscoroutinefunction(function):
            raise _misfit(function, "is async def", "an async_sessionmaker, or write def")
        return _PlainInbox(sessions, seconds, name).around(function)


class _Awaited(Generic[A]):
    """Decorates coroutine functions."""

    def __init__(self, sessions: AsyncSessions, keep: object, name: str) -> None:
        self._given = sessions, keep, name

    @overload
    def __call__(
        self, function: Callable[Concatenate[E, A, P], Coroutine[Any, Any, T]], /
    ) -> Callable[Concatenate[E, P], Coroutine[Any, Any, T]]: ...

    @overload
    def __call__(
        self, function: Callable[..., Coroutine[Any, Any, T]], /
    ) -> Callable[..., Coroutine[Any, Any, T]]: ...

    def __call__(self, function: Any, /) -> Any:
        sessions, keep, name = self._given
        seconds = _checked(function, keep)
        if not inspect.iscoroutinefunction(function):
            raise _misfit(function, "is a plain function", "a sessionmaker, or write async def")
        return _AwaitedInbox(sessions, seconds, name).around(function)


@overload
def inbox(sessions: sessionmaker[S] | scoped_session[S], /, *, keep: float | str = ...) -> _Plain[S]: ...


@overload
def inbox(
    sessions: async_sessionmaker[A] | async_scoped_session[A], /, *, keep: float | str = ...
) -> _Awaited[A]: ...


def inbox(sessions: Any, /, *, keep: float | str = KEEP) -> _Plain[Any] | _Awaited[Any]:
    """Decorate a handler of events, so that its effects in a database happen once for each event.

    It gets a ``session`` whose transaction has first noted the event in the table ``lightbus_inbox``, and is
    committed once the handler has returned. Where the table has the event already, that is acknowledged, and
    the handler does not run.

    Args:
        sessions: Makes the sessions: a ``sessionmaker`` or ``scoped_session`` for a plain function; for
            ``async def``, an ``async_sessionmaker`` or ``async_scoped_session``.
        keep: For how long an event is known after it was handled: seconds, or text such as ``14d``.

    Returns:
        A decorator. What it makes of the handler is called without the session.

    Raises:
        InvalidListener: The function is not of the kind of the sessions, takes no session or has an inbox
            already; or the time is none.
    """
    return inbox_in(sessions, keep, "sqlalchemy")


def inbox_in(sessions: object, keep: object, name: str) -> _Plain[Any] | _Awaited[Any]:
    """Return the decorator of an inbox whose database has a name for people; see :func:`inbox`."""
    if isinstance(sessions, sessionmaker | scoped_session):
        return _Plain(sessions, keep, name)
    if isinstance(sessions, async_sessionmaker | async_scoped_session):
        return _Awaited(sessions, keep, name)
    raise InvalidListener(
        f"inbox() takes what makes sessions, such as sessionmaker(engine) or async_sessionmaker(engine), not "
        f"{sessions!r:.80}"
    )


def _checked(function: Any, keep: object) -> Duration:
    seconds = checked(function, keep)
    parameters = inspect.signature(function).parameters
    found = parameters.get(SESSION)
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    if found.kind is found.POSITIONAL_ONLY if found is not None else not takes_any:
        raise InvalidListener(
            f"{where(function)}: {function.__name__} takes no session by name; write: "
            f"def {function.__name__}(event_message, session, ...)"
        )
    return seconds


def _misfit(function: Any, what: str, instead: str) -> InvalidListener:
    return InvalidListener(
        f"{where(function)}: {function.__name__} {what}, but not the sessions of its inbox; give {instead}"
    )


class _SessionInbox:
    """The inbox of one handler.

    Args:
        sessions: Makes its sessions.
        keep: Seconds for which an event is known after it was handled.
        name: Names the database for people.
    """

    gives = SESSION

    def __init__(self, sessions: Any, keep: Duration, name: str) -> None:
        self._sessions = sessions
        self.keep = keep
        self.name = name
        self._agings = Agings()

    def check(self) -> None:
        """Look whether its database is of a kind that can do it, where that is known already."""
        maker = getattr(self._sessions, "session_factory", self._sessions)
        dialect = getattr(getattr(maker, "kw", {}).get("bind"), "dialect", None)
        if dialect is not None and dialect.name not in INSERTS:
            raise ConfigurationError(
                f"an inbox needs PostgreSQL, MySQL, MariaDB or SQLite; this database is {dialect.name}"
            )

    def _finished(self, function: Handler, once: Any) -> Any:
        """Give what is called instead of a handler its mark, and a signature without the session."""
        signature = inspect.signature(function)
        rest = [p for p in signature.parameters.values() if p.name != SESSION]
        once.__signature__ = signature.replace(parameters=rest)
        return marked(once, self)

    def _old(self) -> datetime:
        return now() - timedelta(seconds=self.keep)


class _PlainInbox(_SessionInbox):
    """The inbox of a plain function."""

    def around(self, function: Callable[..., object]) -> Any:
        """Return what is called instead of the handler."""

        @functools.wraps(function)
        def once(*args: Any, **kwargs: Any) -> object:
            by = taken(function)
            if by is None:
                with self._opened() as session, session.begin():
                    return function(*args, session=session, **kwargs)
            self._handle(function, by, args, kwargs)
            return None

        return self._finished(function, once)

    def _handle(
        self, function: Callable[..., object], by: Recipient, args: Sequence[Any], kwargs: dict[str, Any]
    ) -> None:
        place, events = events_in(args)
        arrivals = Arrivals(events, by)

        def run(notes: SessionNotes) -> None:
            with notes.watched():
                result = function(*with_new(args, place, arrivals), session=notes.session, **kwargs)
                refuse_awaitable(function, result)

        handle_once(lambda: self._begin(function), arrivals, run)
        aging, deleted = self._agings.of(by), 0
        if aging.begin(arrivals.count()):
            try:
                with self._opened() as session, session.begin():
                    deleted = delete_old(session, by.all_groups, self._old())
            except SQLAlchemyError as e:
                tell_not_deleted(by, e)
            finally:
                aging.end(deleted)

    @contextmanager
    def _opened(self) -> Iterator[Session]:
        sessions = self._sessions
        if isinstance(sessions, scoped_session):
            # One that was left behind in this thread may have begun a transaction.
            sessions.remove()
            try:
                yield sessions()
            finally:
                sessions.remove()
        else:
            with sessions() as session:
                yield session

    @contextmanager
    def _begin(self, function: Handler) -> Iterator[SessionNotes]:
        with self._opened() as session, session.begin() as transaction:
            yield SessionNotes(session, transaction, function)


class _AwaitedInbox(_SessionInbox):
    """The inbox of a coroutine function."""

    def around(self, function: Callable[..., Coroutine[Any, Any, object]]) -> Any:
        """Return what is called instead of the handler."""

        @functools.wraps(function)
        async def once(*args: Any, **kwargs: Any) -> object:
            by = taken(function)
            if by is None:
                async with self._opened() as session, session.begin():
                    return await function(*args, session=session, **kwargs)
            await self._handle(function, by, args, kwargs)
            return None

        return self._finished(function, once)

    async def _handle(
        self,
        function: Callable[..., Coroutine[Any, Any, object]],
        by: Recipient,
        args: Sequence[Any],
        kwargs: dict[str, Any],
    ) -> None:
        place, events = events_in(args)
        arrivals = Arrivals(events, by)
        for keys in tries(arrivals):
            async with self._begin(function) as (session, notes):
                if await greenlet_spawn(notes.add, keys) == len(keys):
                    with notes.watched():
                        await function(*with_new(args, place, arrivals), session=session, **kwargs)
                    await greenlet_spawn(notes.check, keys)
                    break
                await session.rollback()
            async with self._begin(function) as (_, notes):
                arrivals.forget(await greenlet_spawn(notes.known, keys))
        aging, deleted = self._agings.of(by), 0
        if aging.begin(arrivals.count()):
            try:
                async with self._opened() as session, session.begin():
                    deleted = await greenlet_spawn(
                        delete_old, session.sync_session, by.all_groups, self._old()
                    )
            except SQLAlchemyError as e:
                tell_not_deleted(by, e)
            finally:
                aging.end(deleted)

    @asynccontextmanager
    async def _opened(self) -> AsyncIterator[AsyncSession]:
        sessions = self._sessions
        if isinstance(sessions, async_scoped_session):
            # One that was left behind in this task may have begun a transaction.
            await sessions.remove()
            try:
                yield sessions()
            finally:
                await sessions.remove()
        else:
            async with sessions() as session:
                yield session

    @asynccontextmanager
    async def _begin(self, function: Handler) -> AsyncIterator[tuple[AsyncSession, SessionNotes]]:
        async with self._opened() as session, session.begin() as transaction:
            inner = transaction.sync_transaction
            assert inner is not None  # noqa: S101 - it has begun
            yield session, SessionNotes(session.sync_session, inner, function)
