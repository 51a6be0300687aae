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

#: Seconds between two comparisons, and for which the broker is given to answer.
_INTERVAL, _PATIENCE = 60.0, 1.0
#: Seconds by which a difference must change to count as another one.
_STEP = 1.0
#: Seconds after which a difference that stays is told again.
_AGAIN = 3_600.0


class Timekeeper:
    """What time it is for the whole service: by this host's clock, or by the broker's where the two disagree.

    A broker has one clock and a service has many hosts, so that all of them are right together.

    Args:
        parts: The bus, whose contracts' broker is asked.
        changed: Called when the time of the service is no longer as far from this host's as before.
    """

    def __init__(self, parts: Parts, changed: Callable[[], None]) -> None:
        self._parts = parts
        self._changed = changed
        #: By how many seconds the service's time is ahead of this host's clock.
        self.lead = 0.0
        #: Whether a comparison was tried.
        self.has_looked = asyncio.Event()
        self._told_at = 0.0
        #: By this host's clock and one that nobody sets: when it was last looked.
        self._last: tuple[float, float] | None = None

    async def keep(self) -> None:
        """Compare the clocks for ever."""
        while True:
            await self.look()
            await asyncio.sleep(_INTERVAL)

    async def look(self) -> None:
        """Compare the clocks now, and tell where they differ."""
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
                "%s%s; set the wrong one right, as by NTP. Until then, schedules with scope: service go by "
                "the broker's",
                difference(lead, broker.address, clock.now()),
                self._culprit(lead, before),
            )
        elif before and not lead:
            logger.info("the clocks of this host and of the broker at %s agree again", broker.address)
        self._last = clock.now(), now
        if is_new and not is_first:
            self._changed()

    def _culprit(self, lead: float, before: float) -> str:
        """Say which of the two was set since they were last compared, where that can be told."""
        if self._last is None or abs(lead - before) <= TOLERATED:
            return ""
        ours, steady = self._last
        jumped = abs((self._parts.clock.now() - ours) - (time.monotonic() - steady)) > TOLERATED
        return f", since {'this host' if jumped else 'the broker'}'s was set"
