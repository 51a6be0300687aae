"""Tasks: those that must keep running, and those that make way for what somebody waits for.

If one of the first ends unasked, the log says so, and it is begun again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from contextvars import Context, ContextVar
from typing import Any

from lightbus.exceptions import text_of

from .cancellation import end, is_ending, own
from .obstacles import Obstacles

logger = logging.getLogger(__name__)

Work = Callable[[], Coroutine[Any, Any, Any]]

#: Seconds until a task is begun again, from the first time on.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 5.0
#: Seconds that a task must have run for its end not to count as another failure in a row.
_STEADY = 10.0
#: Seconds for which work makes way in all, however much is more urgent: it has to come to its end.
_LONGEST_WAY = 2.0


class Kept:
    """A task that is begun again if it raises, or if somebody else cancels it.

    It is over when its work returns, when :meth:`end` is called, and with its event loop.

    Args:
        work: Makes the coroutine, each time anew.
        name: The task's name.
        lost: Says what is not done while it does not run, as in "leases of shop-mailer are not renewed".
        obstacles: Shows that while it lasts.
    """

    def __init__(self, work: Work, name: str, lost: str, obstacles: Obstacles) -> None:
        self._work = work
        self._name = name
        self._lost = lost
        self._obstacles = obstacles
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Task[Any] | None = None
        self._again: asyncio.TimerHandle | None = None
        self._begun = 0.0
        self._failures = 0
        #: Done once it runs no more, and will not again.
        self.over: asyncio.Future[None] = self._loop.create_future()

    @property
    def is_over(self) -> bool:
        """Whether it runs no more, and will not again."""
        return self.over.done()

    def start(self) -> Kept:
        """Begin."""
        self._again = None
        self._begun = self._loop.time()
        self._task = own(self._loop.create_task(self._work(), name=self._name))
        self._task.add_done_callback(self._after)
        return self

    def end(self) -> None:
        """End it, wherever it is."""
        if self._again is not None:
            self._again.cancel()
            self._finish()
        elif self._task is not None:
            end(self._task)

    async def stop(self) -> None:
        """End it, and wait until it is over."""
        self.end()
        await self.ended()

    async def ended(self, timeout: float | None = None) -> bool:
        """Wait until it is over; tell whether it is."""
        await asyncio.wait([self.over], timeout=timeout)
        return self.is_over

    def _after(self, task: asyncio.Task[Any]) -> None:
        error = None if task.cancelled() else task.exception()
        is_cancelled = task.cancelled() or isinstance(error, asyncio.CancelledError)
        if not is_cancelled and error is None:
            self._finish()
            return
        if is_ending(task):
            if error is not None:
                logger.error("the task %r failed at its end", self._name, exc_info=error)
            self._finish()
            return
        steady = self._loop.time() - self._begun >= _STEADY
        self._failures = 0 if steady else self._failures + 1
        pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** min(self._failures, 10))
        reason = why_ended(task)
        what = "the task %r ended unasked: %s. It is begun again in %.2g s; until then, %s"
        logger.error(what, self._name, reason, pause, self._lost, exc_info=error)
        self._obstacles.meet(self, f"{self._lost}, since the task {self._name!r} has ended: {reason}")
        self._again = self._loop.call_later(pause, self._begin_again)

    def _begin_again(self) -> None:
        self.start()
        self._obstacles.clear(self)

    def _finish(self) -> None:
        self._obstacles.clear(self)
        if not self.over.done():
            self.over.set_result(None)


def begin(work: Coroutine[Any, Any, Any], name: str, context: Context | None = None) -> asyncio.Task[Any]:
    """Begin a task that is soon done, and for which nobody waits; what it raises is an error line."""
    task = asyncio.get_running_loop().create_task(work, name=name, context=context)
    task.add_done_callback(_tell_failure)
    return task


def why_ended(task: asyncio.Task[Any]) -> str:
    """Return the reason of the end of a task that nobody has asked to end."""
    if task.cancelled():
        return "something cancelled it"
    error = task.exception()
    return text_of(error) if error is not None else "it returned"


def _tell_failure(task: asyncio.Task[Any]) -> None:
    error = None if task.cancelled() else task.exception()
    if (task.cancelled() or error is not None) and not is_ending(task):
        logger.error("the task %r ended unasked: %s", task.get_name(), why_ended(task), exc_info=error)


class Precedence:
    """Knows whether something is done that somebody waits for."""

    def __init__(self) -> None:
        self._urgent = 0
        self._standing: list[asyncio.Future[None]] = []

    @property
    def is_free(self) -> bool:
        """Whether nothing is done that somebody waits for."""
        return not self._urgent

    @contextmanager
    def urgent(self) -> Iterator[None]:
        """What is done within ``with`` goes before work in the background."""
        self._urgent += 1
        try:
            yield
        finally:
            self._urgent -= 1
            if not self._urgent:
                self.stir()

    def stir(self) -> None:
        """Let work look again whether it may go on."""
        standing, self._standing = self._standing, []
        for each in standing:
            if not each.done():
                each.set_result(None)

    async def stirred(self, timeout: float) -> None:
        """Wait until work has to look again, or for so many seconds."""
        stirred: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._standing.append(stirred)
        await asyncio.wait([stirred], timeout=timeout)


class Background:
    """Work that makes way, each time that it comes to :func:`make_way`, as do all tasks that it starts.

    Args:
        precedence: Knows for what.
    """

    def __init__(self, precedence: Precedence) -> None:
        self._precedence = precedence
        self._awaited = 0
        self._turn = asyncio.Lock()
        #: Seconds for which it has made way.
        self.stood = 0.0

    @contextmanager
    def awaited(self) -> Iterator[None]:
        """Whoever is within ``with`` waits for this work: it makes way for nothing."""
        self._awaited += 1
        self._precedence.stir()
        try:
            yield
        finally:
            self._awaited -= 1

    def begin(self) -> None:
        """Let the task that calls this, and those that it starts from now on, make way, up to a time."""
        self.stood = 0.0
        _current.set(self)

    async def make_way(self) -> None:
        """Wait while something is more urgent."""
        if self._may_go_on():
            return
        clock = asyncio.get_running_loop().time
        # One task of the work at a time, so that no second is counted twice.
        async with self._turn:
            while not self._may_go_on():
                began = clock()
                await self._precedence.stirred(_LONGEST_WAY - self.stood)
                self.stood += clock() - began

    def _may_go_on(self) -> bool:
        return self._precedence.is_free or bool(self._awaited) or self.stood >= _LONGEST_WAY


_current: ContextVar[Background | None] = ContextVar("lightbus_background", default=None)


async def make_way() -> None:
    """Let go first what is more urgent, where this is work in the background; else go on at once."""
    background = _current.get()
    if background is not None:
        await background.make_way()
