"""The order in which the readers of one consumer ask for events, if there are too few free slots for all."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from heapq import heappop, heappush
from itertools import count
from typing import Any


class Turns:
    """Lets one reader ask at a time: first the one that has found nothing for the longest time."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._numbers = count(1)
        #: When each reader has found something last, by a number that grows.
        self._found: dict[object, int] = {}
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._is_taken = False

    async def ask(self, who: object, ask: Callable[[], Awaitable[Any]]) -> Any:
        """Wait for the turn of a reader, and let it ask; returns what it has found."""
        turn = self._loop.create_future()
        heappush(self._waiting, (self._found.get(who, 0), next(self._numbers), turn))
        if not self._is_taken:
            self._is_taken = True
            # Not at once: readers that are woken together come one after the other.
            self._loop.call_soon(self._give)
        try:
            await turn
            found = await ask()
            if found:
                self._found[who] = next(self._numbers)
            return found
        finally:
            if turn.done() and not turn.cancelled():
                self._give()

    def _give(self) -> None:
        """Give the turn to the next one."""
        while self._waiting:
            _, _, turn = heappop(self._waiting)
            if not turn.done():
                turn.set_result(None)
                return
        self._is_taken = False
