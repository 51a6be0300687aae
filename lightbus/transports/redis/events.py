"""Events over Redis streams: firing them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from typing import Any, ClassVar

from lightbus.exceptions import BusAlreadyClosed, PublishNotConfirmed, StreamFull, TransportUnavailable
from lightbus.messages import EventMessage
from lightbus.transports.base import EventConsumer, EventTransport, Identity, Subscription
from lightbus.transports.questions import DeadLetter, GroupStatus

from .codec import encode_event
from .connection import FAILURES, LinkBroken, backoff
from .dead_letters import DeadLetters
from .event_consumer import RedisEventConsumer
from .groups import group_status
from .history import History
from .options import RedisEventOptions
from .pipe import ignore_outcome
from .replies import ReplyError
from .scripts import FIRE, TRIM
from .session import RedisTransport

logger = logging.getLogger(__name__)

#: How many of the newest entries are searched for an event whose confirmation was lost.
_SEARCHED = 2_000
_TRIM_LEASE_MS = 200
#: How many of those that wait for room go on at a time, at least.
_LET_IN = 10
#: Seconds between log lines about dropped events of one stream.
_SAID_EVERY = 60
#: The most seconds before an event is sent again that Redis could not take just then.
_LONGEST_PAUSE = 0.5


def stream_key(api_name: str, event_name: str, stream_use: str) -> str:
    """Return the key of the stream that carries an event."""
    return f"{api_name}.{event_name if stream_use == 'per_event' else '*'}:stream"


class RedisEventTransport(RedisTransport, EventTransport):
    """Fires events by ``XADD`` and receives them by consumer groups.

    Args:
        options: How to reach Redis, and how streams and leases are kept.
    """

    options: ClassVar[type | None] = RedisEventOptions

    def __init__(self, options: RedisEventOptions | None = None) -> None:
        self._options = options or RedisEventOptions()
        super().__init__(self._options)
        self._trimmers: dict[str, Trimmer] = {}

    async def publish(
        self, messages: Sequence[EventMessage], timeout: float, dedupe: float | None = None
    ) -> None:
        """Store events, in order, in one write; search for those whose confirmation was lost."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        left = list(messages)
        sent: dict[str, asyncio.Future[Any]] = {}
        timer = loop.call_at(deadline, _expire, sent)
        in_doubt = False
        failures = 0
        try:
            while left := await self._publish_once(left, sent, deadline, dedupe):
                outcomes = [sent[message.id].exception() for message in left]
                in_doubt |= any(isinstance(outcome, LinkBroken) for outcome in outcomes)
                refusal = next((o for o in outcomes if isinstance(o, ReplyError)), None)
                if refusal is not None:
                    failures += 1
                    pause = backoff(failures, _LONGEST_PAUSE)
                    if loop.time() + pause >= deadline:
                        raise self._refused(left[0], refusal)
                    await asyncio.sleep(pause)
        except (TimeoutError, TransportUnavailable) as e:
            if in_doubt:
                # Not found when it was looked for; but what the broken link held may still arrive.
                raise self._not_confirmed(left, timeout) from e
            if isinstance(e, TransportUnavailable):
                raise
            raise self._explain_lateness(left, sent, timeout) from None
        finally:
            timer.cancel()

    async def consume(self, subscription: Subscription, identity: Identity) -> EventConsumer:
        """Join the listener's group on each of its streams, making what is not there."""
        consumer = RedisEventConsumer(
            self.session, self._options, subscription, identity, self._streams(subscription), self.metrics
        )
        await consumer.join()
        return consumer

    def list_dead(self) -> AsyncIterator[DeadLetter]:
        """Go through the dead letters of every group in this Redis."""
        return DeadLetters(self.pipe).walk()

    async def replay(self, letter: DeadLetter) -> bool:
        """Hand a dead letter to its group again."""
        return await DeadLetters(self.pipe).replay(letter)

    async def drop(self, letter: DeadLetter) -> bool:
        """Delete a dead letter."""
        return await DeadLetters(self.pipe).drop(letter)

    def history(
        self, api: str = "*", event: str = "*", *, since: float | None = None, native_id: str | None = None
    ) -> AsyncIterator[EventMessage]:
        """Go through what the streams hold, the newest first."""
        return History(self.session).past(api, event, since, native_id)

    def follow(
        self, api: str = "*", event: str = "*", *, since: float | None = None
    ) -> AsyncIterator[EventMessage]:
        """Go through what is added to the streams."""
        return History(self.session).coming(api, event, since)

    async def group_status(self) -> Sequence[GroupStatus]:
        """Ask every stream of this Redis about its groups."""
        return await group_status(self.pipe)

    async def close(self) -> None:
        """Stop trimming and give the connection back."""
        for trimmer in self._trimmers.values():
            await trimmer.close()
        self._trimmers.clear()
        await super().close()

    def _keys(self, events: Sequence[tuple[str, str]]) -> dict[str, str]:
        use = self._options.stream_use
        return {
            stream_key(api, name, use): "stream" for api, name in events if use == "per_api" or name != "*"
        }

    def _streams(self, subscription: Subscription) -> list[str]:
        streams = []
        for api_name, event_name in subscription.events:
            names: tuple[str, ...] = (event_name,)
            if event_name == "*" and self._options.stream_use == "per_event":
                names = subscription.known_events.get(api_name, ())
            streams += [stream_key(api_name, name, self._options.stream_use) for name in names]
        return list(dict.fromkeys(streams))

    async def _publish_once(
        self,
        messages: list[EventMessage],
        sent: dict[str, asyncio.Future[Any]],
        deadline: float,
        dedupe: float | None,
    ) -> list[EventMessage]:
        """Write the events; return those that Redis turned out not to have, and may soon take."""
        # All of them before the first is sent: where one can't travel, nothing is.
        encoded = [encode_event(message) for message in messages]
        for message, fields in zip(messages, encoded, strict=True):
            stream = self._stream(message)
            most = self._options.max_stream_length
            if most is not None:
                trimmer = self._trimmers.get(stream)
                if trimmer is None:
                    drops = self._options.when_full == "drop_oldest"
                    trimmer = self._trimmers[stream] = Trimmer(self, stream, most, drops=drops)
                if trimmer.note_added():
                    async with asyncio.timeout_at(deadline):
                        await trimmer.wait_for_room(message)
            sent[message.id] = self._store(stream, message, fields, dedupe)
        missing = []
        for i, message in enumerate(messages):
            try:
                message.native_id = (await sent[message.id]).decode()
            except ReplyError as e:
                if e.passes:
                    missing.append(message)
                    continue
                for other in messages[i + 1 :]:
                    sent[other.id].add_done_callback(ignore_outcome)
                raise self._refused(message, e) from e
            except LinkBroken:
                if dedupe is not None:
                    missing.append(message)  # Sent again, it is stored at most once.
                    continue
                async with asyncio.timeout_at(deadline):
                    message.native_id = await self._find(self._stream(message), message.id)
                if message.native_id is None:
                    missing.append(message)
        return missing

    def _store(
        self, stream: str, message: EventMessage, fields: Sequence[Any], dedupe: float | None
    ) -> asyncio.Future[Any]:
        if dedupe is None:
            return self.pipe.send("XADD", stream, "*", *fields)
        key = f"{{{stream}}}:fired:{message.id}"
        milliseconds = max(1, int(dedupe * 1000))
        # The text and not its hash, so that a server which does not know it yet needs no second round.
        return self.pipe.send("EVAL", FIRE.text, 2, stream, key, milliseconds, *fields)

    async def _find(self, stream: str, message_id: str) -> str | None:
        """Look for an event near the end of its stream."""
        wanted = message_id.encode()
        failures = 0
        while True:
            try:
                entries = await self.pipe.send("XREVRANGE", stream, "+", "-", "COUNT", _SEARCHED)
            except LinkBroken:
                continue
            except ReplyError as e:
                if e.passes:
                    failures += 1
                    await asyncio.sleep(backoff(failures, _LONGEST_PAUSE))
                    continue
                raise PublishNotConfirmed(
                    f"the link to Redis at {self.address} broke before it confirmed event {message_id}, and "
                    f"Redis refuses to look for it: {e}; it may or may not be stored",
                    message_id,
                ) from e
            for native_id, fields in entries:
                if dict(zip(fields[::2], fields[1::2], strict=False)).get(b"id") == wanted:
                    return str(native_id.decode())
            return None

    def _stream(self, message: EventMessage) -> str:
        return stream_key(message.api_name, message.event_name, self._options.stream_use)

    def _refused(self, message: EventMessage, refusal: ReplyError) -> TransportUnavailable:
        return TransportUnavailable(
            f"{message.canonical_name} was not fired: Redis at {self.address} refused it: {refusal}"
        )

    def _not_confirmed(self, messages: Sequence[EventMessage], timeout: float) -> PublishNotConfirmed:
        message = next(m for m in messages if m.native_id is None)
        why = f" ({self.pipe.failure})" if self.pipe.failure is not None else ""
        return PublishNotConfirmed(
            f"Redis at {self.address} did not confirm {message.canonical_name} (event {message.id}) within "
            f"{timeout:g} s{why}: it may or may not be stored; fire it again with this id in bus_options if "
            "the event has `dedupe`, else only if its listeners can take it twice",
            message.id,
        )

    def _explain_lateness(
        self, messages: list[EventMessage], sent: dict[str, asyncio.Future[Any]], timeout: float
    ) -> Exception:
        """Say what is known of the first event that was not confirmed in time."""
        message = next(m for m in messages if m.native_id is None)
        name = message.canonical_name
        future = sent.get(message.id)
        if future is not None and not self.pipe.is_unsent(future):
            return self._not_confirmed(messages, timeout)
        if future is None:
            return StreamFull(
                f"{name} was not fired: its stream holds {self._options.max_stream_length} events that some "
                "listener has not acknowledged; start or speed up the listeners, or raise max_stream_length"
            )
        reason = self.pipe.failure or f"Redis at {self.address} is silent"
        return TransportUnavailable(f"{name} was not fired: {reason}")


