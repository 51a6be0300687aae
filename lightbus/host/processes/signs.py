"""The signs of life for a watchdog: one in half of its time, as long as all turns that has to."""

from __future__ import annotations

import time
from collections.abc import Callable

from .overseer import ALIVE, Overseer

#: Between two looks without a watchdog, in seconds.
_LOOKS = 1.0


class Signs:
    """Gives signs of life to an overseer that asks for them.

    The last one comes within half of the watchdog's time after the standstill. What stands still for less
    than that half is never taken for dead, and for one and a half of the time it always is.

    Args:
        overseer: Whoever asks.
        turned_within: Tells whether all that has to turn did so within so many seconds.
        steps: How many processes one after the other tell of it; they share the half.
        often: Whether to give one with each look, to a process that passes them on.
    """

    def __init__(
        self,
        overseer: Overseer,
        turned_within: Callable[[float], bool],
        *,
        steps: int = 1,
        often: bool = False,
    ) -> None:
        watchdog = overseer.watchdog
        self._overseer = overseer
        self._turned_within = turned_within
        self._half = (watchdog or 0.0) / 2
        self._share = self._half / steps
        self._wait = 0.0 if often else self._half * 0.99
        self._last = float("-inf")
        #: Seconds between two looks.
        self.pause = min(_LOOKS, watchdog / 8) if watchdog else _LOOKS

    def look(self) -> None:
        """Give a sign if it is time for one, and if all turns."""
        now = time.monotonic()
        if self._half and now - self._last >= self._wait and self._turned_within(self._share):
            self._last = now
            self._overseer.tell(ALIVE)
