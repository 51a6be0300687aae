"""Calls of plain functions in threads, of which each takes many: one way there and back for all of them."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable

from lightbus.runtime.cancellation import NotStarted

from .call import ThreadCall
from .pool import HandlerPool

logger = logging.getLogger(__name__)

#: Seconds for which a call may wait behind one that blocks before it gets a thread of its own.
_PATIENCE = 0.001
#: Seconds that a quick function takes at most: a thread of its own would cost more than it gains.
_QUICK = 0.0001
#: The longest time that counts for one call: the rare slow one does not make the others slow.
_LONGEST = 5 * _QUICK
#: Seconds after which a thread ends its run: what surrounds it is renewed, and other lanes have their turn.
_LONGEST_RUN = 0.05


class Lane:
    """Calls plain functions in threads, in the order in which they were added.

    To go to a thread and back costs many times as much as a quick function does. So a thread takes one call
    after the other for as long as there are any. It tells the event loop of the first that has ended, and the
    loop finds the others that have ended by then. Functions that are not quick, or wait behind one that
    blocks, get other threads.

    Only the event loop decides how many threads there are. It shares two queues with them, whose methods are
    atomic, so that no lock is needed.

    Args:
        pool: Has the threads.
        limit: The most calls that run at a time.
        after: Called on the event loop when calls are in :attr:`finished`, or a thread has ended its run.
    """

    def __init__(self, pool: HandlerPool, limit: int, after: Callable[[], None]) -> None:
        self._limit = limit
        #: The calls that are over, and whose coroutines nobody has taken further yet.
        self.finished: deque[ThreadCall] = deque()
        self._pool = pool
        self._after = after
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[ThreadCall] = deque()
        #: From the threads: a call that has ended, or None for a run that has.
        self._told: deque[ThreadCall | None] = deque()
        #: Whether the loop is asked to look at those, and has not done so yet.
        self._is_asked = False
        self._runs: set[_Run] = set()
        self._threads = 0
        #: How many calls have ended, but keep the others from their place until they are settled.
        self._kept = 0
        self._is_open = True
        self._is_given_up = False
        self._starting = False
        self._watch: asyncio.TimerHandle | None = None
        self._first: ThreadCall | None = None
        self._seconds = 0.0

    @property
    def waiting(self) -> int:
        """How many calls have not begun."""
        return len(self._waiting)

    @property
    def is_idle(self) -> bool:
        """Whether no thread is in use, but for calls that were given up."""
        return not self._threads or self._is_given_up

    def add(self, call: ThreadCall) -> None:
        """Call a function as soon as its turn has come; what becomes of it is in :attr:`finished`."""
        if call.is_bound:
            call.waiter = self._loop.create_future()
        self._waiting.append(call)
        if not self._starting:
            # Not at once: what else is ready in this turn of the loop goes with it.
            self._starting = True
            self._loop.call_soon(self._start)

    def resize(self, limit: int) -> None:
        """Have up to so many calls run at a time from now on."""
        self._limit = limit
        self._start()

    def settled(self, call: ThreadCall) -> None:
        """Give the place of a call to another one: its coroutine has been taken further."""
        if call.goes_on:
            self._kept -= 1
            self._start()

    def hand_back(self) -> None:
        """Begin no call that waits: the coroutine of each raises :class:`NotStarted`, now and from now on."""
        self._is_open = False
        self._start()

    def abandon(self) -> list[ThreadCall]:
        """Return the calls that are not over, and not bound to a task; nothing more is heard of any."""
        self._settle()
        self._is_given_up = True
        # A thread may change the set meanwhile.
        running = (run.call for run in self._runs.copy())
        left = [call for call in (*self._waiting, *running) if call is not None and not call.is_over]
        self._waiting.clear()
        for call in left:
            call.is_over = True
        return [call for call in left if not call.is_bound]

    # On the event loop

    def _start(self) -> None:
        """Begin as many runs as the calls that wait need."""
        self._starting = False
        waiting = self._waiting
        if not self._is_open and waiting:
            while (call := self._pop()) is not None:
                call.fail(NotStarted())
                self._end(call)
            self._after()
        free = min(len(waiting), self._limit - self._threads - self._kept)
        if free <= 0:
            return
        if self._seconds > _QUICK:
            self._begin_runs(free)
            return
        is_behind = bool(self._threads) or free > 1
        if not self._threads:
            self._begin_runs(1)
        if is_behind and self._watch is None:
            self._watch_first(self._foremost())

    def _look(self) -> None:
        """Double the threads if none has taken a call since the last look."""
        self._watch = None
        before, self._first = self._first, None
        first = self._foremost()
        if first is not None and first is before:
            free = min(len(self._waiting), self._limit - self._threads - self._kept)
            self._begin_runs(min(free, max(1, self._threads)))
        if self._threads + self._kept < self._limit:
            self._watch_first(self._foremost())

    def _watch_first(self, first: ThreadCall | None) -> None:
        """Look later whether this call still waits; None where none does."""
        self._first = first
        if first is not None:
            self._watch = self._loop.call_later(_PATIENCE, self._look)

    def _foremost(self) -> ThreadCall | None:
        """Return the call whose turn it is, unless a thread has just taken the last one."""
        try:
            return self._waiting[0]
        except IndexError:
            return None

    def _pop(self) -> ThreadCall | None:
        """Take the call whose turn it is, unless a thread has just taken the last one."""
        try:
            return self._waiting.popleft()
        except IndexError:
            return None

    def _begin_runs(self, count: int) -> None:
        for _ in range(count):
            self._threads += 1
            self._pool.start(self._run)

    def _settle(self) -> None:
        """Take over what the threads have told."""
        # First: a thread that tells of something from now on asks once more.
        self._is_asked = False
        told = self._told
        while told:
            call = told.popleft()
            if call is None:
                self._threads -= 1
            elif not call.is_over:
                self._seconds += 0.1 * (min(call.seconds, _LONGEST) - self._seconds)
                self._end(call)
        if self._waiting and not self._starting:
            # They came when a run was about to end.
            self._start()
        self._after()

    def _end(self, call: ThreadCall) -> None:
        call.is_over = True
        if call.waiter is None:
            self._kept += call.goes_on
            self.finished.append(call)
        elif not call.waiter.done():
            call.waiter.set_result(None)

    # In a thread

    def _run(self) -> None:
        run = _Run()
        self._runs.add(run)
        try:
            with self._pool.in_thread():
                self._take(run)
        except BaseException as e:
            self._fail(run, e)
        finally:
            self._runs.discard(run)
            self._told.append(None)
            self._ask()

    def _take(self, run: _Run) -> None:
        """Take calls until none is left, or until it is time to begin afresh."""
        run.has_begun = True
        waiting, told, clock = self._waiting, self._told, time.perf_counter
        began = clock()
        until = began + _LONGEST_RUN
        while waiting:
            try:
                call = run.call = waiting.popleft()
            except IndexError:
                return  # Another thread has it.
            call.run()
            now = clock()
            call.seconds, began = now - began, now
            told.append(call)
            # After an error, the next call has new surroundings: a connection may have broken.
            if call.goes_on or now >= until:
                return
            if waiting and not self._is_asked:
                self._ask()

    def _fail(self, run: _Run, error: BaseException) -> None:
        """Let the next call fail if its surroundings can't be made."""
        if run.has_begun:
            logger.error("what surrounds functions in threads failed at its end", exc_info=error)
            return
        call = self._pop()
        if call is not None:
            call.fail(error)
            self._told.append(call)

    def _ask(self) -> None:
        """Let the event loop look at what is told, unless it is about to."""
        if self._is_asked:
            return
        self._is_asked = True
        try:
            self._loop.call_soon_threadsafe(self._settle)
        except RuntimeError:
            # The event loop is closed: nobody waits for the outcome any more.
            return


class _Run:
    """What one thread does just now."""

    def __init__(self) -> None:
        self.call: ThreadCall | None = None
        self.has_begun = False
