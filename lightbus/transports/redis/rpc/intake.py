"""Calls that are moved from a queue to the list of one process whenever a bell was rung."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from lightbus.transports.redis.link.channel import Channel
from lightbus.transports.redis.link.cluster.bells import Bells
from lightbus.transports.redis.scripts import Run


class RungIntake:
    """Calls come over the shared connection, whenever a bell says that there may be some.

    Args:
        pipe: The cluster.
        bells: The bells.
        queue: The key of the queue.
        take: Makes the script that takes so many calls.
    """

    def __init__(self, pipe: Channel, bells: Bells, queue: str, take: Callable[[int], Run]) -> None:
        self._take = take
        self._pipe, self._bells, self._queue = pipe, bells, queue
        self._rung = asyncio.Event()
        bells.hear(queue, self._note_ring)

    async def ready(self) -> None:
        """Wait for a ring."""
        await self._rung.wait()

    async def fetch(self, most: int) -> Sequence[Any]:
        """Move the calls that are there."""
        # Before it is asked: a ring that comes meanwhile may be about a call that has come too late for this.
        self._rung.clear()
        try:
            calls: Sequence[Any] = await self._pipe.run(self._take(most))
        except BaseException:
            self._rung.set()
            raise
        # There may be more. Of those that were left to others, it may be that nobody else is free.
        if len(calls) >= most or (calls and isinstance(calls[-1], int)):
            self._rung.set()
        return (calls,)

    def wake(self) -> None:
        """End a wait at once, as if the bell was rung."""
        self._rung.set()

    def close(self) -> None:
        """Hear the bell no more."""
        self._bells.unhear(self._queue, self._note_ring)

    def _note_ring(self, _: str | None) -> None:
        self._rung.set()
