"""Runs what the manifest schedules: in each process, or in one process of the service at a time."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Mapping

from lightbus.client import BusClient
from lightbus.exceptions import LightbusException
from lightbus.recurring import Schedule

from .cancellation import is_cancelled

logger = logging.getLogger(__name__)

#: The longest sleep, after which the clock is looked at again: it may have been set.
_LONGEST_SLEEP = 60.0
#: Seconds for which a tick stays claimed at least, as clocks differ and processes are late.
_SHORTEST_CLAIM = 60.0


class Schedules:
    """The schedules of one process.

    Args:
        client: The bus.
    """

    def __init__(self, client: BusClient) -> None:
        self._client = client
        self._group: asyncio.TaskGroup | None = None
        self._tasks: dict[str, tuple[Schedule, asyncio.Task[None]]] = {}
        # A process that takes the name of a dead one must not take its claims for its own.
        self._holder = f"{client.process_name} {secrets.token_hex(4)}"

    def start(self, group: asyncio.TaskGroup) -> None:
        """Begin to run the schedules of the bus."""
        self._group = group
        self.replace(self._client.schedules)

    def replace(self, schedules: Mapping[str, Schedule]) -> None:
        """Run these from now on; those that did not change go on undisturbed."""
        for name, (schedule, task) in list(self._tasks.items()):
            if schedules.get(name) != schedule:
                task.cancel()
                del self._tasks[name]
        if self._group is not None:
            for name, schedule in schedules.items():
                if name not in self._tasks:
                    task = self._group.create_task(self._run(schedule), name=f"lightbus schedule {name}")
                    self._tasks[name] = schedule, task

    def stop(self) -> None:
        """Run nothing more."""
        self._group = None
        self.replace({})

    async def _run(self, schedule: Schedule) -> None:
        due = time.time()
        while True:
            # A timer may fire a little early; the same time must not come twice.
            due = schedule.next_time(max(time.time(), due))
            await _sleep_until(due)
            if schedule.scope == "service" and not await self._is_ours(schedule, due):
                continue
            try:
                await self._client.pool.invoke(schedule.function)
            except BaseException as e:
                if is_cancelled(e):
                    raise
                logger.exception("the schedule %s failed; it runs again at its next time", schedule.name)

    async def _is_ours(self, schedule: Schedule, due: float) -> bool:
        """Tell whether this process, of all of the service, is to run a tick."""
        key = f"schedule:{self._client.service_name}:{schedule.name}:{round(due * 1000)}"
        ttl = max(_SHORTEST_CLAIM, 2 * (schedule.next_time(due) - due))
        warned = False
        while time.time() < due + ttl / 2:
            try:
                return await self._client.transports().schema().claim(key, self._holder, ttl)
            except LightbusException as e:
                if not warned:
                    logger.warning("the schedule %s waits, since its turn is not known: %s", schedule.name, e)
                warned = True
                await asyncio.sleep(1)
        logger.error(
            "the schedule %s missed its time: nobody could be asked whose turn it was", schedule.name
        )
        return False


async def _sleep_until(moment: float) -> None:
    while (left := moment - time.time()) > 0:  # noqa: ASYNC110 - the clock tells nobody when it is set
        await asyncio.sleep(min(left, _LONGEST_SLEEP))
