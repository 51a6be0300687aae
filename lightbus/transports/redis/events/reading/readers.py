"""The readers of one consumer, which take its events together."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

from lightbus.runtime.tasks import Kept
from lightbus.transports.redis.events.delivery import Deliveries
from lightbus.transports.redis.link.connection import BLOCK, WAKE_AGAIN

from .reader import Reader

#: Seconds after a reading for which readers still wait in Redis, since the next one mostly follows at once.
_GRACE = 0.01


class Readers:
    """Reads by one reader, or by several at the same time, each in a task of its own.

    Args:
        readers: The readers.
        deliveries: Takes what they read.
    """

    def __init__(self, readers: Sequence[Reader], deliveries: Deliveries) -> None:
        self.all = readers
        self._only = readers[0] if len(readers) == 1 else None
        self._deliveries = deliveries
        self._membership = deliveries.settling.membership
        deliveries.wake = self.wake
        self._wanted = 0
        #: Set while events are wanted, and nothing has come: with several readers.
        self._is_wanting = asyncio.Event()
        self._has_come = asyncio.Event()
        self._resting: asyncio.TimerHandle | None = None
        self._kept: list[Kept] = []

    @property
    def trouble(self) -> str:
        """The reason why some streams are not read; empty while all are."""
        return next((reader.trouble for reader in self.all if reader.trouble), "")

    def start(self) -> None:
        """Begin the tasks of several readers; they read while :meth:`read` waits."""
        if self._only is not None:
            return
        group, obstacles = self._membership.group, self._membership.obstacles
        for reader in self.all:
            reader.is_wanted = self._is_wanting.is_set
            name, lost = f"lightbus reading {group}", f"as {group}, {', '.join(reader.sources)} are not read"
            self._kept.append(Kept(partial(self._keep_reading, reader), name, lost, obstacles).start())

    async def read(self, wanted: int) -> None:
        """Read until something has come, or for a while."""
        if self._only is not None:
            await self._only.read(wanted)
            return
        if self._deliveries or self._membership.is_leaving:
            return
        self._wanted = wanted
        self._has_come.clear()
        self._is_wanting.set()
        try:
            async with asyncio.timeout(BLOCK):
                await self._has_come.wait()
        except TimeoutError:
            pass  # The worker asks again.
        finally:
            self._is_wanting.clear()
            if self._resting is None:
                self._resting = asyncio.get_running_loop().call_later(_GRACE, self._rest)

    def wake(self) -> None:
        """End a reading, since something has come, or is to be done first."""
        if self._only is not None:
            self._membership.pipe.unblock(self._only.link)
        else:
            self._is_wanting.clear()
            self._has_come.set()

    def interrupt(self) -> None:
        """Let all readers return that wait for events."""
        self.wake()
        if self._only is None:
            self._unblock()

    def note_lost(self) -> None:
        """Look for events that were given to this process by a reply which did not come."""
        for reader in self.all:
            reader.lost.note()
        self.interrupt()

    async def take_up_lost(self) -> None:
        """Offer the events of lost replies to the worker."""
        for reader in self.all:
            await reader.lost.take_up()

    async def end_tasks(self) -> None:
        """End the tasks of several readers."""
        for kept in self._kept:
            kept.end()
        for kept in self._kept:
            await kept.ended()

    async def close(self) -> None:
        """Close the connections."""
        if self._resting is not None:
            self._resting.cancel()
        for reader in self.all:
            await reader.link.close()

    async def _keep_reading(self, reader: Reader) -> None:
        while not self._membership.is_leaving:
            await self._is_wanting.wait()
            await reader.read(self._wanted)
            if self._deliveries and self._membership.is_leaving:
                # They came when all others had been handed back already.
                await self._deliveries.hand_back()
            elif self._deliveries:
                self.wake()

    def _rest(self) -> None:
        """Fetch nothing more while there is no free slot: it would wait here, not for a free process."""
        self._resting = None
        if not self._is_wanting.is_set() and self._unblock():
            self._resting = asyncio.get_running_loop().call_later(WAKE_AGAIN, self._rest)

    def _unblock(self) -> bool:
        """Wake the readers that wait in Redis; tell whether there are any."""
        waiting = [reader.link for reader in self.all if reader.is_waiting]
        for link in waiting:
            self._membership.pipe.unblock(link)
        return bool(waiting)
