"""The ports without a broker: for tests, and for ``lightbus run --transport memory``.

All transports of one event loop meet in one :class:`~lightbus.transports.memory.broker.Broker`, so buses on
the same loop see each other, and nobody else. Values travel as JSON, so nothing is shared by reference, and
nothing outlives the loop.
"""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

from lightbus.declared.metrics import Metrics
from lightbus.declared.settings import Identity
from lightbus.messages import EventMessage
from lightbus.transports.events import (
    DeadLetter,
    DeadPlace,
    Delivery,
    EventConsumer,
    EventTransport,
    GroupStatus,
    LetterId,
    Outgoing,
    Subscription,
)
from lightbus.transports.groups import Move
from lightbus.transports.merging import age_of

from .broker import Group, KeptLetter, Stored, to_json
from .broker import broker as broker
from .inbox import Inbox

logger = logging.getLogger(__name__)


class _InProcess:
    """The part that the three transports have in common: they connect to nothing."""

    address = "this process"

    async def now(self) -> float:
        """Return the time by the clock that schedules and retries go by."""
        return broker().clock.now()


class MemoryDelivery(Delivery):
    """An event that one consumer has taken."""

    __slots__ = ("_consumer", "_stored")

    def __init__(self, consumer: MemoryEventConsumer, stored: Stored) -> None:
        super().__init__(stored.copy(), stored.attempt)
        self._consumer = consumer
        self._stored = stored

    def reread(self) -> None:
        """Copy it once more."""
        self.message = self._stored.copy()

    def ack(self) -> None:
        """It is done."""
        if self._consumer.settle(self):
            self._consumer.note_handled(self.message.id)

    async def was_handled(self) -> bool:
        """Tell whether its id is remembered."""
        return self._consumer.group.handled.get(self.message.id) is not None

    async def retry(self, delay: float, error: BaseException) -> None:
        """Put it back after a while."""
        if self._consumer.settle(self):
            again = replace(self._stored, attempt=self.attempt + 1)
            self._consumer.group.put_back_later(again, delay)

    async def dead_letter(self, reason: str, error: BaseException | None) -> None:
        """Put it aside."""
        if self._consumer.settle(self):
            stored, group = self._stored, self._consumer.group
            letter_id = broker().new_id(time.time())
            group.dead.append(KeptLetter(stored.copy(), reason, error, self.attempt, letter_id, stored))
            self._consumer.count_dead(self.message, reason)

    async def release(self) -> None:
        """Put it back at once."""
        if self._consumer.settle(self):
            self._consumer.group.put_back(self._stored)


class MemoryEventConsumer(EventConsumer):
    """Takes the events of a group that its listener wants."""

    def __init__(self, group: Group, subscription: Subscription, process_name: str, metrics: Metrics) -> None:
        self.group = group
        self._process_name = process_name
        self._metrics = metrics
        self._subscription = subscription
        self._held: dict[MemoryDelivery, None] = {}
        self._stopping = False

    async def status(self) -> Sequence[GroupStatus]:
        """Tell how far the group is."""
        return [self.group.status()]

    async def take(self, limit: int) -> Sequence[Delivery]:
        """Wait for an event, and return those that are there; others of the same APIs are dropped."""
        if not self._stopping:
            await self.group.wait()
        taken: list[MemoryDelivery] = []
        while len(taken) < limit and not self._stopping:
            stored = self.group.take()
            if stored is None:
                break
            if self._subscription.wants(stored.message.api_name, stored.message.event_name):
                taken.append(MemoryDelivery(self, stored))
        self._held.update(dict.fromkeys(taken))
        self.group.held[self._process_name] += len(taken)
        return taken

    def count_dead(self, message: EventMessage, reason: str) -> None:
        """Take note of an event that was put aside."""
        names = (message.api_name, message.event_name)
        self._metrics.dead_letters.add(self._subscription.listener_name, *names, reason)

    def note_handled(self, message_id: str) -> None:
        """Remember the id of an event that is done, where that is wanted."""
        if self._subscription.dedupe is not None:
            self.group.handled.add(message_id, "", self._subscription.dedupe)

    def settle(self, delivery: MemoryDelivery) -> bool:
        """Hold a delivery no longer; false if that was so already."""
        is_held = self._held.pop(delivery, self) is None
        if is_held:
            self.group.held[self._process_name] -= 1
        return is_held

    async def stop(self) -> None:
        """End a waiting take at once."""
        self._stopping = True
        self.group.wake()

    async def close(self) -> None:
        """Hand back what was not settled."""
        await self.stop()
        for delivery in list(self._held):
            await delivery.release()
        self.group.held.pop(self._process_name, None)


