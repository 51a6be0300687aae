"""The listener's side of events: reading a consumer group, and settling what was read."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections import deque
from collections.abc import Sequence
from typing import Any

from lightbus.exceptions import InvalidMessage, TransportUnavailable
from lightbus.messages import EventMessage
from lightbus.transports.base import Delivery, EventConsumer, Identity, Subscription

from .codec import decode_event
from .connection import LinkBroken, ReplyError, backoff, error_code
from .leases import Leases
from .options import RedisEventOptions
from .scripts import FORGET, MOVE, PROMOTE, RETRY
from .session import Session

logger = logging.getLogger(__name__)

#: Seconds for which a blocking read waits before it is begun again, to find a dead link.
BLOCK = 2.0
_DUE_AT_ONCE = 100
_MAX_TRACE = 8_000

Fields = Sequence[bytes]


class RedisDelivery(Delivery):
    """An entry of a stream, or of its group's retry stream.

    Args:
        consumer: Who read it.
        stream: The stream that was listened to.
        source: The stream that the entry is in.
        entry_id: Its id there.
        fields: Its fields as they are on the wire.
        message: The event.
        attempt: Which attempt this is.
        origin: The event's id in the stream that was listened to.
    """

    __slots__ = ("_consumer", "entry_id", "fields", "origin", "settled", "source", "stream")

    def __init__(
        self,
        consumer: RedisEventConsumer,
        stream: str,
        source: str,
        entry_id: str,
        fields: Fields,
        message: EventMessage,
        attempt: int,
        origin: str,
    ) -> None:
        super().__init__(message, attempt)
        self._consumer = consumer
        self.stream = stream
        self.source = source
        self.entry_id = entry_id
        self.fields = fields
        self.origin = origin
        #: Set for a suspect only: tells that the next one may run.
        self.settled: asyncio.Event | None = None

    def ack(self) -> None:
        """Acknowledge it with the others of this loop tick."""
        self._consumer.acknowledge(self.source, self.entry_id)
        self._settle()

    async def retry(self, delay: float, error: BaseException) -> None:
        """Take it out of the stream and keep it in Redis until it is due."""
        fields = [*self.fields, b"attempts", str(self.attempt).encode(), b"origin", self.origin.encode()]
        await self._consumer.postpone(self, delay, fields)
        self._settle()

    async def dead_letter(self, reason: str, error: BaseException | None) -> None:
        """Move it to the group's dead letters, with what is known of the failure."""
        await self._consumer.bury(self, reason, error)
        self._settle()

    async def release(self) -> None:
        """Move it to the group's retry stream, where another process of the service takes it at once."""
        fields = [*self.fields, b"attempts", str(self.attempt - 1).encode(), b"origin", self.origin.encode()]
        await self._consumer.move(self, self._consumer.keys(self.stream).retry, fields)
        self._settle()

    def _settle(self) -> None:
        if self.settled is not None:
            self.settled.set()


class GroupKeys:
    """The side keys of one group of one stream; the tag in braces keeps them in the stream's slot.

    Args:
        stream: The stream that is listened to.
        group: The consumer group.
    """

    __slots__ = ("bodies", "dead", "delayed", "groups", "retry")

    def __init__(self, stream: str, group: str) -> None:
        self.retry = f"{{{stream}}}:retry:{group}"
        self.delayed = f"{{{stream}}}:delayed:{group}"
        self.bodies = f"{{{stream}}}:bodies:{group}"
        self.dead = f"{{{stream}}}:dead:{group}"
        #: A hash of the stream's groups and the last id that each has seen.
        self.groups = f"{{{stream}}}:groups"


