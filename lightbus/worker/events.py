"""Runs one listener: takes its events, handles them and settles them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from functools import partial
from typing import Any

from lightbus.bus.parts import Parts
from lightbus.declared.listener import Listener
from lightbus.exceptions import TransportUnavailable
from lightbus.messages import handled
from lightbus.runtime.retrying import Retrying
from lightbus.runtime.tasks import Kept
from lightbus.transports.events import Delivery, EventConsumer, EventTransport, GroupStatus, Subscription
from lightbus.transports.groups import StillRead

from .batches import BatchRunner, Collector, Take, release
from .dispatch import Dispatch
from .pauses import Pauses
from .slots import Slots

logger = logging.getLogger(__name__)

#: Seconds between two looks whether the group of a listener's name before is still read.
_ASKED_EVERY = 0.5
#: The most events that are fetched ahead of a quick handler.
_AHEAD = 200


class EventWorker:
    """Takes the events of one listener as slots become free, and settles them.

    A listener may ask for events of APIs on different brokers: it has one consumer for each.
    """

    def __init__(self, parts: Parts, dispatch: Dispatch, listener: Listener, pauses: Pauses) -> None:
        self.listener = listener
        self._pauses = pauses
        self._parts = parts
        self._dispatch = dispatch
        self._consumers: list[EventConsumer] = []
        what, obstacles = f"the listener {listener.name} can't start", parts.obstacles
        self._joining = Retrying(logger, what, level=logging.ERROR, obstacles=obstacles)
        self._slots: list[Slots[Any]] = []
        self._takers: list[Kept] = []
        self._runner = BatchRunner(parts, dispatch, listener)
        self._collectors: list[Collector] = []
        #: Why it can't take over the group of its name before yet; meanwhile, others handle its events.
        self.waits_for = ""
        self._waiting: Kept | None = None
        #: How many events are in lists that are handled.
        self._in_lists = 0
        #: With ``dedupe``, the ids that are being handled.
        self._running: dict[str, asyncio.Future[None]] = {}

    @property
    def has_joined(self) -> bool:
        """Whether :meth:`join` was called."""
        return bool(self._consumers)

    @property
    def trouble(self) -> str:
        """The reason that no events are read at present; empty while they are."""
        if not self.listener.enabled:
            return "its policy has stopped it after a failure; the log has the error"
        if not self._consumers and not self.waits_for:
            return "it has not joined its group yet"
        return next((consumer.trouble for consumer in self._consumers if consumer.trouble), "")

    @property
    def running(self) -> int:
        """How many events are handled."""
        return self._in_lists if self._collectors else sum(slots.running for slots in self._slots)

    async def status(self) -> list[GroupStatus]:
        """Return how far the listener's group has come in each stream.

        Raises:
            TransportUnavailable: A broker can't be reached.
        """
        return [status for consumer in self._consumers for status in await consumer.status()]

    async def join(self) -> None:
        """Join, or make, the consumer group on each broker; tries again until that works.

        Where a process still reads the group of the listener's name before, it is left for later: else a
        rolling restart would wait for this process, which waits for that one.
        """
        groups: dict[EventTransport, list[tuple[str, str]]] = {}
        for api_name, event_name in self.listener.events:
            transport = self._parts.transports().event(api_name)
            groups.setdefault(transport, []).append((api_name, event_name))
        for transport, events in list(groups.items())[len(self._consumers) :]:
            limit = self.listener.concurrency
            patience = self._parts.settings(events[0][0]).event_listener_setup_timeout
            warning = asyncio.get_running_loop().call_later(patience, self._is_slow, patience, transport)
            try:
                consume = partial(self._consume, transport, events)
                consumer = await self._joining.until_done(consume, TransportUnavailable)
            except StillRead as e:
                self._wait_for(str(e))
                return
            finally:
                warning.cancel()
            consumer.max_deaths = self.listener.on_error.max_deaths
            self._consumers.append(consumer)
            self._slots.append(self._make_slots(self._taker(consumer), limit))
        self.waits_for = ""

    def start(self) -> None:
        """Listen from now on, until :meth:`stop`."""
        self._start_takers()
        if self.waits_for:
            name = f"lightbus wait of the listener {self.listener.name}"
            self._waiting = Kept(self._join_later, name, self._lost, self._parts.obstacles).start()

    def resize(self, limit: int) -> None:
        """Handle up to ``limit`` events at a time from now on, by the listener's policy as it is now."""
        for slots in self._slots:
            slots.resize(limit)
        for consumer in self._consumers:
            consumer.max_deaths = self.listener.on_error.max_deaths
            consumer.longest_delay = self.listener.on_error.backoff.max

    async def stop(self) -> None:
        """Take no more events, and hand back those that were not started."""
        if self._waiting is not None:
            await self._waiting.stop()
        # Before the slots stop: a list that fails meanwhile must be handed back, too.
        self._runner.stop()
        for collector in self._collectors:
            collector.stop()
        await asyncio.gather(
            *(slots.stop() for slots in self._slots), *(consumer.stop() for consumer in self._consumers)
        )

    async def end_taking(self, patience: float) -> None:
        """Wait for the events that are on their way, for ``patience`` seconds: the broker may be away."""
        over = await asyncio.gather(*(taker.ended(patience) for taker in self._takers))
        for taker in self._takers:
            taker.end()
        if all(over):
            # Only now, since no collector may be closed while it takes.
            await asyncio.gather(*(collector.close() for collector in self._collectors))
        else:
            for collector in self._collectors:
                collector.abandon()

    async def quiet(self, timeout: float) -> bool:
        """Wait until no handler runs, for ``timeout`` seconds at most; tell whether that is so."""
        return all(await asyncio.gather(*(slots.quiet(timeout) for slots in self._slots)))

    async def finish(self, timeout: float) -> int:
        """Wait for running handlers; return how many are left behind."""
        left = 0
        for slots in self._slots:
            left += await slots.finish(timeout)
        if left:
            logger.warning(
                "runs of the listener %s that do not end are left behind: %d", self.listener.name, left
            )
        return left

    async def close(self) -> None:
        """Send the last acknowledgements, and leave the group."""
        self._joining.clear()
        await asyncio.gather(*(consumer.close() for consumer in self._consumers))

    @property
    def _lost(self) -> str:
        return f"no events are taken for the listener {self.listener.name}"

    def _start_takers(self) -> None:
        name = f"lightbus listener {self.listener.name}"
        for slots in self._slots[len(self._takers) :]:
            self._takers.append(Kept(slots.run, name, self._lost, self._parts.obstacles).start())

    def _wait_for(self, reason: str) -> None:
        """Note, and tell once, why the group of the listener's name before can't be taken over yet."""
        self._joining.clear()
        if not self.waits_for:
            what = "the listener %s waits to take over what was %s's: %s. Until then, it is handled there"
            logger.warning(what, self.listener.name, self.listener.renamed_from, reason)
        self.waits_for = reason

    async def _join_later(self) -> None:
        while self.waits_for:
            await asyncio.sleep(_ASKED_EVERY)
            await self.join()
            if len(self._consumers) > len(self._takers) and await self._is_paused():
                return
            self._start_takers()
        logger.info(
            "the listener %s has taken over what was %s's", self.listener.name, self.listener.renamed_from
        )

    async def _is_paused(self) -> bool:
        """Tell whether it was paused just before it took over the group: then it must take nothing of it."""
        await self._pauses.look_first()
        if not self.waits_for:
            await self._pauses.succeed([self.listener])
        return self.listener.name in self._pauses.held

    async def _consume(self, transport: EventTransport, events: Sequence[tuple[str, str]]) -> EventConsumer:
        listener = self.listener
        # Looked up each time: the owner may have published its contract meanwhile.
        known = {api_name: self._event_names(api_name) for api_name, name in events if name == "*"}
        subscription = Subscription(
            listener.name,
            tuple(events),
            known,
            listener.start,
            listener.dedupe,
            listener.batch or 1,
            listener.on_error.backoff.max,
            listener.renamed_from or "",
        )
        return await transport.consume(subscription, self._parts.identity)

    def _is_slow(self, seconds: float, transport: EventTransport) -> None:
        if self._joining.failures:
            return  # The broker has answered, and the log has its refusal.
        logger.warning(
            "the listener %s is not set up after %g s; does %s answer?",
            self.listener.name,
            seconds,
            transport.address,
        )

    def _event_names(self, api_name: str) -> tuple[str, ...]:
        definition = self._parts.registry.find(api_name)
        if definition is not None:
            return tuple(definition.events)
        contract = self._parts.contracts.get(api_name) or {}
        return tuple(contract.get("events", ()))

    def _taker(self, consumer: EventConsumer) -> Take:
        async def take(limit: int) -> Sequence[Delivery]:
            if self.listener.enabled:
                return await consumer.take(limit)
            await consumer.stop()
            await asyncio.sleep(1)
            return ()

        return take

    def _make_slots(self, take: Take, limit: int) -> Slots[Any]:
        batch = self.listener.batch
        name, isolation, pool = f"listener {self.listener.name}", self._dispatch.isolation, self._parts.pool
        if batch is None:
            leave = lambda delivery: delivery.release()  # noqa: E731
            return Slots(name, isolation, pool, take, self._handle, leave, limit, _AHEAD)
        collector = Collector(take, batch, self.listener.batch_wait or 0.0)
        self._collectors.append(collector)
        ahead = limit + max(1, _AHEAD // batch)
        return Slots(name, isolation, pool, collector.take, self._handle_list, release, limit, ahead)

    async def _handle_list(self, deliveries: Sequence[Delivery]) -> None:
        self._in_lists += len(deliveries)
        try:
            if not self.listener.enabled:
                await release(deliveries)
            elif self.listener.dedupe is None:
                await self._runner.handle(deliveries)
            else:
                await self._handle_list_once(deliveries)
        finally:
            self._in_lists -= len(deliveries)

    async def _handle_list_once(self, deliveries: Sequence[Delivery]) -> None:
        """Handle the events whose ids were not acknowledged before. Ids that run here already come last."""
        ours: dict[str, Delivery] = {}
        later = []
        for delivery in deliveries:
            message_id = delivery.message.id
            if message_id in self._running:
                later.append(delivery)
            else:
                ours[message_id] = delivery
                self._running[message_id] = asyncio.get_running_loop().create_future()
        try:
            new = await self._not_handled(list(ours.values()))
            if new:
                await self._runner.handle(new)
        except (asyncio.CancelledError, Exception):
            await release(later)
            raise
        finally:
            # After they are settled: a second event of the same id must find it acknowledged.
            for message_id in ours:
                self._running.pop(message_id).set_result(None)
        while later:
            try:
                await self._dispatch.isolation.run(self._handle(later.pop(0)))
            except (asyncio.CancelledError, Exception):
                await release(later)
                raise

    async def _not_handled(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        """Acknowledge the events that were handled before; return the others."""
        try:
            known = await asyncio.gather(*(delivery.was_handled() for delivery in deliveries))
        except (asyncio.CancelledError, Exception):
            await release(deliveries)
            raise
        for delivery, is_known in zip(deliveries, known, strict=True):
            if is_known:
                delivery.ack()
        return [delivery for delivery, is_known in zip(deliveries, known, strict=True) if not is_known]

    async def _handle(self, delivery: Delivery) -> None:
        if self.listener.enabled:
            of_log_lines = [delivery.message.id]
            handled.set(of_log_lines)
            try:
                if self.listener.dedupe is None:
                    await self._dispatch.handle(self.listener, delivery)
                else:
                    await self._handle_once(delivery)
                if not self.listener.enabled:
                    # Its policy has stopped it: events that wait for a thread are left to others.
                    for slots in self._slots:
                        slots.hand_back()
            except (asyncio.CancelledError, Exception):
                # The process ends: a released event goes to another process at once, not after its lease.
                await delivery.release()
                raise
            finally:
                of_log_lines.clear()
        else:
            await delivery.release()

    async def _handle_once(self, delivery: Delivery) -> None:
        """Handle an event unless its id was acknowledged before; wait first for a run of the same id here."""
        message_id = delivery.message.id
        while (other := self._running.get(message_id)) is not None:
            await asyncio.wait([other])
        done = self._running[message_id] = asyncio.get_running_loop().create_future()
        try:
            if await delivery.was_handled():
                logger.debug("event %s came to %s again", message_id, self.listener.name)
                delivery.ack()
            else:
                await self._dispatch.handle(self.listener, delivery)
        finally:
            # After it is settled: a waiting event of the same id must find it acknowledged.
            del self._running[message_id]
            done.set_result(None)
