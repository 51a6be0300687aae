"""Compares this host's clock with the broker's, by which the processes of a service agree on times."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from lightbus.bus.parts import Parts
from lightbus.exceptions import LightbusException
from lightbus.runtime.clock import TOLERATED, difference, lead_of

logger = logging.getLogger(__name__)

#: Seconds between two comparisons, and seconds that the broker has to answer.
_INTERVAL, _PATIENCE = 60.0, 1.0
#: Seconds by which a difference must change to count as new.
_STEP = 1.0
#: Seconds after which a lasting difference is logged again.
_AGAIN = 3_600.0


class Timekeeper:
    """Knows the time of the whole service: that of this host, or the broker's if the two clocks disagree.

    A service may run on many hosts, but its broker has one clock, by which all of them agree.

    Args:
        parts: The bus; the broker of its contracts is asked.
        changed: Called when the difference between the service's time and this host's has changed.
    """

    def __init__(self, parts: Parts, changed: Callable[[], None]) -> None:
        self._parts = parts
        self._changed = changed
        #: The seconds by which the service's time is ahead of this host's clock.
        self.lead = 0.0
        #: Whether a comparison was tried.
        self.has_looked = asyncio.Event()
        self._told_at = 0.0
        #: The time of the last comparison, by this host's clock and by the monotonic one.
        self._last: tuple[float, float] | None = None

    async def keep(self) -> None:
        """Compare the clocks for ever."""
        while True:
            await self.look()
            await asyncio.sleep(_INTERVAL)

    async def look(self) -> None:
        """Compare the clocks now, and log a difference."""
        clock, is_first = self._parts.clock, not self.has_looked.is_set()
        try:
            broker = self._parts.transports().schema()
            async with asyncio.timeout(_PATIENCE):
                lead = await lead_of(broker.now, clock)
        except (TimeoutError, LightbusException) as e:
            logger.debug("the broker was not asked for the time: %s", e or "it does not answer")
            return
        finally:
            self.has_looked.set()
        before, self.lead = self.lead, lead
        is_new = abs(lead - before) > _STEP
        now = time.monotonic()
        if lead and (is_new or now - self._told_at >= _AGAIN):
            self._told_at = now
            logger.warning(
                "%s%s; correct the wrong one, for example by NTP. Until then, schedules with scope: service "
                "go by the broker's",
                difference(lead, broker.address, clock.now()),
                self._culprit(lead, before),
            )
        elif before and not lead:
            logger.info("the clocks of this host and of the broker at %s agree again", broker.address)
        self._last = clock.now(), now
        if is_new and not is_first:
            self._changed()

    def _culprit(self, lead: float, before: float) -> str:
        """Say which of the two clocks was set since the last comparison, if that is known."""
        if self._last is None or abs(lead - before) <= TOLERATED:
            return ""
        ours, steady = self._last
        jumped = abs((self._parts.clock.now() - ours) - (time.monotonic() - steady)) > TOLERATED
        return f", since {'this host' if jumped else 'the broker'}'s was set"