class RedisEventConsumer(EventConsumer):
    """Reads the streams of one listener for one process.

    Args:
        session: The Redis of these events.
        options: Sizes and times.
        subscription: What the listener wants.
        identity: Whose listener it is.
        streams: The streams that carry those events.
    """

    def __init__(
        self,
        session: Session,
        options: RedisEventOptions,
        subscription: Subscription,
        identity: Identity,
        streams: Sequence[str],
    ) -> None:
        self.pipe = session.pipe
        self.options = options
        self.group = f"{options.service_name or identity.service_name}-{subscription.listener_name}"
        self.name = options.consumer_name or identity.process_name
        self._subscription = subscription
        self._link = session.link()
        self._keys = {stream: GroupKeys(stream, self.group) for stream in streams}
        # Retried events come first: they are the older ones.
        self._sources = {keys.retry: stream for stream, keys in self._keys.items()}
        self._sources.update({stream: stream for stream in streams})
        self.last_seen: dict[str, str] = {}
        self._buffer: deque[Delivery] = deque()
        self._finished: dict[str, list[str]] = {}
        self._flushing = False
        self._acknowledging: set[asyncio.Future[Any]] = set()
        self._timers: set[asyncio.TimerHandle] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._failures = 0
        self.stopping = False
        self.leases = Leases(self, session.suspect)

    def keys(self, stream: str) -> GroupKeys:
        """Return the side keys of a stream that is listened to."""
        return self._keys[stream]

    @property
    def streams(self) -> Sequence[str]:
        """The streams that are listened to."""
        return list(self._keys)

    @property
    def sources(self) -> dict[str, str]:
        """The streams that are read, retry streams included, each with the one it serves."""
        return self._sources

    async def join(self) -> None:
        """Make the groups that are not there yet, and begin to keep leases.

        Raises:
            TransportUnavailable: Redis refused, for instance since a key holds something else.
        """
        if not self.leases.running:
            self.leases.start()
        for source in self._sources:
            await self._make_group(source)

    async def take(self, limit: int) -> Sequence[Delivery]:
        """Read the group, waiting for the first entry."""
        if self.stopping:
            return ()
        if not self._buffer:
            count = max(1, min(limit, self.options.batch_size) // max(1, len(self._keys)))
            await self._read(count)
        taken = []
        while self._buffer and len(taken) < limit:
            taken.append(self._buffer.popleft())
        return taken

    def offer(self, delivery: RedisDelivery) -> None:
        """Put an entry that was claimed from a dead process before what is read next."""
        self._buffer.append(delivery)
        self._wake()

    async def stop(self) -> None:
        """End a waiting read at once, and hand back what was fetched ahead."""
        self.stopping = True
        self._wake()
        while self._buffer:
            await self._buffer.popleft().release()

    async def close(self) -> None:
        """Send the last acknowledgements, and leave the group where nothing is held."""
        self.stopping = True
        await self.leases.stop()
        for timer in self._timers:
            timer.cancel()
        while self._buffer:
            await self._buffer.popleft().release()
        self._flush()
        waiting = self._acknowledging | self._tasks
        if waiting:
            await asyncio.wait(waiting, timeout=5)
        await self._link.close()
        try:
            async with asyncio.timeout(2):
                for source in self._sources:
                    await self.pipe.run(FORGET, [source], [self.group, 0, self.name])
                await self.note_progress()
        except (TimeoutError, LinkBroken, ReplyError) as e:
            logger.debug("leaving %s: %s", self.group, e)

    def acknowledge(self, source: str, entry_id: str) -> None:
        """Acknowledge an entry together with all others of this loop tick."""
        self._finished.setdefault(source, []).append(entry_id)
        if not self._flushing:
            self._flushing = True
            asyncio.get_running_loop().call_soon(self._flush)

    async def postpone(self, delivery: RedisDelivery, delay: float, fields: Fields) -> None:
        """Keep an entry in Redis until it is due, and move it to the retry stream then."""
        keys = self._keys[delivery.stream]
        is_retry = "1" if delivery.source != delivery.stream else "0"
        await self._settle(
            delivery,
            RETRY,
            [delivery.source, keys.delayed, keys.bodies],
            [self.group, delivery.entry_id, delivery.origin, max(1, int(delay * 1000)), is_retry, *fields],
        )
        self.promote_later(delivery.stream, delay)

    async def bury(self, delivery: RedisDelivery, reason: str, error: BaseException | None) -> None:
        """Move an entry to the group's dead letters."""
        trace = "".join(traceback.format_exception(error)) if error is not None else ""
        fields = [
            *delivery.fields,
            *(b"reason", reason.encode()),
            *(b"error", repr(error).encode()[:_MAX_TRACE] if error is not None else b""),
            *(b"trace", trace.encode()[-_MAX_TRACE:]),
            *(b"attempts", str(delivery.attempt).encode()),
            *(b"origin", delivery.origin.encode()),
        ]
        await self.move(delivery, self._keys[delivery.stream].dead, fields)

    async def move(self, delivery: RedisDelivery, target: str, fields: Fields) -> None:
        """Take an entry out of the group and append it to another stream, at once or not at all."""
        is_retry = "1" if delivery.source != delivery.stream else "0"
        await self._settle(
            delivery, MOVE, [delivery.source, target], [self.group, delivery.entry_id, is_retry, *fields]
        )

    def promote_later(self, stream: str, delay: float) -> None:
        """Move what is due to the retry stream, ``delay`` seconds from now."""
        loop = asyncio.get_running_loop()

        def begin() -> None:
            self._timers.discard(timer)
            task = loop.create_task(self.promote(stream))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        timer = loop.call_later(delay + 0.002, begin)
        self._timers.add(timer)

    async def promote(self, stream: str) -> None:
        """Move what is due to the retry stream, where peers are blocked on it."""
        keys = self._keys[stream]
        try:
            left = await self.pipe.run(PROMOTE, [keys.delayed, keys.bodies, keys.retry], [_DUE_AT_ONCE])
        except (LinkBroken, ReplyError) as e:
            logger.debug("promoting retries of %s: %s", self.group, e)
            return
        if 0 <= left < 1_000 and not self.stopping:
            self.promote_later(stream, left / 1_000)

    async def note_progress(self) -> None:
        """Remember how far the group has read, should it be deleted."""
        if self.last_seen:
            await self.pipe.send_many(
                [("HSET", self._keys[s].groups, self.group, seen) for s, seen in self.last_seen.items()]
            )

    def receive(self, source: str, entry_id: str, fields: Fields) -> RedisDelivery | None:
        """Make a delivery of an entry, or deal with one that this listener does not want."""
        stream = self._sources[source]
        try:
            message, extra = decode_event(fields, entry_id)
        except InvalidMessage as e:
            logger.warning("an entry of %s is put aside unread: %s", source, e)
            broken = EventMessage("", "", {}, native_id=entry_id)
            delivery = RedisDelivery(self, stream, source, entry_id, fields, broken, 1, entry_id)
            self._spawn_bury(delivery, e)
            return None
        if message is None or not self._subscription.wants(message.api_name, message.event_name):
            self.acknowledge(source, entry_id)
            return None
        attempts = extra.get("attempts", "0") if source != stream else "0"
        attempt = int(attempts) + 1 if attempts.isdecimal() else 1
        origin = extra.get("origin", entry_id) if source != stream else entry_id
        if source != stream:
            message.native_id = origin
            fields = _without_extra(fields)
        self.leases.hold(source, entry_id)
        return RedisDelivery(self, stream, source, entry_id, fields, message, attempt, origin)

    async def _read(self, count: int) -> None:
        sources = list(self._sources)
        command = ("XREADGROUP", "GROUP", self.group, self.name, "COUNT", count, "BLOCK", int(BLOCK * 1000))
        try:
            (reply,) = await self._link.exchange(
                [(*command, "STREAMS", *sources, *(">" for _ in sources))], BLOCK + 2
            )
            if isinstance(reply, ReplyError):
                await self._after_refusal(reply)
                return
        except (TransportUnavailable, LinkBroken, ReplyError) as e:
            await self._pause(e)
            return
        self._failures = 0
        for source_bytes, entries in reply or ():
            source = source_bytes.decode()
            for entry_bytes, fields in entries:
                entry_id = entry_bytes.decode()
                delivery = self.receive(source, entry_id, fields or ())
                if delivery is not None:
                    self._buffer.append(delivery)
            if entries and source in self._keys:
                self.last_seen[source] = entries[-1][0].decode()

    async def _make_group(self, source: str) -> None:
        stream = self._sources[source]
        start = "0"
        if source == stream:
            known = await self.pipe.send("HGET", self._keys[stream].groups, self.group)
            start = known.decode() if known is not None else _start_id(self._subscription.since)
        try:
            await self.pipe.send("XGROUP", "CREATE", source, self.group, start, "MKSTREAM")
        except ReplyError as e:
            if error_code(e) != "BUSYGROUP":
                raise TransportUnavailable(f"the group {self.group} can't read {source}: {e}") from e
            return
        if source == stream:
            await self._note_made(source, start)

    async def _note_made(self, stream: str, start: str) -> None:
        """Write down that the group was made and where, so that it is never made at the end a second time."""
        if start == "$":
            newest = await self.pipe.send("XREVRANGE", stream, "+", "-", "COUNT", 1)
            start = newest[0][0].decode() if newest else "0"
        await self.pipe.send("HSETNX", self._keys[stream].groups, self.group, start)

    async def _after_refusal(self, error: ReplyError) -> None:
        code = error_code(error)
        if code == "UNBLOCKED":
            return
        if code != "NOGROUP":
            await self._pause(error)
            return
        logger.error(
            "the group %s or its stream is gone from Redis, and with it what was not yet handled: %s; "
            "it is made again",
            self.group,
            error,
        )
        for stream, keys in self._keys.items():
            seen = self.last_seen.get(stream, "0")
            await self.pipe.send_many(
                [
                    ("HSETNX", keys.groups, self.group, seen),
                    ("XGROUP", "CREATE", stream, self.group, seen, "MKSTREAM"),
                    ("XGROUP", "CREATE", keys.retry, self.group, "0", "MKSTREAM"),
                ]
            )

    async def _pause(self, error: Exception) -> None:
        if self._failures == 0:
            logger.warning("reading events as %s: %s; trying again", self.group, error)
        self._failures += 1
        if not self.stopping:
            await asyncio.sleep(backoff(self._failures, self.options.consumption_restart_delay))

    def _wake(self) -> None:
        if self._link.client_id is not None:
            self.pipe.send_many([("CLIENT", "UNBLOCK", self._link.client_id)])

    def _flush(self) -> None:
        """Acknowledge everything that was finished during this tick, with one command per stream."""
        self._flushing = False
        finished, self._finished = self._finished, {}
        for source, ids in finished.items():
            commands: list[tuple[Any, ...]] = [("XACK", source, self.group, *ids)]
            if source not in self._keys:
                commands.append(("XDEL", source, *ids))
            future = self.pipe.send_many(commands)
            self._acknowledging.add(future)
            future.add_done_callback(lambda f, source=source, ids=ids: self._confirm(f, source, ids))

    def _confirm(self, future: asyncio.Future[list[Any]], source: str, ids: list[str]) -> None:
        self._acknowledging.discard(future)
        if future.cancelled():
            return
        error = future.exception() or next((r for r in future.result() if isinstance(r, ReplyError)), None)
        if error is None or error_code(error) == "NOGROUP":
            self.leases.drop(source, ids)
            return
        logger.warning("acknowledging %d events as %s: %s; trying again", len(ids), self.group, error)
        self._finished.setdefault(source, []).extend(ids)
        if not self._flushing and not self.pipe.is_closed:
            self._flushing = True
            asyncio.get_running_loop().call_later(backoff(1), self._flush)

    async def _settle(
        self, delivery: RedisDelivery, script: Any, keys: Sequence[str], arguments: Sequence[Any]
    ) -> None:
        """Run a script that settles an entry, until Redis has done it; doing it twice changes nothing."""
        failures = 0
        while True:
            try:
                await self.pipe.run(script, keys, arguments)
                break
            except (LinkBroken, ReplyError) as e:
                if isinstance(e, ReplyError) and error_code(e) == "NOGROUP":
                    logger.error("%s is gone; event %s can't be kept", self.group, delivery.message.id)
                    break
                failures += 1
                logger.warning("settling event %s: %s; trying again", delivery.message.id, e)
                await asyncio.sleep(backoff(failures))
        self.leases.drop(delivery.source, [delivery.entry_id])

    def _spawn_bury(self, delivery: RedisDelivery, error: InvalidMessage) -> None:
        task = asyncio.get_running_loop().create_task(delivery.dead_letter("invalid_message", error))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _start_id(since: str) -> str:
    """Return the id after which a new group reads."""
    if since == "new":
        return "$"
    return "0" if since == "earliest" else f"{max(0, int(float(since) * 1000) - 1)}-0"


def _without_extra(fields: Fields) -> Fields:
    """Take off the four fields that the retry stream adds at the end."""
    return fields[:-4] if len(fields) >= 4 and fields[-2] == b"origin" else fields
