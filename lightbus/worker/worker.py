"""All consumers of one process, started and ended together."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from lightbus.client import BusClient
from lightbus.exceptions import LightbusException

from .dispatch import Dispatch
from .events import EventWorker
from .rpc import RpcWorker
from .scheduler import run_background, run_recurring

logger = logging.getLogger(__name__)


class Worker:
    """Serves APIs, runs listeners and recurring work, and keeps contracts published.

    Args:
        client: The bus, with everything declared.
        served: The names of the APIs that this process answers.
    """

    def __init__(self, client: BusClient, served: Sequence[str]) -> None:
        self._client = client
        self._dispatch = Dispatch(client)
        features = client.features
        self.served = list(served) if "rpcs" in features else []
        self._published = list(served)
        for name in served:
            self._dispatch.prepare_api(name)
        listeners = client.listeners.values() if "events" in features else ()
        for listener in listeners:
            self._dispatch.prepare_listener(listener)
        self.rpcs = [RpcWorker(client, self._dispatch, name) for name in self.served]
        self.events = [EventWorker(client, self._dispatch, record) for record in listeners if record.enabled]
        self._tasks: list[asyncio.Task[None]] = []

    async def publish_contracts(self) -> None:
        """Publish the contracts of the APIs of this process, and read those of others."""
        contracts = {name: self._client.contracts.get(name) or {} for name in self._published}
        await self._client.transports().schema().store(contracts, self._client.wiring.schema_ttl)
        await self._client.load_contracts(self._client.transports())

    async def join(self) -> None:
        """Make consumer groups and sign on as a worker, so that nothing sent from now on is missed."""
        await asyncio.gather(*(worker.join() for worker in self._workers()))

    def start(self, group: asyncio.TaskGroup) -> None:
        """Begin to take messages and to run recurring work."""
        client = self._client
        self._tasks = [group.create_task(self._keep_contracts(), name="lightbus contracts")]
        for rpc in self.rpcs:
            group.create_task(rpc.run(), name=f"lightbus rpc {rpc.api_name}")
        for event in self.events:
            group.create_task(event.run(), name=f"lightbus listener {event.listener.name}")
        if "tasks" in client.features:
            for recurring in client.recurring:
                self._tasks.append(group.create_task(run_recurring(recurring, client.pool)))
            for coroutine in client.background:
                self._tasks.append(group.create_task(run_background(coroutine)))
        else:
            for coroutine in client.background:
                coroutine.close()

    async def drain(self, timeout: float) -> int:
        """Stop taking, finish what runs, hand back the rest.

        Args:
            timeout: Seconds for what runs.

        Returns:
            How many handlers had to be left behind.
        """
        for task in self._tasks:
            task.cancel()
        workers = self._workers()
        await asyncio.gather(*(worker.stop() for worker in workers))
        left = await asyncio.gather(*(worker.finish(timeout) for worker in workers))
        await asyncio.gather(*(worker.close() for worker in workers))
        return sum(left)

    def _workers(self) -> list[RpcWorker | EventWorker]:
        return [*self.rpcs, *self.events]

    async def _keep_contracts(self) -> None:
        while True:
            await asyncio.sleep(0.8 * self._client.wiring.schema_ttl)
            try:
                await self.publish_contracts()
            except LightbusException as e:
                logger.warning("contracts could not be published: %s", e)
