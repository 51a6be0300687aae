"""The time of day and waiting for it, for what must be testable without waiting."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

#: The longest sleep, after which the time is looked at again: it may have been set.
_LONGEST_SLEEP = 60.0


class Clock:
    """The machine's own; :class:`lightbus.testing.VirtualClock` stands in for it in tests."""

    def now(self) -> float:
        """Return the Unix time in seconds."""
        return time.time()

    async def sleep_until(self, moment: float) -> None:
        """Wait until a Unix time in seconds; returns at once where it has passed."""
        while (left := moment - self.now()) > 0:  # noqa: ASYNC110 - the clock tells nobody when it is set
            await asyncio.sleep(min(left, _LONGEST_SLEEP))

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any) -> None:
        """Call a function on the running event loop after so many seconds."""
        asyncio.get_running_loop().call_later(delay, callback, *args)
