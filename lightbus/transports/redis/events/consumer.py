"""The listener's side of events: reading a consumer group, and settling what was read."""

from __future__ import annotations

import asyncio
import logging
import math
from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import Any

from lightbus.declared.settings import Identity
from lightbus.exceptions import InvalidMessage, TransportUnavailable
from lightbus.messages import EventMessage
from lightbus.metrics import Metrics
from lightbus.runtime.complaints import Complaints
from lightbus.runtime.obstacles import Obstacles
from lightbus.runtime.retrying import Retrying
from lightbus.transports.events import Delivery, EventConsumer, GroupStatus, Subscription
from lightbus.transports.redis.codec import read_count
from lightbus.transports.redis.custom_codec import Decode
from lightbus.transports.redis.keys import GroupKeys
from lightbus.transports.redis.link.connection import BLOCK, FAILURES, LinkBroken, unavailable
from lightbus.transports.redis.link.denials import Denials
from lightbus.transports.redis.link.permissions import LACKING, Permissions
from lightbus.transports.redis.link.refusals import Reaction, ReplyError
from lightbus.transports.redis.link.session import Session
from lightbus.transports.redis.options import RedisEventOptions
from lightbus.transports.redis.scripts import FORGET, MAKE

from .leases import Leases
from .lost_reads import LostReads
from .questions.noted import note
from .questions.status import NOBODY, events_gone, group_status
from .settling import Fields, RedisDelivery, Settling
from .suspects import Suspects

logger = logging.getLogger(__name__)

_WAKE_AGAIN = 0.05
#: The most seconds for each of the last questions.
_AT_THE_END = 2.0


