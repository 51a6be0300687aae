"""Messages wait here in memory until somebody takes them."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Inbox(Generic[T]):
    """Items in order; those handed back come before new ones."""

    def __init__(self) -> None:
        self._returned: deque[T] = deque()
        self._new: deque[T] = deque()
        self._waiting: dict[asyncio.Future[None], None] = {}

    def put(self, item: T) -> None:
        """Add an item."""
        self._new.append(item)
        self.wake()

    def put_back(self, item: T) -> None:
        """Add an item that was taken before."""
        self._returned.append(item)
        self.wake()

    async def wait(self) -> None:
        """Wait for an item, or for :meth:`wake`."""
        if self._returned or self._new:
            return
        woken = asyncio.get_running_loop().create_future()
        self._waiting[woken] = None
        try:
            await woken
        finally:
            del self._waiting[woken]

    def take(self) -> T | None:
        """Return the first item, if there is one."""
        items = self._returned or self._new
        return items.popleft() if items else None

    def remove(self, item: T) -> bool:
        """Take out an item that was put in; false if it is no longer here."""
        if item not in self._new:
            return False
        self._new.remove(item)
        return True

    def __len__(self) -> int:
        return len(self._returned) + len(self._new)

    def wake(self) -> None:
        """Let all who wait look again."""
        # One that has just had everything waits again before those that found nothing: these are first now.
        for woken in reversed(self._waiting):
            if not woken.done():
                woken.set_result(None)
