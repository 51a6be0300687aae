"""Bounded concurrency without a task per message: long-lived workers share the items that were taken."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Generic, TypeVar

from lightbus.runtime.cancellation import end, is_ending, own
from lightbus.runtime.isolation import Isolation
from lightbus.runtime.tasks import why_ended

logger = logging.getLogger(__name__)

T = TypeVar("T")

#: Seconds of work that may be fetched ahead.
_AHEAD = 0.1


class Slots(Generic[T]):
    """Takes items and handles up to ``limit`` of them at a time.

    If handling is quick, more items are fetched ahead than there are slots: as many as are handled within a
    tenth of a second. If it is slow, none are.

    Args:
        name: The owner of the items, for the names of tasks and the log, such as "listener mailer".
        isolation: Makes the context in which each item is handled.
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
        #: The number of items that are being handled.
        self.running = 0

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
            # All at the same time: if the broker is silent, each waits for its whole timeout.
            await asyncio.gather(*map(self._leave, left))

    def resize(self, limit: int) -> None:
        """Handle up to ``limit`` items at a time from now on; handlers that run already go on."""
        self.limit = limit
        self._ahead = max(self._most_ahead, limit)
        for _ in range(min(limit, len(self._ready))):
            self._wake()
        self._room.set()

    async def finish(self, timeout: float) -> int:
        """Wait for running handlers.

        Returns:
            The number of items that were not finished within ``timeout`` seconds, and are left behind.
        """
        if not self._is_done():
            self._all_done = asyncio.get_running_loop().create_future()
            await asyncio.wait([self._all_done], timeout=timeout)
        left = self.running + len(self._ready)
        for worker in self._workers:
            end(worker)
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
        for item in items:
            self._ready.append(item)
            self._wake()

    def _is_done(self) -> bool:
        return not (self.running or self._ready or self._taking)

    def _note_progress(self) -> None:
        if self._all_done is not None and self._is_done() and not self._all_done.done():
            self._all_done.set_result(None)

    def _wanted(self) -> int:
        """Return the number of items to take now."""
        if self._ahead == self.limit:
            return self.limit - self.running - len(self._ready)
        ahead = min(self._ahead, max(self.limit, int(self.limit * _AHEAD / self._seconds)))
        # Items are taken when half of those ahead are used up, so that each read brings many. No slot stays
        # free for that.
        held = len(self._ready) + self.running
        return ahead - held if held <= ahead // 2 else max(0, self.limit - held)

    def _wake(self) -> None:
        while self._idle:
            idle = self._idle.popleft()
            if not idle.done():
                idle.set_result(None)
                return
        if len(self._workers) < self.limit:
            name = f"lightbus worker of the {self.name}"
            worker = own(asyncio.get_running_loop().create_task(self._work(), name=name))
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
        if self._ready:
            self._wake()

    async def _work(self) -> None:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        ready = self._ready
        while True:
            while ready:
                if len(self._workers) > self.limit:
                    self._retire()
                    return
                item = ready.popleft()
                self.running += 1
                started = loop.time()
                try:
                    if (rest := self._isolation.begin(self._handle(item))) is not None:
                        await rest
                finally:
                    self.running -= 1
                    if self._all_done is not None:
                        self._note_progress()
                # A moving average over about ten items.
                self._seconds += 0.1 * (max(loop.time() - started, 1e-6) - self._seconds)
                if not self._room.is_set() and self._wanted() > 0:
                    self._room.set()
                if task is not None and task.cancelling():
                    # Code that has cancelled this task may do so again, and must not hit another item.
                    self._retire()
                    return
            idle = loop.create_future()
            self._idle.append(idle)
            await idle

    def _retire(self) -> None:
        """End the running worker, and leave its work to another one."""
        task = asyncio.current_task()
        if task is not None:
            self._workers.discard(task)
        if self._ready:
            self._wake()