class RedisEventConsumer(EventConsumer):
    """Reads the streams of one listener for one process."""

    def __init__(
        self,
        session: Session,
        options: RedisEventOptions,
        decode: Decode,
        subscription: Subscription,
        identity: Identity,
        streams: Sequence[str],
        metrics: Metrics,
        obstacles: Obstacles,
    ) -> None:
        self.metrics = metrics
        self.pipe = session.pipe
        self.options = options
        self.decode = decode
        self._service = options.service_name or identity.service_name
        self.group = f"{self._service}-{subscription.listener_name}"
        self.name = options.consumer_name or identity.process_name
        self._subscription = subscription
        self.longest_delay = subscription.longest_delay
        self._link = session.link()
        self._keys = {stream: GroupKeys(stream, self.group) for stream in streams}
        #: The streams that are read, each with the one it serves. Retried events come first: they are older.
        self.sources = {keys.retry: stream for stream, keys in self._keys.items()}
        self.sources.update({stream: stream for stream in streams})
        self.last_seen: dict[str, str] = {}
        #: How many events each stream has lost before they were read, as it was told last.
        self._gone: dict[str, int] = {}
        self._complaints = Complaints(logger)
        self._buffer: deque[Delivery] = deque()
        self._has_room = asyncio.Event()
        #: Which source is asked next, where one is asked after the other.
        self._turn = 0
        what, longest = f"reading events as {self.group}", options.consumption_restart_delay
        self._reading = Retrying(logger, what, longest=longest)
        #: The sources whose keys hold something else, and when to look again whether they still do.
        self._left_out: list[str] = []
        self._look_again = math.inf
        self.stopping = False
        self.obstacles = obstacles
        self.refusals = Denials(obstacles, f"the consumer group {self.group}")
        #: What this user of Redis may not do.
        self.permissions: Permissions | None = None
        self._purpose = f"listen as {subscription.listener_name}"
        self.leases = Leases(self, Suspects.of(session))
        self.settling = Settling(self, self._keys, subscription.dedupe)
        self._lost_reads = LostReads(self, self._link)
        self._asked_at = asyncio.get_running_loop().time()

    async def join(self) -> None:
        """Make the groups that are not there yet, and begin to keep leases.

        Raises:
            TransportUnavailable: Redis refused, for instance since a key holds something else.
        """
        if not self.sources:
            apis = ", ".join(sorted({api_name for api_name, _ in self._subscription.events}))
            raise TransportUnavailable(
                f"no event of {apis} is known here, so {self.group} can't tell which streams to read: with "
                "stream_use per_event, its owner must have published its contract; start it first"
            )
        with unavailable(f"the group {self.group} can't be joined"):
            for stream, keys in self._keys.items():
                keys.made = await self._make_group(stream, _start_id(self._subscription.since))
            # Redis before 7.2 shows a reader only once it has read something.
            shown = [("XGROUP", "CREATECONSUMER", source, self.group, self.name) for source in self.sources]
            named = [("HSET", k.groups, f"{self.group} service", self._service) for k in self._keys.values()]
            await self.pipe.send_many([*shown, *named])
        note(self.pipe, list(self._keys))
        await self.notice_gone()
        self.leases.start()

    async def status(self) -> Sequence[GroupStatus]:
        """Ask the streams about the group."""
        return await group_status(self.pipe, list(self._keys), self.group)

    async def take(self, limit: int) -> Sequence[Delivery]:
        """Read the group, waiting for the first entry."""
        if self.stopping:
            return ()
        if self.permissions is not None and self._purpose in self.permissions.barred:
            self.trouble = LACKING
            await asyncio.sleep(BLOCK / 4)
            return ()
        if not self._buffer:
            page = max(self.options.batch_size, self._subscription.page)
            self._has_room.set()
            try:
                await self.settling.keep_up()
                await self._read(min(limit, page))
            finally:
                self._has_room.clear()
        taken: list[Delivery] = []
        while self._buffer and len(taken) < limit:
            taken.append(self._buffer.popleft())
        return taken

    @property
    def has_room(self) -> bool:
        """Whether there is a free slot just now."""
        return self._has_room.is_set()

    async def wait_for_room(self) -> None:
        """Wait until there is a free slot: without one, what is abandoned is left to another process."""
        await self._has_room.wait()

    def offer(self, delivery: RedisDelivery) -> None:
        """Put an entry that was claimed from a dead process before what is read next."""
        self._buffer.append(delivery)
        self._has_room.clear()
        self._wake()

    async def stop(self) -> None:
        """End a waiting read at once, and hand back what was fetched ahead."""
        if not self.stopping:
            self.settling.spawn(self.leases.excuse, "the end of this process counts against what it runs")
        self.stopping = True
        self._wake()
        # Once more, since the first one may overtake a read that is just on its way to Redis.
        asyncio.get_running_loop().call_later(_WAKE_AGAIN, self._wake)
        await self._hand_back()

    async def close(self) -> None:
        """Send the last acknowledgements, and leave the group where nothing is held."""
        self.stopping = True
        await self.leases.stop()
        await self._link.close()
        if self.pipe.is_closed:
            return
        try:
            async with asyncio.timeout(_AT_THE_END):
                await self._lost_reads.take_up()
        except (TimeoutError, *FAILURES) as e:
            logger.debug("what replies to %s have lost: %s", self.group, e)
        await self._hand_back()
        await self.settling.close()
        self.refusals.close()
        try:
            async with asyncio.timeout(_AT_THE_END):
                for source in self.sources:
                    await self.pipe.run(FORGET, [source], [self.group, 0, self.name, NOBODY])
                await self.note_progress()
        except (TimeoutError, *FAILURES) as e:
            logger.debug("leaving %s: %s", self.group, e)

    async def _hand_back(self) -> None:
        """Hand back what was fetched; at once, since each waits out its time where Redis is silent."""
        left = list(self._buffer)
        self._buffer.clear()
        await asyncio.gather(*(delivery.release() for delivery in left))

    async def note_progress(self) -> None:
        """Remember how far the group has read, should it be deleted."""
        if not self.last_seen:
            return
        noted = await self.pipe.send_many(
            [("HSET", self._keys[s].groups, self.group, seen) for s, seen in self.last_seen.items()]
        )
        what = "note how far it has read"
        refusal = next((r for r in noted if isinstance(r, ReplyError)), None)
        if refusal is None:
            self.refusals.clear(what)
        elif refusal.code != "OOM":  # When full, reading goes on.
            self.refusals.meet(what, refusal)

    async def notice_gone(self) -> None:
        """Tell of events that were taken out of a stream before the group had read them."""
        try:
            found = await events_gone(self.pipe, list(self._keys), self.group)
        except FAILURES as e:
            logger.debug("what is gone from the streams of %s: %s", self.group, e)
            return
        for stream, gone in found.items():
            more = gone - self._gone.get(stream, 0)
            self._gone[stream] = gone
            if more > 0:
                self.metrics.events_gone.add(self.group, by=more)
                logger.error(
                    "%d events of the group %s are gone unread: its last id is older than the first entry of "
                    "%s, which somebody trims without regard for groups, as Lightbus 1.x does",
                    *(more, self.group, stream),
                )

    async def notice_remade(self) -> None:
        """Hold again what was read from a group that another process has made again since."""
        for stream, keys in self._keys.items():
            made = await self.pipe.send("HGET", keys.groups, f"{self.group} made")
            if made is not None and made.decode() != keys.made:
                await self._make_again(stream)

    def receive(self, source: str, entry_id: str, fields: Fields) -> RedisDelivery | None:
        """Make a delivery of an entry, or deal with one that this listener does not want."""
        stream = self.sources[source]
        self.leases.hold(source, entry_id)
        try:
            message, extra = self.decode(fields, entry_id)
        except InvalidMessage as e:
            self.refuse(source, e)
            broken = EventMessage("", "", {}, native_id=entry_id)
            delivery = RedisDelivery(self.settling, stream, source, entry_id, fields, broken, 1, entry_id)
            put_aside = partial(delivery.dead_letter, "invalid_message", e)
            self.settling.spawn(put_aside, "an entry that is no event is not put aside")
            return None
        if message is None or not self._subscription.wants(message.api_name, message.event_name):
            self.settling.acknowledge(source, entry_id)
            return None
        attempt, origin = 1, entry_id
        if source != stream:
            attempt = read_count(extra.get("attempts", "0")) + 1
            message.native_id = origin = extra.get("origin", entry_id)
            fields = _without_extra(fields)
        return RedisDelivery(self.settling, stream, source, entry_id, fields, message, attempt, origin)

    def refuse(self, source: str, reason: object) -> None:
        """Say and count that something is no event."""
        what = "an entry of %s is put aside unread: %s"
        self._complaints.tell(source, what, source, reason)
        self.metrics.messages_refused.add(source)

    def note_lost_reply(self) -> None:
        """Look for events that were given to this process by a reply which did not come."""
        self._lost_reads.note(self._asked_at)
        self._wake()

    async def _read(self, wanted: int) -> None:
        loop = asyncio.get_running_loop()
        try:
            await self._lost_reads.take_up()
            if self._buffer:
                return
            self._asked_at = loop.time()
            if self._link.client_id is None:
                # So that it can be woken from the first read on.
                await self._link.exchange([("PING",)], BLOCK + 2)
                if self.stopping or self._buffer:
                    return
            reply = await self._ask(wanted)
            if isinstance(reply, ReplyError):
                await self._after_refusal(reply)
                return
        except FAILURES as e:
            if isinstance(e, LinkBroken):
                self._lost_reads.note(self._asked_at)
            await self._pause(e)
            return
        except asyncio.CancelledError:
            self._lost_reads.note(self._asked_at)
            raise
        self._reading.clear()
        if not self._left_out:
            self.trouble = ""
        for source_bytes, entries in reply or ():
            source = source_bytes.decode()
            for entry_bytes, fields in entries:
                entry_id = entry_bytes.decode()
                delivery = self.receive(source, entry_id, fields or ())
                if delivery is not None:
                    self._buffer.append(delivery)
            if entries and source in self._keys:
                self.last_seen[source] = entries[-1][0].decode()

    async def _ask(self, wanted: int) -> Any:
        """Return what is there, else what comes; Redis counts for each stream by itself."""
        read = ("XREADGROUP", "GROUP", self.group, self.name, "COUNT")
        if asyncio.get_running_loop().time() >= self._look_again:
            self._look_again = math.inf
            await self._leave_out_what_is_no_stream()
        sources = [source for source in self.sources if source not in self._left_out]
        # All at once might give several times what there are free slots for.
        for _ in sources if wanted < len(sources) else ():
            self._turn = (self._turn + 1) % len(sources)
            source = sources[self._turn]
            (reply,) = await self._link.exchange([(*read, wanted, "STREAMS", source, ">")], BLOCK + 2)
            if reply or self.stopping or self._buffer:
                return reply
        count = max(1, wanted // len(self._keys))
        block = ("BLOCK", int(BLOCK * 1000), "STREAMS", *sources, *(">" for _ in sources))
        (reply,) = await self._link.exchange([(*read, count, *block)], BLOCK + 2)
        return reply

    async def _leave_out_what_is_no_stream(self) -> None:
        """Read the other streams where the key of one holds something else; that is looked at again."""
        sources = list(self.sources)
        types = await self.pipe.send_many([("TYPE", source) for source in sources])
        wrong = [s for s, t in zip(sources, types, strict=True) if t not in (b"stream", b"none")]
        self._left_out = wrong if len(wrong) < len(sources) else []
        if self._left_out:
            self._look_again = asyncio.get_running_loop().time() + BLOCK

    async def _make_group(self, stream: str, start: str) -> str:
        """Make the group where it is not there; returns how often it was made."""
        keys = self._keys[stream]
        made: bytes = await self.pipe.run(MAKE, [stream, keys.retry, keys.groups], [self.group, start])
        return made.decode()

    async def _make_again(self, stream: str) -> None:
        """Make the group from the last id seen, never at the end, and let it hold what is held here."""
        keys = self._keys[stream]
        made = await self._make_group(stream, "0")
        # What is being handled here was read by the old group: it must stay possible to retry it.
        await self.leases.adopt(stream)
        await self.leases.adopt(keys.retry)
        keys.made = made

    async def _after_refusal(self, error: ReplyError) -> None:
        if error.reaction is Reaction.IGNORE:
            return
        if error.code == "WRONGTYPE":
            self._look_again = 0.0
        if error.reaction is not Reaction.MAKE_GROUP:
            await self._pause(error)
            return
        logger.error(
            "the group %s or its stream is gone from Redis, and with it what was not yet handled: %s; "
            "it is made again",
            self.group,
            error,
        )
        self.metrics.data_losses.add(self.group)
        await self.note_progress()
        for stream in self._keys:
            await self._make_again(stream)

    async def _pause(self, error: Exception) -> None:
        self.trouble = str(error)
        wait = self._reading.failed(error)
        if not self.stopping:
            await asyncio.sleep(wait)

    def count_dead(self, message: EventMessage, reason: str) -> None:
        """Count an event that was put aside."""
        names = (message.api_name, message.event_name)
        self.metrics.dead_letters.add(self._subscription.listener_name, *names, reason)

    def _wake(self) -> None:
        self.pipe.unblock(self._link)


def _start_id(since: str) -> str:
    """Return the id after which a new group reads."""
    if since == "new":
        return "$"
    return "0" if since == "earliest" else f"{max(0, int(float(since) * 1000) - 1)}-0"


def _without_extra(fields: Fields) -> Fields:
    """Take off the four fields that the retry stream adds at the end."""
    return fields[:-4] if len(fields) >= 4 and fields[-2] == b"origin" else fields
