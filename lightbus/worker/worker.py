"""The consumers of one process, which start and end together."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Iterator, Sequence
from functools import partial

from lightbus.bus.parts import Parts
from lightbus.declared.listener import Listener
from lightbus.declared.schedule import BackgroundTask
from lightbus.exceptions import LightbusException
from lightbus.runtime.cancellation import end, is_cancelled, own, withstand
from lightbus.runtime.tasks import Kept, Work

from .dispatch import Dispatch
from .events import EventWorker
from .outlook import Outlook
from .ownership import Ownership
from .pauses import Pauses
from .rpc import RpcWorker
from .schedules import Schedules

logger = logging.getLogger(__name__)

#: Seconds that a read of the broker may still take after the end has begun.
_LAST_TAKE = 4.0
#: Seconds between two looks whether the process ends while a listener that was paused still handles events.
_ASKED_EVERY = 1.0


class Worker:
    """Serves APIs, runs listeners and recurring work, and keeps contracts published."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._dispatch = Dispatch(parts)
        self._published: list[str] = []
        self._are_published = True
        self._listeners: set[str] = set()
        self.rpcs: list[RpcWorker] = []
        self.events: list[EventWorker] = []
        self.ownership = Ownership(parts)
        self.pauses = Pauses(parts, self._heed)
        self.schedules = Schedules(parts, self.pauses)
        self.outlook = Outlook(parts, self._published)
        #: The listeners that end, each under its key: what they have begun goes on.
        self.leaving: dict[str, EventWorker] = {}
        #: The keys of the listeners that run again once they are not paused any more.
        self._put_off: set[str] = set()
        self._is_running = False
        self._kept: list[Kept] = []
        self._background: list[asyncio.Task[None]] = []
        self._ending: dict[str, Kept] = {}

    @property
    def published(self) -> Sequence[str]:
        """The names of the APIs that this process owns."""
        return self._published

    @property
    def served(self) -> list[str]:
        """The names of the APIs that this process answers."""
        return [rpc.api_name for rpc in self.rpcs]

    def troubles(self) -> Iterator[str]:
        """Go through what keeps the APIs and listeners from their work at present."""
        for rpc in self.rpcs:
            if rpc.trouble:
                yield f"the API {rpc.api_name} takes no calls: {rpc.trouble}"
        for event in self.events:
            if event.trouble:
                yield f"the listener {event.listener.name} reads no events: {event.trouble}"

    def waits(self) -> Iterator[str]:
        """Go through what listeners wait for that does not keep the process from being ready."""
        for event in self.events:
            listener = event.listener
            if event.waits_for:
                what = f"the listener {listener.name} takes over what was {listener.renamed_from}'s later"
                yield f"{what}: {event.waits_for}"
        ours = {listener.name for listener in self._parts.declarations.listeners.values()}
        for name, pause in self.pauses.held.items():
            if name in ours:
                yield f"the listener {name} is {pause.in_words()}"
        declared = self._parts.declarations
        for name in declared.all_schedules() if "tasks" in declared.features else ():
            if name in self.pauses.schedules:
                yield f"the schedule {name} is {self.pauses.schedules[name].in_words()}"

    def prepare(self, apis: Sequence[str]) -> None:
        """Make ready the APIs and listeners that were declared since the last time.

        Args:
            apis: The names of the APIs that this process owns.

        Raises:
            MisconfiguredApiOptions: A class can't be made into an object, or a hint can't be used.
        """
        parts, declared = self._parts, self._parts.declarations
        for name in apis:
            if name not in self._published:
                self._dispatch.prepare_api(name)
                self._published.append(name)
                self.ownership.add(name)
                # Of a host that serves no APIs, schedules can be run by hand all the same.
                serves = "rpcs" in declared.features or name == parts.identity.control_api
                if serves and not parts.registry.get(name).only_tells:
                    self.rpcs.append(RpcWorker(parts, self._dispatch, name))
        for key, listener in declared.listeners.items() if "events" in declared.features else ():
            if key not in self._listeners:
                self._dispatch.prepare_listener(listener)
                self._listeners.add(key)
                if listener.enabled:
                    self.events.append(EventWorker(parts, self._dispatch, listener, self.pauses))

    async def publish_contracts(self) -> bool:
        """Publish the contracts of the APIs of this process, and read those of others.

        Returns:
            Whether that worked; a failure is logged.
        """
        parts, wiring = self._parts, self._parts.wiring
        contracts = {name: parts.contracts.get(name) or {} for name in self._published}
        try:
            schema, is_indented = parts.transports().schema(), wiring.schema_human_readable
            await schema.store(contracts, wiring.schema_ttl, human_readable=is_indented)
            await parts.watch.load()
        except LightbusException as e:
            logger.warning("contracts could not be published: %s", e)
            self._are_published = False
        else:
            self._are_published = True
        return self._are_published

    async def sign_on(self) -> None:
        """Own the APIs that were made ready, join groups and queues, and publish contracts.

        Raises:
            ConfigurationError: Another service owns one of the APIs.
        """
        # Ownership comes first: a service that does not own an API must not take its calls. Contracts come
        # last: callers use an API as soon as its contract is on the bus.
        await self.ownership.take()
        await self.join()
        if self.events:
            await self.pauses.look_first()
            await self.pauses.succeed(each.listener for each in self.events if not each.waits_for)
        if await self.publish_contracts():
            await self.outlook.look()

    async def join(self) -> None:
        """Join consumer groups and queues, so that no message that is sent from now on is missed."""
        await asyncio.gather(*(worker.join() for worker in self._workers() if not worker.has_joined))

    def start(self) -> None:
        """Begin to take messages and to run recurring work."""
        declared = self._parts.declarations
        self._is_running = True
        lost = "contracts are not published again, and expire"
        self._keep(self._keep_contracts, "lightbus contracts", lost)
        self._keep(self.ownership.keep, "lightbus ownership", "the ownership of APIs is not renewed")
        lost = "listeners of unknown events, and groups without listeners, are not looked for"
        self._keep(self.outlook.keep, "lightbus outlook", lost)
        lost = "the clocks of this host and of the broker are not compared"
        self._keep(self.schedules.timekeeper.keep, "lightbus clock", lost)
        self._heed(self.pauses.held)
        for each in self._workers():
            each.start()
        if self.events or self._put_off or "tasks" in declared.features:
            self._keep(self.pauses.keep, "lightbus pauses", "pauses begin and end without effect")
        if "tasks" in declared.features:
            self.schedules.start(self._dispatch.isolation)
            loop = asyncio.get_running_loop()
            for task in declared.background:
                name = f"lightbus background {task.name}"
                self._background.append(own(loop.create_task(self._run_background(task), name=name)))

    async def drain(self, timeout: float) -> int:
        """Stop taking, finish running handlers, hand back the other messages.

        Args:
            timeout: Seconds that running handlers have.

        Returns:
            The number of handlers that are left behind.
        """
        # First: a reload that comes now must start no listener.
        self._is_running = False
        for kept in self._kept:
            kept.end()
        for task in self._background:
            end(task)
        self.schedules.stop()
        workers = self._workers()
        await asyncio.gather(*(worker.stop() for worker in workers))
        await asyncio.gather(*(worker.end_taking(_LAST_TAKE) for worker in workers))
        left = await asyncio.gather(*(each.finish(timeout) for each in (*workers, self.schedules)))
        await asyncio.gather(*(ending.ended() for ending in self._ending.values()))
        # Only now: handlers that still run must not lose their group, nor callers the contract.
        await self.sign_off()
        await asyncio.gather(*(kept.ended() for kept in self._kept))
        if self._background:
            await asyncio.wait(self._background)
        return sum(left)

    async def sign_off(self) -> None:
        """Leave the groups and queues, give up all APIs, and withdraw the contracts."""
        # First, as this sends the last answers: another service must not own an API that still answers.
        await asyncio.gather(*(worker.close() for worker in self._workers()))
        # Both at the same time: if the broker is silent, each waits for its whole timeout.
        await asyncio.gather(self.ownership.give_up(), self._withdraw_contracts())

    # Changes while it runs

    def resize(self) -> None:
        """Give every listener and API the concurrency that is configured now."""
        for event in self.events:
            event.resize(event.listener.concurrency)
        for rpc in self.rpcs:
            rpc.resize(self._parts.settings(rpc.api_name).rpc_concurrency)

    def switch(self, listener: Listener) -> None:
        """Start a listener that is enabled now, unless it is paused, or end one that is not."""
        if not self._is_running or "events" not in self._parts.declarations.features:
            return
        self._put_off.discard(listener.key)
        if not listener.enabled:
            self._let_end(listener, is_paused=False)
        elif listener.name in self.pauses.held:
            self._put_off.add(listener.key)
        else:
            self._let_begin(listener)

    def _heed(self, names: Iterable[str]) -> None:
        """End the listeners that are paused now, and start those that are not any more.

        Args:
            names: The listeners whose pause has begun or ended.
        """
        if not self._is_running:
            return
        wanted = set(names)
        for listener in self._parts.declarations.listeners.values():
            pause = self.pauses.held.get(listener.name)
            if listener.name not in wanted:
                continue
            if pause is not None and self._let_end(listener, is_paused=True):
                self._put_off.add(listener.key)
                logger.warning("the listener %s is %s; it takes no events", listener.name, pause.in_words())
            elif pause is None and listener.key in self._put_off:
                self._put_off.remove(listener.key)
                logger.info("the listener %s is not paused any more", listener.name)
                self._let_begin(listener)
        self._parts.card.renew()

    def _let_begin(self, listener: Listener) -> None:
        if any(event.listener is listener for event in self.events):
            return
        event = EventWorker(self._parts, self._dispatch, listener, self.pauses)
        self.events.append(event)
        name = f"lightbus start of the listener {listener.name}"
        self._keep(partial(self._begin, event), name, f"the listener {listener.name} is not started")

    def _let_end(self, listener: Listener, *, is_paused: bool) -> bool:
        """End a listener, where it runs; tell whether it did."""
        running = next((event for event in self.events if event.listener is listener), None)
        if running is None:
            return False
        self.events.remove(running)
        self.leaving[listener.key] = running
        name = f"lightbus end of the listener {listener.name}"
        lost = f"the listener {listener.name} is not ended"
        work = partial(self._end, running, is_paused=is_paused)
        self._ending[listener.key] = Kept(work, name, lost, self._parts.obstacles).start()
        return True

    def _keep(self, work: Work, name: str, lost: str) -> None:
        self._kept = [kept for kept in self._kept if not kept.is_over]
        self._kept.append(Kept(work, name, lost, self._parts.obstacles).start())

    async def _begin(self, event: EventWorker) -> None:
        # Two consumers of one group in one process would share its name, and so each other's events.
        before = self._ending.get(event.listener.key)
        if before is not None:
            await before.ended()
        await event.join()
        event.start()
        self._parts.card.renew()  # Until now, it says that the listener reads no events.

    async def _end(self, event: EventWorker, *, is_paused: bool) -> None:
        await event.stop()
        await event.end_taking(_LAST_TAKE)
        # A pause cuts nothing short: what has begun may take its time, until the process ends.
        while is_paused and self._is_running and not await event.quiet(_ASKED_EVERY):
            pass
        await event.finish(self._parts.wiring.drain_timeout)
        await event.close()
        if is_paused and event.has_joined and not event.waits_for:
            # It may have been ended between taking over a group and taking the pause along.
            await self.pauses.succeed([event.listener])
        self.leaving.pop(event.listener.key, None)
        self._parts.card.renew()

    def _workers(self) -> list[RpcWorker | EventWorker]:
        return [*self.rpcs, *self.events]

    async def _run_background(self, task: BackgroundTask) -> None:
        """Run a background task. A failure is logged, and ends the host if the task asks for that."""
        try:
            await task.coroutine
        except BaseException as e:
            if is_cancelled(e):
                raise
            await withstand()
            logger.exception("the background task %s failed", task.name)
            await self._parts.hooks.report(e)
            if task.on_failure == "shutdown":
                self._parts.request_shutdown(f"the background task {task.name} failed")

    async def _withdraw_contracts(self) -> None:
        """Remove the contracts that no other process publishes, so that callers learn of the end at once."""
        try:
            async with asyncio.timeout(2):
                await self._parts.transports().schema().withdraw(self._published)
        except (TimeoutError, LightbusException) as e:
            reason = str(e) or "no answer in time"
            logger.warning("contracts could not be withdrawn, and expire by themselves: %s", reason)

    async def _keep_contracts(self) -> None:
        while True:
            # Where the start itself could not publish them, they are due at once, too.
            await asyncio.sleep(0.8 * self._parts.wiring.schema_ttl if self._are_published else 1.0)
            await self.publish_contracts()
