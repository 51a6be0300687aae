"""Events over Redis streams: firing them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any, ClassVar

from lightbus.declared.settings import Identity
from lightbus.exceptions import BusAlreadyClosed, LightbusException
from lightbus.messages import EventMessage
from lightbus.runtime.cancellation import end, is_ending
from lightbus.runtime.tasks import begin
from lightbus.transports.events import (
    DeadLetter,
    EventConsumer,
    EventTransport,
    GroupStatus,
    Outgoing,
    Subscription,
)
from lightbus.transports.port import Use
from lightbus.transports.redis import needs
from lightbus.transports.redis.base import RedisTransport
from lightbus.transports.redis.custom_codec import event_codec
from lightbus.transports.redis.keys import stream_key
from lightbus.transports.redis.link.connection import FAILURES, unavailable
from lightbus.transports.redis.link.denials import Denials
from lightbus.transports.redis.link.permissions import Need
from lightbus.transports.redis.options import RedisEventOptions
from lightbus.transports.redis.scripts import TRIM

from . import dead_letters, history
from .consumer import RedisEventConsumer
from .lost_events import LostEvents
from .publishing import Publishing, append
from .status import group_status, most_behind
from .streams import note, search

logger = logging.getLogger(__name__)

_TRIM_LEASE_MS = 200
#: How many of those that wait for room go on at a time, at least.
_LET_IN = 10
#: Seconds between log lines about dropped events of one stream.
_SAID_EVERY = 60
#: Seconds between two looks for the group because of which a stream is full.
_CAUSE_EVERY = 5.0
#: How far a list of events may go above a stream's length between two looks; a tenth of it if that is more.
_SLACK = 1_000


class RedisEventTransport(RedisTransport, EventTransport):
    """Fires events by ``XADD`` and receives them by consumer groups.

    Args:
        options: How to reach Redis, and how streams and leases are kept.
    """

    options: ClassVar[type | None] = RedisEventOptions

    def __init__(self, options: RedisEventOptions | None = None) -> None:
        self._options = options or RedisEventOptions()
        super().__init__(self._options)
        self._codec = event_codec(self._options)
        #: By the streams that were used; None where a stream may grow.
        self._trimmers: dict[str, Trimmer | None] = {}
        self._lost: dict[str, LostEvents] = {}
        #: For each stream, the entry that Redis has confirmed last: what is sent later, comes after it.
        self.confirmed: dict[str, str] = {}

    def encode(self, message: EventMessage) -> list[Any]:
        """Return the fields of the event's entry."""
        return self._codec.encode(message)

    async def publish_each(self, events: Sequence[Outgoing], timeout: float) -> None:
        """Store events, in order; search for those whose confirmation was lost."""
        await Publishing(self, events, timeout, asyncio.get_running_loop().time() + timeout).run()

    async def publish(
        self, messages: Sequence[EventMessage], timeout: float, dedupe: float | None = None
    ) -> None:
        """Store events, in order; a single one, as they mostly are, by the shortest way."""
        message = messages[0] if len(messages) == 1 else None
        stream = self.stream(message) if message is not None else ""
        trimmer = self.trimmer(stream) if message is not None else None
        if message is None or (trimmer is not None and trimmer.is_full):
            await super().publish(messages, timeout, dedupe)
            return
        body = self._codec.encode(message)
        if trimmer is not None:
            trimmer.note_added()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        pipe = self.pipe
        sent = append(pipe, stream, message.id, body, dedupe)
        due = pipe.deadlines.add(sent, deadline, timeout)
        try:
            self.confirmed[stream] = message.native_id = (await sent).decode()
            return
        except (LightbusException, TimeoutError):
            event = Outgoing(message, body, dedupe)
        finally:
            due.discard(sent)
        await Publishing(self, (event,), timeout, deadline).run(sent)
        if event.error is not None:
            raise event.error

    async def consume(self, subscription: Subscription, identity: Identity) -> EventConsumer:
        """Join the listener's group on each of its streams, making what is not there."""
        name, dedupes = subscription.listener_name, subscription.dedupe is not None
        for api_name, event_name in subscription.events:
            names = (event_name, *subscription.known_events.get(api_name, ()))
            use = Use("listens", api_name, names, name, identity.service_name, dedupes)
            self.know(str(use), self._needs(use))
        consumer = RedisEventConsumer(
            self.session,
            self._options,
            self._codec.decode,
            subscription,
            identity,
            self._streams(subscription),
            self.metrics,
            self.obstacles,
        )
        consumer.permissions = self.session.permissions
        await consumer.join()
        return consumer

    def list_dead(self) -> AsyncIterator[DeadLetter]:
        """Go through the dead letters of every group in this Redis."""
        return dead_letters.walk(self.pipe, self._codec.decode)

    async def replay(self, letter: DeadLetter) -> bool:
        """Hand a dead letter to its group again."""
        return await dead_letters.replay(self.pipe, letter)

    async def drop(self, letter: DeadLetter) -> bool:
        """Delete a dead letter."""
        return await dead_letters.drop(self.pipe, letter)

    def history(
        self, api: str = "*", event: str = "*", *, since: float | None = None, native_id: str | None = None
    ) -> AsyncIterator[EventMessage]:
        """Go through what the streams hold, the newest first."""
        return history.past(self.pipe, self._codec.decode, api, event, since, native_id)

    def follow(
        self, api: str = "*", event: str = "*", *, since: float | None = None
    ) -> AsyncIterator[EventMessage]:
        """Go through what is added to the streams."""
        return history.coming(self.session, self._codec.decode, api, event, since)

    async def group_status(self, events: Sequence[tuple[str, str]] | None = None) -> Sequence[GroupStatus]:
        """Ask the streams of some events about their groups, or every stream of this Redis."""
        if events is None:
            return await group_status(self.pipe)  # Of which others may have set the length.
        uses = [Use("fires", api_name, (name,)) for api_name, name in events]
        return await group_status(self.pipe, list(self._keys(uses)), limit=self._options.max_stream_length)

    async def find_streams(self) -> None:
        """Search this Redis as a whole."""
        with unavailable("streams can't be searched for"):
            await search(self.pipe)

    async def close(self) -> None:
        """Stop trimming and searching, and give the connection back."""
        for trimmer in filter(None, self._trimmers.values()):
            await trimmer.close()
        self._trimmers.clear()
        for lost in self._lost.values():
            await lost.close()
        self._lost.clear()
        await super().close()

    def _needs(self, use: Use) -> Iterable[Need]:
        for stream in self._streams_of(use):
            if use.role == "fires":
                yield from needs.fires(use.name, stream, dedupes=use.dedupes)
            else:
                group = f"{self._options.service_name or use.service}-{use.listener}"
                yield from needs.listens(use.listener, stream, group, dedupes=use.dedupes)

    def _keys(self, uses: Sequence[Use]) -> dict[str, str]:
        return {stream: "stream" for use in uses for stream in self._streams_of(use)}

    def _streams_of(self, use: Use) -> list[str]:
        if use.role not in ("fires", "listens"):
            return []
        per_api = self._options.stream_use == "per_api"
        names = [name for name in use.events if per_api or name != "*"]
        return list(dict.fromkeys(stream_key(use.name, name, self._options.stream_use) for name in names))

    def _streams(self, subscription: Subscription) -> list[str]:
        streams = []
        for api_name, event_name in subscription.events:
            names: tuple[str, ...] = (event_name,)
            if event_name == "*" and self._options.stream_use == "per_event":
                names = subscription.known_events.get(api_name, ())
            streams += [stream_key(api_name, name, self._options.stream_use) for name in names]
        return list(dict.fromkeys(streams))

    def stream(self, message: EventMessage) -> str:
        """Return the stream that carries an event."""
        return stream_key(message.api_name, message.event_name, self._options.stream_use)

    def lost_events(self, stream: str) -> LostEvents:
        """Return what looks in a stream for events whose confirmation was lost."""
        lost = self._lost.get(stream)
        if lost is None:
            lost = self._lost[stream] = LostEvents(self.pipe, stream)
        return lost

    def note_refused(self, message: EventMessage) -> None:
        """An event was refused: say what firing it needs."""
        use = Use("fires", message.api_name, (message.event_name,))
        self.know(str(use), self._needs(use))

    def trimmer(self, stream: str) -> Trimmer | None:
        """Return what keeps a stream near its length; None where it may grow."""
        if stream not in self._trimmers:
            self._trimmers[stream] = self._begin(stream)
        return self._trimmers[stream]

    def _begin(self, stream: str) -> Trimmer | None:
        """Note a stream that is used for the first time, and make what keeps it near its length."""
        note(self.pipe, [stream])
        most, drops = self._options.max_stream_length, self._options.when_full == "drop_oldest"
        return None if most is None else Trimmer(self, stream, most, drops=drops)


