"""What becomes of an event that was read: acknowledged, kept for later, handed back or put aside."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from lightbus.exceptions import text_of
from lightbus.messages import EventMessage
from lightbus.runtime.cancellation import is_ending
from lightbus.runtime.retrying import Retrying
from lightbus.runtime.tasks import Kept, Work
from lightbus.transports.events import Delivery
from lightbus.transports.redis.keys import GroupKeys
from lightbus.transports.redis.link.connection import FAILURES
from lightbus.transports.redis.link.pipe import failure_of
from lightbus.transports.redis.link.refusals import ReplyError
from lightbus.transports.redis.scripts import FINISH, MOVE, PROMOTE, RETRY, Script

if TYPE_CHECKING:
    from .consumer import RedisEventConsumer

logger = logging.getLogger(__name__)

_DUE_AT_ONCE = 100
#: Seconds that stand for no limit: ten years.
_LONGEST_DELAY = 315_360_000
_MAX_TRACE = 8_000
#: The most field names and values that a dead letter keeps: all of an event, and what a script can pass on.
_MOST_VALUES = 4_000
#: The most entries that are settled in the background before others are read.
_MOST_AT_ONCE = 1_000
#: Seconds after which an event that was not started is left to the end of its lease.
_HAND_BACK = 2.0

#: What can't be done where a script is refused.
_SETTLING = {
    RETRY: "keep events for their next attempt",
    MOVE: "move events to its dead letters or back to others",
}
_PROMOTING = "take up events again that are due"
_ACKNOWLEDGING = "acknowledge events"

Fields = Sequence[bytes]


class RedisDelivery(Delivery):
    """An entry of a stream, or of its group's retry stream.

    Args:
        settling: How it is settled.
        stream: The stream that was listened to.
        source: The stream that the entry is in.
        entry_id: Its id there.
        fields: Its fields as they are on the wire.
        message: The event.
        attempt: Which attempt this is.
        origin: The event's id in the stream that was listened to.
    """

    __slots__ = ("_settling", "entry_id", "fields", "origin", "settled", "source", "stream")

    def __init__(
        self,
        settling: Settling,
        stream: str,
        source: str,
        entry_id: str,
        fields: Fields,
        message: EventMessage,
        attempt: int,
        origin: str,
    ) -> None:
        super().__init__(message, attempt)
        self._settling = settling
        self.stream = stream
        self.source = source
        self.entry_id = entry_id
        self.fields = fields
        self.origin = origin
        #: Set for a suspect only: tells that the next one may run.
        self.settled: asyncio.Future[None] | None = None

    @property
    def is_suspect(self) -> bool:
        """Whether it was claimed from a process that died."""
        return self.settled is not None

    def reread(self) -> None:
        """Decode it once more."""
        message, _ = self._settling.decode(self.fields, self.origin)
        if message is not None:
            self.message = message

    def ack(self) -> None:
        """Acknowledge it with the others of this loop tick."""
        self._settling.acknowledge(self.source, self.entry_id, self._settling.handled_key(self))
        self._settle()

    async def was_handled(self) -> bool:
        """Tell whether its id is remembered; asks until Redis answers."""
        return await self._settling.was_handled(self)

    async def retry(self, delay: float, error: BaseException) -> None:
        """Take it out of the stream and keep it in Redis until it is due."""
        fields = [*self.fields, b"attempts", str(self.attempt).encode(), b"origin", self.origin.encode()]
        await self._settling.postpone(self, delay, fields)
        self._settle()

    async def dead_letter(self, reason: str, error: BaseException | None) -> None:
        """Move it to the group's dead letters, with what is known of the failure."""
        await self._settling.bury(self, reason, error)
        self._settle()

    async def release(self) -> None:
        """Move it to the group's retry stream, where another process of the service takes it at once."""
        fields = [*self.fields, b"attempts", str(self.attempt - 1).encode(), b"origin", self.origin.encode()]
        await self._settling.hand_back(self, fields)
        self._settle()

    def _settle(self) -> None:
        if self.settled is not None and not self.settled.done():
            self.settled.set_result(None)


