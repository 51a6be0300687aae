"""The leases of runs: while a process runs a schedule, no other one of its service does."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from lightbus.bus.parts import Parts
from lightbus.declared.schedule import Schedule
from lightbus.exceptions import LightbusException
from lightbus.runtime.retrying import Retrying
from lightbus.runtime.tasks import Kept

logger = logging.getLogger(__name__)

#: Bounds of the lease of a run, in seconds. It is shorter than the time between two ticks, so that a process
#: that is killed while it runs one does not keep the others from the next.
_SHORTEST, _LONGEST = 0.9, 30.0


class Leases:
    """The leases that one process has."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        # Random, since a process that has the name of a dead one must not count as holder of its leases.
        self.holder = f"{parts.identity.process_name} {secrets.token_hex(4)}"

    @asynccontextmanager
    async def held(self, schedule: Schedule, lease: float) -> AsyncIterator[None]:
        """Hold the lease of a run, so that no other process runs the next ticks meanwhile.

        Args:
            schedule: The schedule.
            lease: The seconds of the lease, for which this process has it; 0 for none.
        """
        renewal = None
        if lease:
            lost = f"the lease of the schedule {schedule.name} is not renewed"
            name = f"lightbus lease of the schedule {schedule.name}"
            work = partial(self._renew, schedule, lease)
            renewal = Kept(work, name, lost, self._parts.obstacles).start()
        try:
            yield
        finally:
            if renewal is not None:
                # In this order: a renewal after the release would hold the lease again.
                renewal.end()
                await self._let_go(schedule)

    async def _renew(self, schedule: Schedule, lease: float) -> None:
        schema = self._parts.transports().schema()
        renewing = Retrying(logger, f"the lease of the schedule {schedule.name} can't be renewed")
        while True:
            await asyncio.sleep(lease / 3)
            try:
                if not await schema.hold(self.key(schedule), self.holder, lease):
                    logger.warning(
                        "the schedule %s may run in another process as well, since its lease ran out",
                        schedule.name,
                    )
                    return
                renewing.clear()
            except LightbusException as e:
                renewing.failed(e)

    async def _let_go(self, schedule: Schedule) -> None:
        try:
            async with asyncio.timeout(2):
                await self._parts.transports().schema().hold(self.key(schedule), self.holder, 0)
        except (TimeoutError, LightbusException) as e:
            logger.warning(
                "the lease of the schedule %s was not released, and runs out by itself: %s",
                *(schedule.name, str(e) or "no answer in time"),
            )

    def key(self, schedule: Schedule) -> str:
        """Return the name under which the broker knows a schedule."""
        return f"{self._parts.identity.service_name}:{schedule.name}"

    def seconds(self, schedule: Schedule, due: float) -> float:
        """Return the length of the lease of a tick; 0 where runs may overlap."""
        if schedule.overlap:
            return 0.0
        return min(_LONGEST, max(_SHORTEST, 0.9 * (schedule.next_time(due) - due)))
