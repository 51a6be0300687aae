"""The time of day and waiting for it, for what must be testable without waiting; how two clocks differ."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

#: The longest sleep, after which the time is looked at again: it may have been set.
_LONGEST_SLEEP = 60.0
#: Seconds by which two clocks may differ without a word.
TOLERATED = 5.0
#: Of each unit, from how many seconds on it is used, how many it has, and what it is called.
_UNITS = ((2 * 86_400, 86_400, "days"), (2 * 3_600, 3_600, "hours"), (120, 60, "minutes"), (0, 1, "seconds"))


class Clock:
    """The machine's own; :class:`lightbus.testing.VirtualClock` stands in for it in tests."""

    def now(self) -> float:
        """Return the Unix time in seconds."""
        return time.time()

    async def sleep_until(self, moment: float) -> None:
        """Wait until a Unix time in seconds; returns at once where it has passed.

        Returns early where the clock is set back meanwhile: the moment may be far away then.
        """
        while (left := moment - self.now()) > 0:
            await asyncio.sleep(min(left, _LONGEST_SLEEP))
            if moment - self.now() > left:
                return

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any) -> None:
        """Call a function on the running event loop after so many seconds."""
        asyncio.get_running_loop().call_later(delay, callback, *args)


async def lead_of(ask: Callable[[], Awaitable[float]], clock: Clock) -> float:
    """Compare another clock with this one.

    Args:
        ask: Returns the Unix time by the other clock.
        clock: This one.

    Returns:
        By how many seconds the other is ahead, as far as that is certain; 0 if the two agree well enough.
    """
    started = time.monotonic()
    theirs = await ask()
    half = (time.monotonic() - started) / 2
    lead = theirs + half - clock.now()
    return lead if abs(lead) - half > TOLERATED else 0.0


def difference(lead: float, address: str, now: float) -> str:
    """Say that two clocks differ, and by how much.

    Args:
        lead: By how many seconds the broker's is ahead of this host's.
        address: The address of the broker.
        now: The Unix time by this host's clock.
    """
    _, seconds, unit = next(each for each in _UNITS if abs(lead) >= each[0])
    ours, theirs = (datetime.fromtimestamp(t, UTC).isoformat(timespec="seconds") for t in (now, now + lead))
    return (
        f"the clock of this host ({ours}) is {abs(lead) / seconds:.3g} {unit} "
        f"{'behind' if lead > 0 else 'ahead of'} that of the broker at {address} ({theirs})"
    )
