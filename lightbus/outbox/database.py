"""The ports to a database: what writes into an outbox, and what a relay reads from one."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from .rows import NewRow, Row, Stuck, Waiting

P = ParamSpec("P")
T = TypeVar("T")


class Store(Protocol):
    """Writes events within the transaction of whoever uses it."""

    @abstractmethod
    def insert(self, rows: Sequence[NewRow]) -> None:
        """Write rows, by one statement.

        Raises:
            NotInTransaction: There is no transaction, and one is wanted.
            OutboxTableMissing: The table is not there.
        """

    @abstractmethod
    async def insert_async(self, rows: Sequence[NewRow]) -> None:
        """Write rows from a coroutine; raises SyncCallOnEventLoop where the database can't do that."""


class DatabaseFailed(Exception):
    """A database did not do what a relay has asked for; it is asked again later."""


class CannotListen(Exception):
    """Signs of a database can't be heard; the text says why, and what to do."""


class Failing(Protocol):
    """Something over a connection to a database."""

    @abstractmethod
    def reset(self) -> None:
        """Drop the connection, which may be broken, with its transaction."""

    @abstractmethod
    def failure_of(self, error: Any) -> Exception:
        """Return what a relay is told in place of an error of the database."""


def first_line_of(error: Exception) -> str:
    """Name an error of a database by its first line: the others may quote what was to be written.

    Args:
        error: The error, or what SQLAlchemy has made of it.
    """
    text = str(getattr(error, "orig", None) or error)
    return f"{type(error).__name__}: {text.splitlines()[0] if text else ''}".strip()


F = TypeVar("F", bound=Failing)


def told(
    *errors: type[Exception],
) -> Callable[[Callable[Concatenate[F, P], T]], Callable[Concatenate[F, P], T]]:
    """Make errors of the database those that a relay knows; the connection is made anew after one."""

    def telling(method: Callable[Concatenate[F, P], T]) -> Callable[Concatenate[F, P], T]:
        @wraps(method)
        def call(self: F, /, *args: P.args, **kwargs: P.kwargs) -> T:
            try:
                return method(self, *args, **kwargs)
            except DatabaseFailed:
                self.reset()
                raise
            except errors as e:
                self.reset()
                raise self.failure_of(e) from e

        return call

    return telling


@dataclass(frozen=True, slots=True)
class Batch:
    """The rows that a transaction has read.

    Args:
        rows: Those that wait, in their order.
        stuck: The keys of rows that can't be sent.
    """

    rows: Sequence[Row]
    stuck: frozenset[str] = frozenset()


@dataclass(slots=True)
class Outcome:
    """What is to become of the rows of a batch.

    Args:
        sent: Those that the broker has.
        failed: Those that can never be sent, with the reasons.
        held: Those that come after one of the same key that can't be sent.
        kept: Whether sent rows stay in the table for a while.
    """

    sent: list[int] = field(default_factory=list)
    failed: dict[int, str] = field(default_factory=dict)
    held: list[int] = field(default_factory=list)
    kept: bool = False


class Tables(Protocol):
    """The tables of one outbox as synchronous code uses them, in one thread."""

    #: Names the database for people, such as ``django:default``.
    name: str
    #: Whether a transaction of the relay keeps everybody from writing, as in SQLite.
    is_exclusive: bool
    #: Whether it can wait for a sign that something was written.
    listens: bool

    @abstractmethod
    def begin(self, buckets: Sequence[int], limit: int) -> Batch | None:
        """Begin a transaction, lead these buckets in it, and read what waits there.

        Returns:
            The rows; None, with no transaction, where nothing waits or another relay leads.
        """

    @abstractmethod
    def finish(self, outcome: Outcome) -> None:
        """Write what has become of the rows, and commit."""

    @abstractmethod
    def rollback(self) -> None:
        """End the transaction, if there is one, without a change."""

    @abstractmethod
    def prune(self, seconds: float) -> None:
        """Delete the rows that were sent and are older than that."""

    @abstractmethod
    def waiting(self) -> Waiting:
        """Return how full the outbox is."""

    @abstractmethod
    def stuck(self, limit: int) -> Sequence[Stuck]:
        """Return rows that can't be sent, the oldest first."""

    @abstractmethod
    def retry(self, seqs: Sequence[int] | None) -> int:
        """Have rows sent that could not be (all for None), and those that wait for them; count them."""

    @abstractmethod
    def drop(self, seqs: Sequence[int] | None) -> int:
        """Delete rows that could not be sent, all of them for None; those that wait for them go on."""

    @abstractmethod
    def wait(self, seconds: float) -> bool:
        """Wait for a sign that something was written, for no longer than that.

        Returns:
            Whether it is time to look: there was a sign, or signs are heard only from now on.

        Raises:
            CannotListen: No sign will ever be heard.
        """

    @abstractmethod
    def close(self) -> None:
        """Close the connection."""


class Remote(ABC):
    """Tables that are used from an event loop, one statement after the other.

    Args:
        tables: The tables.
    """

    def __init__(self, tables: Tables) -> None:
        self.name = tables.name
        self.is_exclusive = tables.is_exclusive
        self.listens = tables.listens
        self._tables = tables

    async def begin(self, buckets: Sequence[int], limit: int) -> Batch | None:
        """Begin a transaction; see :class:`Tables`."""
        return await self._run(self._tables.begin, buckets, limit)

    async def finish(self, outcome: Outcome) -> None:
        """Commit it."""
        await self._run(self._tables.finish, outcome)

    async def rollback(self) -> None:
        """Roll it back."""
        await self._run(self._tables.rollback)

    async def prune(self, seconds: float) -> None:
        """Delete what was sent long ago."""
        await self._run(self._tables.prune, seconds)

    async def waiting(self) -> Waiting:
        """Return how full the outbox is."""
        return await self._run(self._tables.waiting)

    async def stuck(self, limit: int) -> Sequence[Stuck]:
        """Return rows that can't be sent."""
        return await self._run(self._tables.stuck, limit)

    async def retry(self, seqs: Sequence[int] | None) -> int:
        """Have rows sent that could not be; count them."""
        return await self._run(self._tables.retry, seqs)

    async def drop(self, seqs: Sequence[int] | None) -> int:
        """Delete rows that could not be sent; count them."""
        return await self._run(self._tables.drop, seqs)

    async def wait(self, seconds: float) -> bool:
        """Wait for a sign that something was written."""
        return await self._run(self._tables.wait, seconds)

    async def close(self) -> None:
        """Close the connection."""
        await self._run(self._tables.close)

    @abstractmethod
    async def _run(self, function: Callable[..., T], *args: Any) -> T:
        """Call a function of the tables; if the caller is cancelled, the next call waits for this one."""


class InThread(Remote):
    """Uses the tables of an outbox in one thread, which has the connection of its own."""

    def __init__(self, tables: Tables) -> None:
        super().__init__(tables)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"lightbus outbox {tables.name}")

    async def close(self) -> None:
        """Close the connection, and end the thread."""
        try:
            await super().close()
        finally:
            self._thread.shutdown(wait=False)

    async def _run(self, function: Callable[..., T], *args: Any) -> T:
        loop = asyncio.get_running_loop()
        return await asyncio.shield(loop.run_in_executor(self._thread, function, *args))
