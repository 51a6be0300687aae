"""Entries as the worker gets them: each is a delivery that settles itself, and waits for a free slot."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial

from lightbus.exceptions import InvalidMessage
from lightbus.messages import EventMessage
from lightbus.transports.events import Delivery, Subscription
from lightbus.transports.redis.custom_codec import Decode

from .entry import Entry, Fields, read_count, without_extra
from .settling import Settling


class RedisDelivery(Delivery):
    """An entry, and how it is settled.

    Args:
        entry: The entry.
        message: The event that is in it.
        settling: Settles it.
        decode: Makes an event of fields.
    """

    __slots__ = ("_decode", "_settling", "entry", "settled")

    def __init__(self, entry: Entry, message: EventMessage, settling: Settling, decode: Decode) -> None:
        super().__init__(message, entry.attempt)
        self.entry = entry
        self._settling = settling
        self._decode = decode
        #: Set for a suspect only: tells that the next one may run.
        self.settled: asyncio.Future[None] | None = None

    @property
    def is_suspect(self) -> bool:
        """Whether it was claimed from a process that died."""
        return self.settled is not None

    def reread(self) -> None:
        """Decode it once more."""
        message, _ = self._decode(self.entry.fields, self.entry.origin)
        if message is not None:
            self.message = message

    def ack(self) -> None:
        """Acknowledge it with the others of this loop tick."""
        self._settling.acknowledge(self.entry)
        self._settle()

    async def was_handled(self) -> bool:
        """Tell whether its id is remembered; asks until Redis answers."""
        return await self._settling.was_handled(self.entry)

    async def retry(self, delay: float, error: BaseException) -> None:
        """Take it out of the stream and keep it in Redis until it is due."""
        await self._settling.postpone(self.entry, delay)
        self._settle()

    async def dead_letter(self, reason: str, error: BaseException | None) -> None:
        """Move it to the group's dead letters, with its error."""
        await self._settling.bury(self.entry, self.message, reason, error)
        self._settle()

    async def release(self) -> None:
        """Move it to the group's retry stream, where another process of the service takes it at once."""
        await self._settling.hand_back(self.entry)
        self._settle()

    def _settle(self) -> None:
        if self.settled is not None and not self.settled.done():
            self.settled.set_result(None)


class Deliveries:
    """The deliveries of one consumer that wait for a free slot.

    Args:
        settling: Settles them.
        subscription: The events that the listener wants.
        decode: Makes an event of an entry's fields.
    """

    def __init__(self, settling: Settling, subscription: Subscription, decode: Decode) -> None:
        self.settling = settling
        self._membership = settling.membership
        self._leases = settling.leases
        self._subscription = subscription
        self._decode = decode
        #: The deliveries, the oldest first.
        self.waiting: deque[RedisDelivery] = deque()
        #: Set while there is a free slot: without one, abandoned events are left to another process.
        self.room = asyncio.Event()
        #: Ends a reading that waits; set by the readers.
        self.wake: Callable[[], None] = lambda: None

    def __len__(self) -> int:
        return len(self.waiting)

    def receive(self, source: str, entry_id: str, fields: Fields) -> RedisDelivery | None:
        """Make a delivery of an entry, or settle one that this listener does not want."""
        stream = self._membership.sources[source]
        # Before anything else, since each way to settle it ends by dropping the lease.
        self._leases.hold(source, entry_id)
        try:
            message, extra = self._decode(fields, entry_id)
        except InvalidMessage as e:
            self._put_aside(Entry(stream, source, entry_id, fields, "", 1, entry_id), e)
            return None
        if message is None or not self._subscription.wants(message.api_name, message.event_name):
            self.settling.acknowledge_unread(source, entry_id)
            return None
        attempt, origin = 1, entry_id
        if source != stream:
            attempt = read_count(extra.get("attempts", "0")) + 1
            message.native_id = origin = extra.get("origin", entry_id)
            fields = without_extra(fields)
        entry = Entry(stream, source, entry_id, fields, message.id, attempt, origin)
        return RedisDelivery(entry, message, self.settling, self._decode)

    def offer(self, delivery: RedisDelivery) -> None:
        """Let one wait that was not read but claimed, and end the read that waits: a slot is taken."""
        self.waiting.append(delivery)
        self.room.clear()
        self.wake()

    def take(self, limit: int) -> list[RedisDelivery]:
        """Return up to so many, the oldest first."""
        return [self.waiting.popleft() for _ in range(min(limit, len(self.waiting)))]

    async def hand_back(self) -> None:
        """Hand back those that wait; all at once, since each waits out its time if Redis is silent."""
        await asyncio.gather(*(delivery.release() for delivery in self.take(len(self))))

    def _put_aside(self, entry: Entry, error: InvalidMessage) -> None:
        self._membership.refuse(entry.source, error)
        broken = EventMessage("", "", {}, native_id=entry.id)
        delivery = RedisDelivery(entry._replace(message_id=broken.id), broken, self.settling, self._decode)
        put_aside = partial(delivery.dead_letter, "invalid_message", error)
        self.settling.spawn(put_aside, "an entry that is no event is not put aside")
