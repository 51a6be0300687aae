"""The listener's side of events: reading a consumer group, and all that goes on beside that."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Sequence
from typing import Any

from lightbus.exceptions import TransportUnavailable
from lightbus.runtime.retrying import Retrying
from lightbus.runtime.tasks import Kept
from lightbus.transports.events import Delivery, EventConsumer, GroupStatus, Subscription
from lightbus.transports.redis.custom_codec import Decode
from lightbus.transports.redis.link.connection import BLOCK, FAILURES, LinkBroken, unavailable
from lightbus.transports.redis.link.permissions import LACKING, Permissions
from lightbus.transports.redis.link.refusals import Reaction, ReplyError

from .delivery import Deliveries
from .leases import Leases
from .lost_reads import LostReads
from .membership import Membership
from .questions.status import group_status
from .settling import Settling
from .suspects import Suspects, Takeover

logger = logging.getLogger(__name__)

_WAKE_AGAIN = 0.05
#: The most seconds for each of the last questions.
_AT_THE_END = 2.0


class RedisEventConsumer(EventConsumer):
    """Reads the streams of one listener for one process.

    Args:
        membership: The group that is read, and as whom.
        subscription: The events that the listener wants.
        decode: Makes an event of an entry's fields.
        suspects: The events of dead processes that run here.
        permissions: The permissions of this user of Redis.
    """

    def __init__(
        self,
        membership: Membership,
        subscription: Subscription,
        decode: Decode,
        suspects: Suspects,
        permissions: Permissions,
    ) -> None:
        self.membership = membership
        self.obstacles = membership.obstacles
        self.longest_delay = subscription.longest_delay
        self._subscription = subscription
        self._pipe, self._link = membership.pipe, membership.link
        self._permissions = permissions
        self._purpose = f"listen as {subscription.listener_name}"
        self._leases = Leases(membership)
        self._settling = Settling(
            membership, self._leases, subscription.dedupe, longest_delay=lambda: self.longest_delay
        )
        self._deliveries = Deliveries(self._settling, subscription, decode)
        self._takeover = Takeover(
            self._deliveries, suspects, lambda: self.max_deaths, on_lost_reply=self.note_lost_reply
        )
        self._lost_reads = LostReads(self._deliveries, self._takeover)
        #: The source that is asked next, if one is asked after the other.
        self._turn = 0
        what, longest = f"reading events as {membership.group}", membership.options.consumption_restart_delay
        self._reading = Retrying(logger, what, longest=longest)
        #: The sources whose keys hold something else, and when to look again whether they still do.
        self._left_out: list[str] = []
        self._look_again = math.inf
        self._kept: list[Kept] = []

    async def join(self) -> None:
        """Make the groups that are not there yet, and begin to keep leases.

        Raises:
            TransportUnavailable: Redis refused, for instance since a key holds something else.
        """
        group = self.membership.group
        if not self.membership.sources:
            apis = ", ".join(sorted({api_name for api_name, _ in self._subscription.events}))
            raise TransportUnavailable(
                f"no event of {apis} is known here, so {group} can't tell which streams to read: with "
                "stream_use per_event, its owner must have published its contract; start it first"
            )
        with unavailable(f"the group {group} can't be joined"):
            await self.membership.join()
        self._kept = [
            Kept(work, f"lightbus {name} {group}", f"as {group}, {lost}", self.obstacles).start()
            for work, name, lost in (
                (self._leases.renew_regularly, "leases", "the leases of events that run are not renewed"),
                (self._look_regularly, "retries", "retries that others have postponed are not looked for"),
                (self._takeover.sweep_regularly, "sweep", "events of processes that died are not taken over"),
                (self.membership.show_regularly, "presence", "it is not shown that this process lives"),
            )
        ]

    async def status(self) -> Sequence[GroupStatus]:
        """Ask the streams about the group."""
        return await group_status(self._pipe, list(self.membership.keys), self.membership.group)

    async def take(self, limit: int) -> Sequence[Delivery]:
        """Read the group, waiting for the first entry."""
        if self.membership.is_leaving:
            return ()
        if self._purpose in self._permissions.barred:
            self.trouble = LACKING
            await asyncio.sleep(BLOCK / 4)
            return ()
        deliveries = self._deliveries
        if not deliveries:
            page = max(self.membership.options.batch_size, self._subscription.page)
            deliveries.room.set()
            try:
                await self._settling.keep_up()
                await self._read(min(limit, page))
            finally:
                deliveries.room.clear()
        return deliveries.take(limit)

    async def stop(self) -> None:
        """End a waiting read at once, and hand back the events that were fetched ahead."""
        if not self.membership.is_leaving:
            self._settling.spawn(self._excuse, "the end of this process counts against what it runs")
        self.membership.is_leaving = True
        self.membership.wake()
        # Once more, since the first one may overtake a read that is just on its way to Redis.
        asyncio.get_running_loop().call_later(_WAKE_AGAIN, self.membership.wake)
        await self._deliveries.hand_back()

    async def close(self) -> None:
        """Send the last acknowledgements, and leave the group if nothing is held."""
        self.membership.is_leaving = True
        await self.end_tasks()
        # Before the search for events of lost replies: a read that is still on its way would lose more.
        await self._link.close()
        if self._pipe.is_closed:
            return
        try:
            async with asyncio.timeout(_AT_THE_END):
                await self._lost_reads.take_up()
        except (TimeoutError, *FAILURES) as e:
            logger.debug("what replies to %s have lost: %s", self.membership.group, e)
        await self._deliveries.hand_back()
        # After all that settles something, and before leaving: a consumer that holds entries can't leave.
        await self._settling.close()
        self.membership.refusals.close()
        try:
            async with asyncio.timeout(_AT_THE_END):
                await self.membership.leave()
        except (TimeoutError, *FAILURES) as e:
            logger.debug("leaving %s: %s", self.membership.group, e)

    async def end_tasks(self) -> None:
        """Renew no leases and take nothing over any more."""
        for kept in self._kept:
            kept.end()
        for kept in self._kept:
            await kept.ended()

    def note_lost_reply(self) -> None:
        """Look for events that were given to this process by a reply which did not come."""
        self._lost_reads.note()
        self.membership.wake()

    async def notice_remade(self) -> None:
        """Hold the entries again that were read from a group before another process made it again."""
        for stream, keys in self.membership.keys.items():
            made = await self._pipe.send("HGET", keys.groups, f"{self.membership.group} made")
            if made is not None and made.decode() != keys.made:
                await self._make_again(stream)

    async def _read(self, wanted: int) -> None:
        loop = asyncio.get_running_loop()
        try:
            # First of all, since these are older than all that the group has not read.
            await self._lost_reads.take_up()
            if self._deliveries:
                return
            self._lost_reads.asked_at = loop.time()
            if self._link.client_id is None:
                # So that it can be woken from the first read on.
                await self._link.exchange([("PING",)], BLOCK + 2)
                if self.membership.is_leaving or self._deliveries:
                    return
            reply = await self._ask(wanted)
            if isinstance(reply, ReplyError):
                await self._after_refusal(reply)
                return
        except FAILURES as e:
            if isinstance(e, LinkBroken):
                self._lost_reads.note()
            await self._pause(e)
            return
        except asyncio.CancelledError:
            self._lost_reads.note()
            raise
        self._reading.clear()
        if not self._left_out:
            self.trouble = ""
        for source_bytes, entries in reply or ():
            source = source_bytes.decode()
            for entry_bytes, fields in entries:
                delivery = self._deliveries.receive(source, entry_bytes.decode(), fields or ())
                if delivery is not None:
                    self._deliveries.waiting.append(delivery)
            if entries and source in self.membership.keys:
                self.membership.last_seen[source] = entries[-1][0].decode()

    async def _ask(self, wanted: int) -> Any:
        """Return entries that are there, else those that come; Redis counts for each stream by itself."""
        membership = self.membership
        read = ("XREADGROUP", "GROUP", membership.group, membership.consumer, "COUNT")
        if asyncio.get_running_loop().time() >= self._look_again:
            self._look_again = math.inf
            await self._leave_out_what_is_no_stream()
        sources = [source for source in membership.sources if source not in self._left_out]
        # All at once might give several times as many events as there are free slots.
        for _ in sources if wanted < len(sources) else ():
            self._turn = (self._turn + 1) % len(sources)
            source = sources[self._turn]
            (reply,) = await self._link.exchange([(*read, wanted, "STREAMS", source, ">")], BLOCK + 2)
            if reply or membership.is_leaving or self._deliveries:
                return reply
        count = max(1, wanted // len(membership.keys))
        block = ("BLOCK", int(BLOCK * 1000), "STREAMS", *sources, *(">" for _ in sources))
        (reply,) = await self._link.exchange([(*read, count, *block)], BLOCK + 2)
        return reply

    async def _leave_out_what_is_no_stream(self) -> None:
        """Read the other streams if the key of one holds something else; look at that one again later."""
        sources = list(self.membership.sources)
        types = await self._pipe.send_many([("TYPE", source) for source in sources])
        wrong = [s for s, t in zip(sources, types, strict=True) if t not in (b"stream", b"none")]
        self._left_out = wrong if len(wrong) < len(sources) else []
        if self._left_out:
            self._look_again = asyncio.get_running_loop().time() + BLOCK

    async def _look_regularly(self) -> None:
        """Move retries that are due, also those that dead processes have postponed; look after the group."""
        membership = self.membership
        while True:
            try:
                for stream in membership.keys:
                    await self._settling.promote(stream)
                await membership.note_progress()
                await self.notice_remade()
                await membership.notice_gone()
            except FAILURES as e:
                logger.debug("noting the progress of %s: %s", membership.group, e)
            await membership.pause()

    async def _make_again(self, stream: str) -> None:
        """Make the group from the last id seen, never at the end, and let it hold all that is held here."""
        keys = self.membership.keys[stream]
        made = await self.membership.make(stream, "0")
        # The entries that run here were read by the old group, and must stay possible to retry.
        for source in (stream, keys.retry):
            await self._leases.adopt(source, self._settling.finishing(source))
        # Last: until it is held again, an entry is not pending in the new group, and scripts settle it only
        # by the old number.
        keys.made = made

    async def _excuse(self) -> None:
        try:
            for source in self.membership.sources:
                await self._leases.excuse(source, self._settling.finishing(source))
        except FAILURES as e:
            logger.debug("excusing what runs as %s: %s", self.membership.group, e)

    async def _after_refusal(self, error: ReplyError) -> None:
        if error.reaction is Reaction.IGNORE:
            return
        if error.code == "WRONGTYPE":
            self._look_again = 0.0
        if error.reaction is not Reaction.MAKE_GROUP:
            await self._pause(error)
            return
        group = self.membership.group
        logger.error(
            "the group %s or its stream is gone from Redis, and with it all events not yet handled: %s; "
            "it is made again",
            group,
            error,
        )
        self.membership.metrics.data_losses.add(group)
        # Before the group is made: it goes on after the last id that is noted here.
        await self.membership.note_progress()
        for stream in self.membership.keys:
            await self._make_again(stream)

    async def _pause(self, error: Exception) -> None:
        self.trouble = str(error)
        wait = self._reading.failed(error)
        if not self.membership.is_leaving:
            await asyncio.sleep(wait)