class MemoryEventTransport(_InProcess, EventTransport):
    """Fires events to the groups of this event loop."""

    def encode(self, message: EventMessage) -> bytes:
        """Return the arguments as they would travel."""
        return to_json(message.canonical_name, message.kwargs)

    async def publish_each(self, events: Sequence[Outgoing], timeout: float) -> None:
        """Store events; there is nothing to wait for."""
        for event in events:
            broker().add(event.message, event.body, event.dedupe)

    async def consume(self, subscription: Subscription, identity: Identity) -> EventConsumer:
        """Join the listener's group, or make it."""
        name = f"{identity.service_name}-{subscription.listener_name}"
        former = f"{identity.service_name}-{subscription.renamed_from}"
        if subscription.renamed_from and former in broker().groups and name not in broker().groups:
            broker().move(former, broker().groups[former].stream, name)
        api_names = [api_name for api_name, _ in subscription.events]
        group = broker().join(name, api_names, subscription.since)
        group.held[identity.process_name] += 0
        return MemoryEventConsumer(group, subscription, identity.process_name, self.metrics)

    async def list_dead(self) -> AsyncIterator[DeadLetter]:
        """Go through the dead letters of every group of this event loop."""
        for key, group in list(broker().groups.items()):
            for kept in list(group.dead):
                yield kept.letter(group.name, key)

    async def dead_places(self) -> Sequence[DeadPlace]:
        """Return the groups that have dead letters."""
        groups = sorted(broker().groups.items())
        return [DeadPlace(key, group.name, len(group.dead)) for key, group in groups if group.dead]

    async def dead_before(self, place: str, before: LetterId | None, count: int) -> Sequence[DeadLetter]:
        """Return dead letters of a group, the newest first."""
        group = broker().groups.get(place)
        kept = reversed(group.dead) if group is not None else ()
        older = (each for each in kept if before is None or LetterId.read(each.id) < before)
        return [
            each.letter(group.name, place) for each in itertools.islice(older, count) if group is not None
        ]

    async def replay(self, letter: DeadLetter, edited: EventMessage | None = None) -> bool:
        """Hand a dead letter to its group again."""
        arguments = self.encode(edited) if edited is not None else b""
        kept = self._take_out(letter)
        if kept is not None:
            stored = replace(kept.stored, attempt=1)
            if edited is not None:
                stored = replace(stored, message=edited, arguments=arguments)
            broker().groups[letter.place].put_back(stored)
        return kept is not None

    async def drop(self, letter: DeadLetter) -> bool:
        """Delete a dead letter."""
        return self._take_out(letter) is not None

    async def history(
        self,
        api: str = "*",
        event: str = "*",
        *,
        since: float | None = None,
        native_id: str | None = None,
        until: str | None = None,
    ) -> AsyncIterator[EventMessage]:
        """Go through the newest events of this event loop."""
        for stored in reversed(list(broker().history)):
            if stored.stored_at < (since or 0.0):
                return
            if until is not None and age_of(stored.message.native_id) < age_of(until):
                continue
            if native_id in (None, stored.message.native_id):
                yield stored.copy()

    async def follow(
        self, api: str = "*", event: str = "*", *, since: float | None = None
    ) -> AsyncIterator[EventMessage]:
        """Go through the events of this event loop as they come."""
        shared, inbox = broker(), Inbox[Stored]()
        for stored in shared.history if since is not None else ():
            if since is not None and stored.stored_at >= since:
                inbox.put(stored)
        shared.followers.add(inbox)
        try:
            while True:
                await inbox.wait()
                while (taken := inbox.take()) is not None:
                    yield taken.copy()
        finally:
            shared.followers.discard(inbox)

    async def group_status(self, events: Sequence[tuple[str, str]] | None = None) -> Sequence[GroupStatus]:
        """Tell how far the groups of this event loop are."""
        wanted = None if events is None else {api_name for api_name, _ in events}
        groups = broker().groups.values()
        return [group.status() for group in groups if wanted is None or group.api_names & wanted]

    async def remove_group(self, status: GroupStatus) -> None:
        """Forget a group, and what it has not handled."""
        del broker().groups[broker().unread(status.group, status.stream)]

    async def plan_move(self, status: GroupStatus, heir: str) -> Move:
        """Look what a move would do."""
        return Move(status, heir, status.lag)

    async def move_group(self, status: GroupStatus, heir: str) -> None:
        """Give a group another name, which must be free."""
        broker().move(status.group, status.stream, heir)

    def _take_out(self, letter: DeadLetter) -> KeptLetter | None:
        group = broker().groups.get(letter.place)
        for kept in list(group.dead) if group is not None else ():
            if kept.id == letter.id and group is not None:
                group.dead.remove(kept)
                return kept
        return None
