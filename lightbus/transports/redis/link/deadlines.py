"""Many deadlines by few timers of the event loop: one each would cost more than all else of a message."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import frexp, ldexp
from typing import Any, Protocol

from .refusals import ReplyError

#: A time is divided into 64 steps, or up to 128: by so little of it a deadline may be told too late.
_STEPS = 7


class Outcome(Protocol):
    """Takes the replies to commands, as a future does."""

    def done(self) -> bool:
        """Tell whether it has them, or wants them no more."""

    def cancel(self) -> bool:
        """Want them no more; return whether they had not come yet."""

    def set_result(self, replies: Any, /) -> None:
        """Take the replies."""

    def set_exception(self, error: BaseException, /) -> None:
        """Take the reason why there are none."""

    def exception(self) -> BaseException | None:
        """Return that reason."""

    def add_done_callback(self, told: Callable[[Any], object], /) -> None:
        """Tell somebody once it has them, or wants them no more."""


def fail(future: Outcome, error: BaseException) -> None:
    """Let a future fail, unless it is done; nobody may be waiting for it any more."""
    if not future.done():
        future.set_exception(error)
        future.exception()  # Else asyncio reports it as lost.


def failure_of(sent: asyncio.Future[list[Any]]) -> BaseException | None:
    """Return what went wrong with commands that were sent, refusals included; None if nothing did."""
    if sent.cancelled():
        return None
    return sent.exception() or next((r for r in sent.result() if isinstance(r, ReplyError)), None)


def expire(future: asyncio.Future[Any]) -> None:
    """Wait no longer; a command that still waits for a connection is not sent."""
    fail(future, TimeoutError())


class Deadlines:
    """Futures of one event loop that fail with a TimeoutError when they are due; most are done before."""

    __slots__ = ("_begins", "_due", "_ends", "_futures", "_loop", "_seconds")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._due: dict[tuple[int, int], set[asyncio.Future[Any]]] = {}
        # The set that was found last: most that follow have the same time, and belong there, too.
        self._seconds = self._begins = self._ends = 0.0
        self._futures: set[asyncio.Future[Any]] = set()

    def add(self, future: asyncio.Future[Any], deadline: float, seconds: float) -> set[asyncio.Future[Any]]:
        """Let a future fail at a time, or a little later.

        Args:
            future: The future.
            deadline: The time, by the loop's clock.
            seconds: The whole time that it had; it may fail a 64th of this too late.

        Returns:
            The set that keeps it: ``discard`` it there when nobody waits for it any more.
        """
        if seconds != self._seconds or not self._begins <= deadline < self._ends:
            self._find(deadline, seconds)
        futures = self._futures
        futures.add(future)
        return futures

    def _find(self, deadline: float, seconds: float) -> None:
        """Find the set of those that are due at a time, or a little later."""
        exponent = frexp(seconds)[1] - _STEPS
        step = ldexp(1.0, exponent)
        key = (exponent, int(deadline / step) + 1)
        futures = self._due.get(key)
        if futures is None:
            futures = self._due[key] = set()
            self._loop.call_at(key[1] * step, self._tell, key)
        self._futures, self._seconds = futures, seconds
        self._begins, self._ends = (key[1] - 1) * step, key[1] * step

    def _tell(self, key: tuple[int, int]) -> None:
        self._ends = 0.0  # The set that is kept may be this one.
        for future in self._due.pop(key):
            expire(future)
