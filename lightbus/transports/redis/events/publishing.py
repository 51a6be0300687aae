"""Storing events in streams: in order, some at a time, with an outcome for each."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from lightbus.exceptions import (
    BusAlreadyClosed,
    LightbusException,
    PublishNotConfirmed,
    StreamFull,
    TransportUnavailable,
)
from lightbus.runtime.retrying import backoff
from lightbus.transports.events import Outgoing
from lightbus.transports.redis.keys import fired_key, trimming_key
from lightbus.transports.redis.link.connection import LinkBroken
from lightbus.transports.redis.link.deadlines import Outcome, expire
from lightbus.transports.redis.link.promise import TooFewReplicas
from lightbus.transports.redis.link.refusals import Reaction, ReplyError
from lightbus.transports.redis.scripts import FIRE, Run
from lightbus.transports.unserved import remedy, state, whose

from .streams import Stream, Streams
from .trimming import Trimmer

#: The most events, and about the most bytes, that are written before their confirmations are awaited.
_AT_ONCE = 1_000
_BYTES_AT_ONCE = 1 << 20
#: The part of the time that is kept for sending: an event that gets room in the last moment would go out
#: unconfirmed.
_FOR_SENDING = 0.1
#: The most seconds before an event is sent again that Redis could not take just then.
_LONGEST_PAUSE = 0.5


class Publishing:
    """One list of events on its way into Redis.

    Args:
        streams: The streams that carry them.
        events: The events.
        timeout: Seconds for all of them.
        deadline: When these are over, by the event loop's clock.
    """

    __slots__ = (
        "_after", "_before", "_carriers", "_deadline", "_doubtful", "_events", "_found_no_room", "_is_late",
        "_last_refusal", "_lost", "_pipe", "_refused", "_sent", "_streams", "_timeout", "_unsent",
    )  # fmt: skip

    def __init__(self, streams: Streams, events: Sequence[Outgoing], timeout: float, deadline: float) -> None:
        self._streams = streams
        self._pipe = streams.pipe
        self._events = events
        self._timeout = timeout
        self._deadline = deadline
        self._is_late = self._found_no_room = False
        self._sent: list[asyncio.Future[Any]] = []
        # Of those just sent: the ones that a broken link had, and those that Redis could not take then.
        self._lost: list[Outgoing] = []
        self._refused: dict[Outgoing, ReplyError] = {}
        self._last_refusal: ReplyError | None = None
        self._doubtful: set[Outgoing] = set()
        # What waited for a connection when time was up; a moment later, nothing is known of that any more.
        self._unsent: Collection[Outcome] | None = None
        # Looked up once: after the end of the bus, that would open it again.
        self._carriers: dict[Outgoing, Stream] = {}
        # The ids of those that have to be there first, for events whose key has an order.
        self._before: dict[Outgoing, str] = {}
        # For each stream, an entry that was there before the first event was sent to it.
        self._after: dict[Stream, str] = {}

    async def run(self, sent: asyncio.Future[Any] | None = None) -> None:
        """Store the events, and set the ``native_id`` or the ``error`` of each.

        Args:
            sent: The outcome of the one event, if it was sent already.
        """
        timer = asyncio.get_running_loop().call_at(self._deadline, self._expire)
        last: dict[tuple[Stream, str], str] = {}
        try:
            for event in self._events:
                stream = self._carriers[event] = self._streams.of(event.message)
                self._after[stream] = stream.confirmed
                if event.key:
                    if (stream, event.key) in last:
                        self._before[event] = last[stream, event.key]
                    last[stream, event.key] = event.message.id
            for part in _parts(self._events):
                await self._store(part, sent)
        finally:
            timer.cancel()

    async def _store(self, events: Sequence[Outgoing], sent: asyncio.Future[Any] | None) -> None:
        """Send events, and again those that Redis turns out not to have and may take, while there is time."""
        failures = 0
        left = events
        while left:
            if sent is None:
                await self._send(left)
            else:
                self._sent, sent = [sent], None
            left = await self._collect(left)
            while self._lost and not self._is_late:
                await self._find_lost()
            if self._refused:
                failures += 1
                await self._pause(backoff(failures, _LONGEST_PAUSE))
            left = [event for event in left if event.message.native_id is None and event.error is None]

    async def _send(self, events: Sequence[Outgoing]) -> None:
        """Send events for as long as there is time, and room in their streams."""
        sent = self._sent = []
        count = len(self._events)
        # The first one brings each stream's server the script, so that the others need not.
        scripted: set[Stream] = set()
        for event in events:
            stream = self._carriers[event]
            trimmer = stream.trimmer
            if trimmer is not None and (trimmer.note_added() or trimmer.must_look_before(count)):
                try:
                    async with asyncio.timeout_at(self._deadline - self._timeout * _FOR_SENDING):
                        await trimmer.catch_up(event.message)
                        if trimmer.is_full:
                            await trimmer.wait_for_room(event.message)
                except TimeoutError:
                    # A look that Redis did not answer in time says nothing of the stream.
                    self._is_late, self._found_no_room = True, trimmer.has_no_room
            if self._is_late:
                return
            before = self._before.get(event)
            is_known = stream in scripted
            sent.append(append(stream, event.message.id, event.body, event.dedupe, before, is_known))
            if event.dedupe is not None:
                scripted.add(stream)

    async def _collect(self, events: Sequence[Outgoing]) -> list[Outgoing]:
        """Note the outcomes of the events; return those that may have to be sent again."""
        again = []
        self._lost, self._refused = [], {}
        error: LightbusException
        for event, future in zip(events, self._sent, strict=False):
            try:
                event.message.native_id = entry_id = (await future).decode()
                self._carriers[event].confirmed = entry_id
                continue
            except LinkBroken:
                self._lost.append(event)
                # Even if it is not found later on: the broken link may still bring it to Redis.
                self._doubtful.add(event)
                again.append(event)
                continue
            except TooFewReplicas as e:
                error = self._not_replicated(event, e)
            except ReplyError as e:
                if e.reaction is Reaction.SEND_SCRIPT:  # The server is another one since, or was emptied.
                    again.append(event)
                    continue
                stream = self._carriers[event]
                if event.dedupe is not None:
                    e.note_script(_fire(stream, event.message.id, (), event.dedupe))
                if stream.trimmer is not None and e.code == "OOM":
                    stream.trimmer.look_soon()  # So that the next one may find room.
                if e.passes:
                    self._refused[event] = self._last_refusal = e
                    again.append(event)
                    continue
                error = self._refusal(event, e)
            except TransportUnavailable as e:
                error = e
            except BusAlreadyClosed as e:
                event.error = e
                continue
            except TimeoutError:
                if self._unsent is None:
                    self._unsent = self._pipe.unsent()
                error = self._not_sent(event) if future in self._unsent else self._not_confirmed(event)
            self._fail(event, error)
        for event in events[len(self._sent) :]:
            self._fail(event, self._not_sent(event))
        return again

    async def _pause(self, seconds: float) -> None:
        """Wait before refused events are sent again, unless that would be too late."""
        if asyncio.get_running_loop().time() + seconds < self._deadline:
            await asyncio.sleep(seconds)
            return
        for event, refusal in self._refused.items():
            self._fail(event, self._refusal(event, refusal))

    async def _find_lost(self) -> None:
        """Look in their streams for the events that the broken link had."""
        # Another event of this list may have the same id.
        known = {event.message.native_id for event in self._events}
        searched = {}
        lost, self._lost = self._lost, []
        for event in lost:
            if event.dedupe is None:  # With dedupe, it is stored at most once, however often it is sent.
                stream = self._carriers[event]
                searched[event] = stream.lost.find(
                    event.message.id, self._after[stream], self._deadline - self._timeout, known
                )
        found: dict[Stream, dict[Outgoing, str]] = {}
        for event, search in searched.items():
            try:
                async with asyncio.timeout_at(self._deadline):
                    entry_id = await search
                if entry_id is not None:
                    found.setdefault(self._carriers[event], {})[event] = entry_id
            except TimeoutError:
                self._is_late = True
            except BusAlreadyClosed as e:
                event.error = e
            except ReplyError as e:
                message_id = event.message.id
                event.error = PublishNotConfirmed(
                    f"the link to Redis at {self._address} broke before it confirmed event "
                    f"{message_id}, and Redis refuses to look for it: {e}; it may or may not be stored",
                    message_id,
                )
        for stream, entries in found.items():
            self._pipe.ring(stream.key)  # The link may have broken before it did.
            if stream.promise is None or await self._is_replicated(stream, list(entries)):
                for event, entry_id in entries.items():
                    event.message.native_id = entry_id

    async def _is_replicated(self, stream: Stream, found: Sequence[Outgoing]) -> bool:
        """Tell whether replicas have events that were found; notes what is to be done about them if not.

        WAIT counts only what its own connection has written. So something is written that changes nothing:
        the shortest lease for trimming, which keeps nobody from it.
        """
        try:
            async with asyncio.timeout_at(self._deadline):
                await stream.store("SET", trimming_key(stream.key), 0, "PX", 1)
            return True
        except TimeoutError:
            self._is_late = True
        except LinkBroken:
            self._lost += found  # Another server may be the primary now, and lack them.
        except TooFewReplicas as e:
            for event in found:
                event.error = self._not_replicated(event, e)
        except ReplyError as e:
            if e.passes:
                self._lost += found
                await asyncio.sleep(backoff(1, _LONGEST_PAUSE))
            else:
                for event in found:
                    event.error = self._not_confirmed(event, e)
        except BusAlreadyClosed as e:
            for event in found:
                event.error = e
        return False

    @property
    def _address(self) -> str:
        return self._pipe.address

    def _fail(self, event: Outgoing, error: LightbusException) -> None:
        is_known = event not in self._doubtful or isinstance(error, PublishNotConfirmed)
        event.error = error if is_known else self._not_confirmed(event, error)

    def _refusal(self, event: Outgoing, refusal: ReplyError) -> TransportUnavailable:
        self._streams.note_refused(event.message)
        name, address = event.message.canonical_name, self._address
        error = TransportUnavailable(f"{name} was not fired: Redis at {address} refused it: {refusal}")
        error.__cause__ = refusal
        return error

    def _not_confirmed(self, event: Outgoing, cause: Exception | None = None) -> PublishNotConfirmed:
        message = event.message
        reason = self._pipe.failure or self._last_refusal or self._waited_for
        why = f" ({reason})" if reason else ""
        error = PublishNotConfirmed(
            f"Redis at {self._address} did not confirm {message.canonical_name} (event "
            f"{message.id}) within {self._timeout:g} s{why}: it may or may not be stored; fire it again with "
            "this id in bus_options if the event has `dedupe`, else only if its listeners can take it twice",
            message.id,
        )
        error.__cause__ = cause
        return error

    def _not_replicated(self, event: Outgoing, cause: TooFewReplicas) -> PublishNotConfirmed:
        message = event.message
        error = PublishNotConfirmed(
            f"Redis at {self._address} stored {message.canonical_name} (event {message.id}), but {cause}: "
            "a failover may lose it; look by INFO replication whether they are connected and keep up, and "
            "fire it again with this id in bus_options if the event has `dedupe`, else only if its "
            "listeners can take it twice",
            message.id,
        )
        error.__cause__ = cause
        return error

    @property
    def _waited_for(self) -> str:
        """Says that replicas may be what is waited for; empty where they are not."""
        promise = self._streams.promise
        return "" if promise is None else f"it waits until {promise.replicas} of its replicas have it"

    def _not_sent(self, event: Outgoing) -> LightbusException:
        """Say why an event was not even sent in time."""
        name = event.message.canonical_name
        trimmer = self._carriers[event].trimmer
        if trimmer is not None and (trimmer.is_full or self._found_no_room):
            return StreamFull(f"{name} was not fired: {_why_full(trimmer)}")
        reason = self._pipe.failure or self._last_refusal or f"Redis at {self._address} is silent"
        return TransportUnavailable(f"{name} was not fired within {self._timeout:g} s: {reason}")

    def _expire(self) -> None:
        self._is_late = True
        self._unsent = self._pipe.unsent()
        for future in self._sent:
            expire(future)


def append(
    stream: Stream,
    message_id: str,
    body: Sequence[Any],
    dedupe: float | None,
    before: str | None = None,
    is_known: bool = False,
) -> asyncio.Future[Any]:
    """Send one event.

    Args:
        stream: The stream.
        message_id: Its id.
        body: Its fields.
        dedupe: Seconds for which the same id is stored only once; None for no such memory.
        before: The id of an event without which this one is not stored.
        is_known: Whether the server has just been sent the script, which is several times as long as most
            events; else it is sent along, so that a server which does not know it needs no second round.

    Returns:
        The future of its id in the stream.
    """
    if dedupe is None:
        return stream.store("XADD", stream.key, "*", *body)
    run = _fire(stream, message_id, body, dedupe, before)
    return stream.store(*(run.by_name() if is_known else run.by_text()))


def _fire(
    stream: Stream, message_id: str, body: Sequence[Any], dedupe: float, before: str | None = None
) -> Run:
    milliseconds, waits = max(1, int(dedupe * 1000)), int(stream.promise is not None)
    fired = fired_key(stream.key, message_id)
    first = () if before is None else (fired_key(stream.key, before),)
    return FIRE(
        stream=stream.key, fired=fired, before=first, milliseconds=milliseconds, waits=waits, fields=body
    )


def _why_full(trimmer: Trimmer) -> str:
    """Name the group because of which a stream takes no more, and a remedy."""
    held = f"its stream holds {trimmer.most:,} events that"
    cause = trimmer.cause
    if cause is None:
        what = "some listener has not acknowledged; start or speed up the listeners"
        return f"{held} {what}, or raise max_stream_length"
    besides = "or raise max_stream_length" if cause.is_served else "raise max_stream_length"
    return f"{held} {whose(cause)} has not acknowledged ({state(cause)}); {remedy(cause, besides)}"


def _parts(events: Sequence[Outgoing]) -> Iterator[Sequence[Outgoing]]:
    """Cut a list so that neither this process nor Redis holds much of it at a time."""
    start = size = 0
    for i, event in enumerate(events):
        size += sum(map(len, event.body))
        if i + 1 - start == _AT_ONCE or size > _BYTES_AT_ONCE:
            yield events[start : i + 1]
            start, size = i + 1, 0
    if start < len(events):
        yield events[start:]
