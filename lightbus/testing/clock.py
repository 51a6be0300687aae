"""Time that passes when a test says so."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, tzinfo
from functools import partial
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from lightbus.runtime.clock import Clock
from lightbus.runtime.portal import run_blocking


class VirtualClock(Clock):
    """A clock for retries and schedules, which stands still until :meth:`advance`.

    It may be given to several :func:`~lightbus.testing.hosted` of one test. Code that asks Python for the
    time, or sleeps, has the machine's own.

    Args:
        start: Its first time: Unix seconds or a datetime; now, if not given.
    """

    def __init__(self, start: float | datetime | None = None) -> None:
        moment = start.timestamp() if isinstance(start, datetime) else start
        self._now = time.time() if moment is None else float(moment)
        self._timers: list[tuple[float, int, Callable[[], object]]] = []
        self._numbers = itertools.count()
        #: Set by those who are hosted with it: each waits until its bus is quiet.
        self.settlers: list[Callable[[], Awaitable[None]]] = []

    def now(self) -> float:
        """Return the Unix time in seconds."""
        return self._now

    async def sleep_until(self, moment: float) -> None:
        """Wait until the clock was advanced so far."""
        if moment > self._now:
            come = asyncio.get_running_loop().create_future()
            self._at(moment, partial(_come, come))
            await come

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any) -> None:
        """Call a function when the clock was advanced by so many seconds."""
        self._at(self._now + delay, partial(callback, *args))

    def advance(self, seconds: float) -> None:
        """Let time pass for synchronous code; see :meth:`advance_async`."""
        run_blocking(
            None,
            self.advance_async,
            seconds,
            blocking="clock.advance(...)",
            awaitable="clock.advance_async(...)",
        )

    async def advance_async(self, seconds: float) -> None:
        """Let time pass: what is due meanwhile runs in order, each to its end before the next.

        Args:
            seconds: How many, at least 0.
        """
        if not 0 <= seconds < math.inf:
            raise ValueError(f"time goes on by a number of seconds, not by {seconds!r}")
        end = self._now + seconds
        await self._settle()
        while self._timers and self._timers[0][0] <= end:
            self._now = max(self._now, self._timers[0][0])
            while self._timers and self._timers[0][0] <= self._now:
                heapq.heappop(self._timers)[2]()
            await self._settle()
        self._now = end

    def _at(self, moment: float, callback: Callable[[], object]) -> None:
        heapq.heappush(self._timers, (moment, next(self._numbers), callback))

    async def _settle(self) -> None:
        for settle in list(self.settlers):
            await settle()


@contextmanager
def jobs_go_by(clock: Clock) -> Iterator[None]:
    """Let jobs of the ``schedule`` library, where it is in use, tell the time by a clock."""
    library = sys.modules.get("schedule")
    if library is None:
        yield
        return

    class Datetime(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Datetime:
            return cls.fromtimestamp(clock.now(), tz)

    # It looks the class up in the module of that name, each time.
    names = {**vars(sys.modules["datetime"]), "datetime": Datetime}
    with patch.object(library, "datetime", SimpleNamespace(**names)):
        yield


def _come(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
