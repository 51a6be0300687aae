"""Bounded concurrency without a task per message: long-lived workers share the items that were taken."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Generic, TypeVar

from lightbus.runtime.cancellation import NotStarted, end, is_ending, note_end, own
from lightbus.runtime.isolation import Isolation, Left, give_up, go_on
from lightbus.runtime.tasks import why_ended
from lightbus.runtime.threads.call import ThreadCall
from lightbus.runtime.threads.lane import Lane
from lightbus.runtime.threads.pool import HandlerPool

logger = logging.getLogger(__name__)

T = TypeVar("T")

#: Seconds of work that may be fetched ahead.
_AHEAD = 0.1


class Slots(Generic[T]):
    """Takes items and handles up to ``limit`` of them at a time.

    If handling is quick, more items are fetched ahead than there are slots: as many as are handled within a
    tenth of a second. If it is slow, none are.

    Tasks handle one item after the other. An item that calls a plain function leaves its task for as long as
    that runs in a thread; when it has ended, any of the tasks takes the item further.

    Args:
        name: The owner of the items, for the names of tasks and the log, such as "listener mailer".
        isolation: Makes the context in which each item is handled.
        pool: Has the threads of plain functions.
        take: Waits for items, and returns at most as many as it is asked for.
        handle: Handles one item; never raises.
        leave: Hands back an item that was taken but is not started before the end; None if items that were
            taken are handled in any case.
        limit: The most items that are handled at a time.
        ahead: The most items that are fetched ahead; 0 for none beyond ``limit``.
    """

    def __init__(
        self,
        name: str,
        isolation: Isolation,
        pool: HandlerPool,
        take: Callable[[int], Awaitable[Sequence[T]]],
        handle: Callable[[T], Coroutine[Any, Any, None]],
        leave: Callable[[T], Awaitable[None]] | None,
        limit: int,
        ahead: int = 0,
    ) -> None:
        self.name = name
        self._isolation = isolation
        self._take = take
        self._handle = handle
        self._leave = leave
        self.limit = limit
        self._most_ahead = ahead
        self._ahead = max(ahead, limit)
        self._seconds = _AHEAD
        self._ready: deque[T] = deque()
        self._idle: deque[asyncio.Future[None]] = deque()
        self._workers: set[asyncio.Task[None]] = set()
        self._room = asyncio.Event()
        self._stopping = False
        self._taking = False
        self._all_done: asyncio.Future[None] | None = None
        self._lane = Lane(pool, limit, self._go_on)
        #: How many items are begun and not over.
        self._begun = 0
        #: How many tasks wait for something in an item that has not called its function yet, or has none.
        self._occupied = 0

    @property
    def running(self) -> int:
        """The number of items that are being handled."""
        return self._begun - self._lane.waiting

    async def run(self) -> None:
        """Take and handle items until :meth:`stop`; handlers that run then go on."""
        self._taking = True
        try:
            while not self._stopping:
                await self._take_some()
        finally:
            self._taking = False
            self._note_progress()

    async def stop(self) -> None:
        """Take no more, and leave the items that were taken and not started."""
        # First: a take that returns during the wait below must leave its items, too.
        self._stopping = True
        self._room.set()
        if self._leave is not None:
            left = list(self._ready)
            self._ready.clear()
            self.hand_back()
            # All at the same time: if the broker is silent, each waits for its whole timeout.
            await asyncio.gather(*map(self._leave, left))

    def hand_back(self) -> None:
        """Call no function in threads any more: items that wait for one end by :class:`NotStarted`."""
        self._lane.hand_back()

    def resize(self, limit: int) -> None:
        """Handle up to ``limit`` items at a time from now on; handlers that run already go on."""
        self.limit = limit
        self._ahead = max(self._most_ahead, limit)
        self._lane.resize(limit)
        self._wake_many()
        self._room.set()

    async def quiet(self, timeout: float) -> bool:
        """Wait until nothing runs any more, for ``timeout`` seconds at most; tell whether that is so."""
        if not self._is_done():
            if self._all_done is None or self._all_done.done():
                self._all_done = asyncio.get_running_loop().create_future()
            await asyncio.wait([self._all_done], timeout=timeout)
        return self._is_done()

    async def finish(self, timeout: float) -> int:
        """Wait for running handlers.

        Returns:
            The number of items that were not finished within ``timeout`` seconds, and are left behind.
        """
        await self.quiet(timeout)
        running = self._lane.abandon()
        if self._lane.finished:
            # What has ended just now is settled as it deserves: its turn comes before ours.
            await asyncio.sleep(0)
        left = self._begun + len(self._ready)
        for worker in self._workers:
            end(worker)
        for call in running:
            self._add_worker(self._give_up(call))
        if self._workers:
            # Not for ever: a handler in a thread can't be cancelled, and is left behind.
            await asyncio.wait(self._workers, timeout=1)
        return left

    async def _take_some(self) -> None:
        wanted = self._wanted()
        if wanted <= 0:
            self._room.clear()
            await self._room.wait()
            return
        items = await self._take(wanted)
        if self._stopping and self._leave is not None:
            await asyncio.gather(*map(self._leave, items))
            return
        if not items:
            # A take that returns nothing, and at once, must not keep other tasks from running.
            await asyncio.sleep(0)
            return
        self._ready.extend(items)
        # One is enough for quick items. Where one has to wait, others are woken.
        self._wake()

    def _is_done(self) -> bool:
        return self._lane.is_idle and not (self._begun or self._ready or self._taking)

    def _note_progress(self) -> None:
        if self._all_done is not None and self._is_done() and not self._all_done.done():
            self._all_done.set_result(None)

    def _wanted(self) -> int:
        """Return the number of items to take now."""
        if self._ahead == self.limit:
            return self.limit - self._begun - len(self._ready)
        ahead = min(self._ahead, max(self.limit, int(self.limit * _AHEAD / self._seconds)))
        # Items are taken when half of those ahead are used up, so that each read brings many. No slot stays
        # free for that.
        held = len(self._ready) + self._begun
        return ahead - held if held <= ahead // 2 else max(0, self.limit - held)

    def _wake(self) -> bool:
        """Have a task look for work; return whether there was one that did not already, or could be made."""
        if self._wake_idle():
            return True
        if len(self._workers) >= self.limit:
            return False
        self._add_worker(self._work())
        return True

    def _wake_many(self) -> None:
        """Have a task begin with each item that is ready, as far as there are tasks."""
        for _ in range(len(self._ready)):
            if not self._wake():
                return

    def _wake_idle(self) -> bool:
        while self._idle:
            idle = self._idle.popleft()
            if not idle.done():
                idle.set_result(None)
                return True
        return False

    def _go_on(self) -> None:
        """Have those items taken further whose functions have ended, whatever all the tasks wait for."""
        if self._lane.finished:
            if not self._wake_idle():
                self._add_worker(self._work())
        elif self._all_done is not None:
            self._note_progress()

    def _add_worker(self, work: Coroutine[Any, Any, None]) -> None:
        name = f"lightbus worker of the {self.name}"
        worker = own(asyncio.get_running_loop().create_task(work, name=name))
        self._workers.add(worker)
        worker.add_done_callback(self._after_worker)

    def _after_worker(self, worker: asyncio.Task[None]) -> None:
        is_known = worker in self._workers
        self._workers.discard(worker)
        if not is_known or is_ending(worker):
            return
        error = None if worker.cancelled() else worker.exception()
        what = "a worker of the %s ended unasked: %s. Another one takes its place"
        logger.error(what, self.name, why_ended(worker), exc_info=error)
        self._room.set()
        self._pass_on()

    async def _work(self) -> None:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        ready, ended, park = self._ready, self._lane.finished, self._lane.add
        while True:
            while ended or (ready and self._occupied < self.limit):
                call, is_over, started = None, True, loop.time()
                try:
                    if ended:
                        call = ended.popleft()
                        left = go_on(call)
                    else:
                        self._begun += 1
                        left = self._isolation.begin(self._handle(ready.popleft()))
                    if type(left) is ThreadCall and not left.is_bound:
                        is_over = False
                        park(left)
                    elif left is not None:
                        is_over = await (self._begin_slowly(left) if call is None else self._follow(left))
                except NotStarted:
                    logger.debug("the %s leaves an item that was not started", self.name)
                finally:
                    if call is not None:
                        self._lane.settled(call)
                    if is_over:
                        self._note_end(call.seconds if call is not None else loop.time() - started)
                if task is not None and task.cancelling():
                    # Code that has cancelled this task may do so again, and must not hit another item.
                    self._retire()
                    return
            idle = loop.create_future()
            self._idle.append(idle)
            await idle

    async def _begin_slowly(self, left: Left) -> bool:
        """Wait for what is left of an item that was begun; return as :meth:`_follow` does."""
        self._occupied += 1
        try:
            self._wake_many()
            return await self._follow(left)
        finally:
            self._occupied -= 1

    async def _follow(self, left: Left) -> bool:
        """Wait for what is left of an item; return whether it is over, and not in the lane."""
        while left is not None:
            if type(left) is ThreadCall:
                self._lane.add(left)
                if not left.is_bound:
                    return False
                left = go_on(left, left.waiter)
            else:
                self._pass_on()
                left = await left
        return True

    async def _give_up(self, call: ThreadCall) -> None:
        """End an item whose function still runs, as if its task had been ended."""
        task = asyncio.current_task()
        if task is not None:
            note_end(task)
        try:
            left = give_up(call, asyncio.CancelledError())
            while left is not None:
                left = await left
        finally:
            self._begun -= 1

    def _note_end(self, seconds: float) -> None:
        """Note that an item is over, and how long it took."""
        self._begun -= 1
        if self._all_done is not None:
            self._note_progress()
        # A moving average over about ten items.
        self._seconds += 0.1 * (max(seconds, 1e-6) - self._seconds)
        if not self._room.is_set() and self._wanted() > 0:
            self._room.set()

    def _retire(self) -> None:
        """End the running worker, and leave its work to another one."""
        task = asyncio.current_task()
        if task is not None:
            self._workers.discard(task)
        self._pass_on()

    def _pass_on(self) -> None:
        """Let another task go on with what there is to do."""
        if self._lane.finished:
            self._go_on()
        elif self._ready:
            self._wake()