class Settling:
    """Settles the entries of one consumer; what Redis has not confirmed is sent again.

    Args:
        consumer: Whose entries they are.
        keys: The streams that are listened to, each with its side keys.
        dedupe: Seconds for which acknowledged events are remembered; None for not at all.
    """

    def __init__(
        self, consumer: RedisEventConsumer, keys: Mapping[str, GroupKeys], dedupe: float | None
    ) -> None:
        self.keys = keys
        self._consumer = consumer
        self.decode = consumer.decode
        self._pipe = consumer.pipe
        self._group = consumer.group
        self._refusals = consumer.refusals
        self._dedupe = dedupe
        self._finished: dict[str, list[str]] = {}
        #: With dedupe, the keys of events that are acknowledged as soon as Redis confirms it.
        self._handled: dict[str, set[str]] = {}
        self._flushing = False
        self._confirming = Retrying(logger, f"acknowledging events as {self._group}")
        self._closing = False
        self._acknowledging: dict[asyncio.Future[Any], tuple[str, list[str]]] = {}
        self._timers: set[asyncio.TimerHandle] = set()
        self._spawned: set[Kept] = set()

    def handled_key(self, delivery: RedisDelivery) -> str | None:
        """Return the key that remembers an event once it is acknowledged; None where nothing does."""
        return self.keys[delivery.stream].handled + delivery.message.id if self._dedupe is not None else None

    def acknowledge(self, source: str, entry_id: str, handled: str | None = None) -> None:
        """Acknowledge an entry together with all others of this loop tick."""
        self._finished.setdefault(source, []).append(entry_id)
        if handled is not None:
            self._handled.setdefault(source, set()).add(handled)
        if not self._flushing:
            self._flushing = True
            asyncio.get_running_loop().call_soon(self._flush)

    async def was_handled(self, delivery: RedisDelivery) -> bool:
        """Tell whether the group has acknowledged an event of the same id; asks until Redis answers."""
        key = self.handled_key(delivery)
        looking: Retrying | None = None
        while key is not None and not any(key in keys for keys in self._handled.values()):
            try:
                return bool(await self._pipe.send("EXISTS", key))
            except FAILURES as e:
                looking = looking or _retrying("looking for", delivery)
                await looking.wait(e)
        return key is not None

    def finishing(self, source: str) -> set[str]:
        """Return the ids of entries that are acknowledged, though Redis has not confirmed it yet."""
        sent = (ids for of, ids in self._acknowledging.values() if of == source)
        return set().union(self._finished.get(source, ()), *sent)

    async def postpone(self, delivery: RedisDelivery, delay: float, fields: Fields) -> None:
        """Keep an entry in Redis until it is due, and move it to the retry stream then."""
        keys = self.keys[delivery.stream]
        is_retry = "1" if delivery.source != delivery.stream else "0"
        await self._settle(
            delivery,
            RETRY,
            [delivery.source, keys.delayed, keys.bodies, keys.groups],
            [
                *(self._group, delivery.entry_id, delivery.origin),
                *(max(1, int(delay * 1000)), is_retry, keys.made),
                *fields,
            ],
        )
        self.promote_later(delivery.stream, delay)

    async def bury(self, delivery: RedisDelivery, reason: str, error: BaseException | None) -> None:
        """Move an entry to the group's dead letters."""
        trace = "".join(traceback.format_exception(error)) if error is not None else ""
        text = text_of(error) if error is not None else ""
        fields = [
            *delivery.fields[:_MOST_VALUES],
            *(b"reason", reason.encode()),
            *(b"error", text.encode(errors="backslashreplace")[:_MAX_TRACE]),
            *(b"trace", trace.encode(errors="backslashreplace")[-_MAX_TRACE:]),
            *(b"attempts", str(delivery.attempt).encode()),
            *(b"origin", delivery.origin.encode()),
        ]
        await self.move(delivery, self.keys[delivery.stream].dead, fields)
        self._consumer.count_dead(delivery.message, reason)

    async def move(self, delivery: RedisDelivery, target: str, fields: Fields) -> None:
        """Take an entry out of the group and append it to another stream, at once or not at all."""
        keys = self.keys[delivery.stream]
        is_retry = "1" if delivery.source != delivery.stream else "0"
        await self._settle(
            delivery,
            MOVE,
            [delivery.source, target, keys.groups],
            [self._group, delivery.entry_id, is_retry, keys.made, *fields],
        )

    async def hand_back(self, delivery: RedisDelivery, fields: Fields) -> None:
        """Move an entry to the retry stream; where that can't be done soon, its lease runs out instead."""
        try:
            async with asyncio.timeout(_HAND_BACK):
                await self.move(delivery, self.keys[delivery.stream].retry, fields)
        except TimeoutError:
            _warn(delivery, "event %s is not handed back; its lease runs out")
            self._consumer.leases.drop(delivery.source, [delivery.entry_id])

    def promote_later(self, stream: str, delay: float) -> None:
        """Move what is due to the retry stream, ``delay`` seconds from now."""
        loop = asyncio.get_running_loop()

        def begin() -> None:
            self._timers.discard(timer)
            self.spawn(partial(self.promote, stream), "retries that are due are not moved")

        timer = loop.call_later(delay + 0.002, begin)
        self._timers.add(timer)

    async def promote(self, stream: str) -> None:
        """Move what is due to the retry stream, where peers are blocked on it."""
        keys = self.keys[stream]
        try:
            left, refused = await self._pipe.run(
                PROMOTE,
                [keys.delayed, keys.bodies, keys.retry, keys.dead],
                [_DUE_AT_ONCE, int(1000 * min(self._consumer.longest_delay, _LONGEST_DELAY))],
            )
        except FAILURES as e:
            self._refusals.meet(_PROMOTING, e)
            return
        self._refusals.clear(_PROMOTING)
        for _ in range(refused):
            self._consumer.refuse(keys.bodies, "not an event")
        if 0 <= left < 1_000 and not self._closing:
            self.promote_later(stream, left / 1_000)

    def _flush(self) -> None:
        """Acknowledge everything that was finished during this tick, with one command per stream."""
        self._flushing = False
        finished, self._finished = self._finished, {}
        for source, ids in finished.items():
            is_retry = source not in self.keys
            handled = list(self._handled.get(source, ()))
            future: asyncio.Future[list[Any]]
            if handled or is_retry:
                remembered = max(1, int((self._dedupe or 0) * 1000))
                arguments = [self._group, remembered, int(is_retry), *ids]
                finishing = self._pipe.run(FINISH, [source, *handled], arguments)
                future = asyncio.get_running_loop().create_task(finishing, name="lightbus acknowledging")
            else:
                future = self._pipe.send_many([("XACK", source, self._group, *ids)])
            self._acknowledging[future] = source, ids
            future.add_done_callback(partial(self._confirm, source, ids, handled))

    def _confirm(
        self, source: str, ids: list[str], handled: list[str], future: asyncio.Future[list[Any]]
    ) -> None:
        self._acknowledging.pop(future, None)
        if future.cancelled() and (self._closing or _is_at_end(future)):
            return
        what = "something cancelled it"
        error = failure_of(future) if not future.cancelled() else asyncio.CancelledError(what)
        if error is None:
            self._confirming.clear()
            self._refusals.clear(_ACKNOWLEDGING)
            if handled:
                self._handled[source].difference_update(handled)
            self._consumer.leases.drop(source, ids)
            return
        self._refusals.meet(_ACKNOWLEDGING, error)
        wait = self._confirming.failed(error, is_told=isinstance(error, ReplyError))
        self._finished.setdefault(source, []).extend(ids)
        if not self._flushing and not self._pipe.is_closed:
            self._flushing = True
            asyncio.get_running_loop().call_later(wait, self._flush)

    async def _settle(
        self, delivery: RedisDelivery, script: Script, keys: Sequence[str], arguments: Sequence[Any]
    ) -> None:
        """Run a script that settles an entry, until Redis has done it.

        Doing it twice changes nothing, unless the group is destroyed in between: better twice than never.
        """
        settling: Retrying | None = None
        while True:
            try:
                await self._pipe.run(script, keys, arguments)
                break
            except FAILURES as e:
                # A refusal meets all events alike: one line tells of it.
                self._refusals.meet(_SETTLING[script], e)
                settling = settling or _retrying("settling", delivery)
                await settling.wait(e, is_told=isinstance(e, ReplyError))
        self._refusals.clear(_SETTLING[script])
        self._consumer.leases.drop(delivery.source, [delivery.entry_id])

    async def close(self) -> None:
        """Wait a little for what is on its way."""
        self._closing = True
        for timer in self._timers:
            timer.cancel()
        self._flush()
        waiting = {*self._acknowledging, *(kept.over for kept in self._spawned)}
        if waiting:
            await asyncio.wait(waiting, timeout=5)
        for kept in list(self._spawned):
            kept.end()

    async def keep_up(self) -> None:
        """Wait while too much is settled in the background, as where Redis refuses it."""
        while len(self._spawned) > _MOST_AT_ONCE and not self._consumer.stopping:
            over = [kept.over for kept in self._spawned]
            await asyncio.wait(over, timeout=1, return_when=asyncio.FIRST_COMPLETED)

    def spawn(self, work: Work, what: str) -> None:
        """Do something in the background until it is done; closing waits for it.

        Args:
            work: Makes the coroutine; to run it again changes nothing.
            what: What is lost without it, such as "an event is not put aside".
        """
        kept = Kept(work, f"lightbus settling {self._group}", what, self._consumer.obstacles)
        self._spawned.add(kept)
        kept.over.add_done_callback(lambda _: self._spawned.discard(kept))
        kept.start()


def _is_at_end(future: asyncio.Future[Any]) -> bool:
    return isinstance(future, asyncio.Task) and is_ending(future)


def _retrying(doing: str, delivery: RedisDelivery) -> Retrying:
    message_id = delivery.message.id
    return Retrying(logger, f"{doing} event {message_id}", message_id=message_id)


def _warn(delivery: RedisDelivery, what: str, *more: object) -> None:
    message_id = delivery.message.id
    logger.warning(what, message_id, *more, extra={"message_id": message_id})
