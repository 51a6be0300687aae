"""Many deadlines by few timers of the event loop: one each would cost more than all else of a message."""

from __future__ import annotations

import asyncio
from math import frexp, ldexp
from typing import Any

#: A time is divided into 64 steps, or up to 128: by so little of it a deadline may be told too late.
_STEPS = 7


def fail(future: asyncio.Future[Any], error: BaseException) -> None:
    """Let a future fail, unless it is done; nobody may be waiting for it any more."""
    if not future.done():
        future.set_exception(error)
        future.exception()  # Else asyncio reports it as lost.


def expire(future: asyncio.Future[Any]) -> None:
    """Wait no longer; a command that still waits for a connection is not sent."""
    fail(future, TimeoutError())


class Deadlines:
    """Futures of one event loop that fail with a TimeoutError when they are due; most are done before."""

    __slots__ = ("_due", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._due: dict[tuple[int, int], set[asyncio.Future[Any]]] = {}

    def add(self, future: asyncio.Future[Any], deadline: float, seconds: float) -> set[asyncio.Future[Any]]:
        """Let a future fail at a time, or a little later.

        Args:
            future: The future.
            deadline: The time, by the loop's clock.
            seconds: The whole time that it had; it may fail a 64th of this too late.

        Returns:
            The set that keeps it: ``discard`` it there when nobody waits for it any more.
        """
        exponent = frexp(seconds)[1] - _STEPS
        step = ldexp(1.0, exponent)
        key = (exponent, int(deadline / step) + 1)
        futures = self._due.get(key)
        if futures is None:
            futures = self._due[key] = set()
            self._loop.call_at(key[1] * step, self._tell, key)
        futures.add(future)
        return futures

    def _tell(self, key: tuple[int, int]) -> None:
        for future in self._due.pop(key):
            expire(future)