class Trimmer:
    """Keeps one stream near its length, from the side that makes it grow.

    Args:
        transport: Whose pipe is used.
        stream: The stream.
        most: The length to keep to.
        drops: Whether the oldest are dropped where listeners are too far behind.
    """

    def __init__(self, transport: RedisEventTransport, stream: str, most: int, *, drops: bool) -> None:
        self._transport = transport
        self._stream = stream
        self._trimming = f"trim {stream}"
        self._refusals = Denials(transport.obstacles, "this process")
        self.most = most
        self._drops = drops
        self._step = max(1, min(1_000, most // 10))
        self._added = self._step - 1
        self._running: asyncio.Task[None] | None = None
        self._looking: asyncio.Task[None] | None = None
        self._let_in = 0
        #: Whether the stream holds its whole length in events that some group has not acknowledged.
        self.is_full = False
        #: Whether the last look was not left out, since somebody had looked just before.
        self._has_looked = False
        self._has_said_so = False
        #: Because of which group the stream is full, as it was found last, and when to look again.
        self.cause: GroupStatus | None = None
        self._cause_due = 0.0
        self._dropped = 0
        self._silent_until = 0.0

    def note_added(self) -> bool:
        """Count an event, look at the stream every now and then, and tell whether it is full."""
        self._added += 1
        if self._added >= self._step:
            self.look_soon()
        return self.is_full

    def look_soon(self) -> None:
        """Look at the stream now, unless that is under way."""
        if self._running is None:
            self._added = 0
            self._running = begin(self._trim(), f"lightbus trim {self._stream}")
            self._running.add_done_callback(self._note_trimmed)

    async def wait_for_room(self, message: EventMessage) -> None:
        """Wait until listeners have made room; the caller's deadline bounds the wait."""
        if not self._has_said_so:
            self._has_said_so = True
            logger.warning(
                "%s waits: %s is full of unacknowledged events", message.canonical_name, self._stream
            )
        # One looks for all that wait, and only some go on after each look: else many that wait would keep
        # Redis busy with nothing, and overfill the stream together.
        while self.is_full or self._let_in >= max(_LET_IN, self._step):
            await self._next_look(message)
        self._let_in += 1

    def must_look_before(self, count: int) -> bool:
        """Tell whether a list of so many events must not go on before it is known how full the stream is."""
        return count > self._step and self._running is not None

    async def catch_up(self, message: EventMessage) -> None:
        """Wait for a look that was begun, so that a long list of events does not overtake it.

        Somebody may have looked within the last moment: then it is known only after the next look, and worth
        waiting for where the stream has grown well above its length.
        """
        if self._running is not None:
            await asyncio.wait([self._running])
        most = self.most + max(_SLACK, self.most // 10)
        try:
            while not self._has_looked and await self._transport.pipe.send("XLEN", self._stream) > most:
                await self._next_look(message)
        except FAILURES as e:
            logger.debug("the length of %s: %s", self._stream, e)

    async def close(self) -> None:
        """Wait no longer for a trim that is on its way."""
        tasks = [task for task in (self._running, self._looking) if task is not None]
        for task in tasks:
            end(task)
        if tasks:
            await asyncio.wait(tasks)
        self._refusals.close()

    async def _next_look(self, message: EventMessage) -> None:
        if self._looking is None:
            self._looking = begin(self._look(), f"lightbus room {self._stream}")
            self._looking.add_done_callback(self._note_looked)
        looking = self._looking
        await asyncio.wait([looking])
        if not looking.cancelled():
            looking.result()
        elif is_ending(looking):
            raise BusAlreadyClosed(f"the bus was closed while {message.canonical_name} waited for room")

    def _note_looked(self, _: asyncio.Task[None]) -> None:
        self._looking = None

    def _note_trimmed(self, _: asyncio.Task[None]) -> None:
        self._running = None

    async def _look(self) -> None:
        await asyncio.sleep(_TRIM_LEASE_MS / 1000)
        await self._trim()
        self._let_in = 0

    async def _trim(self) -> None:
        keys = [self._stream, f"{{{self._stream}}}:trimming"]
        try:
            arguments = [self.most, _TRIM_LEASE_MS, int(self._drops)]
            outcome, dropped = await self._transport.pipe.run(TRIM, keys, arguments)
        except FAILURES as e:
            level = logging.WARNING if self._refusals.meet(self._trimming, e) else logging.DEBUG
            logger.log(level, "trimming %s: %s; trying again", self._stream, e)
            return
        self._refusals.clear(self._trimming)
        self._has_looked = outcome >= 0
        if outcome >= 0:
            self.is_full = outcome == 1
            self._has_said_so &= self.is_full
            if dropped:
                self._note_dropped(dropped)
        if outcome == 1:
            await self._find_cause()

    async def _find_cause(self) -> None:
        """Find out which group it is for whose sake the stream is full, every few seconds."""
        now = asyncio.get_running_loop().time()
        if now < self._cause_due:
            return
        self._cause_due = now + _CAUSE_EVERY
        try:
            self.cause = await most_behind(self._transport.pipe, self._stream, self.most)
        except FAILURES as e:
            logger.debug("why %s is full: %s", self._stream, e)

    def _note_dropped(self, dropped: int) -> None:
        self._transport.metrics.events_dropped.add(self._stream, by=dropped)
        self._dropped += dropped
        now = asyncio.get_running_loop().time()
        if now < self._silent_until:
            return
        logger.error(
            "%s is full: dropped %d events that a listener has not acknowledged (when_full: drop_oldest)",
            self._stream,
            self._dropped,
        )
        self._dropped, self._silent_until = 0, now + _SAID_EVERY