def _expire(sent: dict[str, asyncio.Future[Any]]) -> None:
    """Wait no longer; what still waits for a connection does not go out after all."""
    for future in sent.values():
        if not future.done():
            future.set_exception(TimeoutError())
            future.exception()


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
        self._most = most
        self._drops = drops
        self._step = max(1, min(1_000, most // 10))
        self._added = self._step - 1
        self._running: asyncio.Task[None] | None = None
        self._looking: asyncio.Task[None] | None = None
        self._let_in = 0
        #: Whether the stream holds its whole length in events that some group has not acknowledged.
        self.is_full = False
        self._has_said_so = False
        self._dropped = 0
        self._silent_until = 0.0

    def note_added(self) -> bool:
        """Count an event, look at the stream every now and then, and tell whether it is full."""
        self._added += 1
        if self._added >= self._step and self._running is None:
            self._added = 0
            self._running = asyncio.get_running_loop().create_task(self._run(), name="lightbus trim")
        return self.is_full

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
            if self._looking is None:
                self._looking = asyncio.get_running_loop().create_task(self._look(), name="lightbus room")
            looking = self._looking
            await asyncio.wait([looking])
            if looking.cancelled():
                raise BusAlreadyClosed(f"the bus was closed while {message.canonical_name} waited for room")
            looking.result()
        self._let_in += 1

    async def close(self) -> None:
        """Wait no longer for a trim that is on its way."""
        tasks = [task for task in (self._running, self._looking) if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _look(self) -> None:
        try:
            await asyncio.sleep(_TRIM_LEASE_MS / 1000)
            await self._trim()
            self._let_in = 0
        finally:
            self._looking = None

    async def _run(self) -> None:
        try:
            await self._trim()
        finally:
            self._running = None

    async def _trim(self) -> None:
        keys = [self._stream, f"{{{self._stream}}}:trimming"]
        try:
            arguments = [self._most, _TRIM_LEASE_MS, int(self._drops)]
            outcome, dropped = await self._transport.pipe.run(TRIM, keys, arguments)
        except FAILURES as e:
            logger.warning("trimming %s: %s", self._stream, e)
            return
        if outcome >= 0:
            self.is_full = outcome == 1
            self._has_said_so &= self.is_full
            if dropped:
                self._note_dropped(dropped)

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
