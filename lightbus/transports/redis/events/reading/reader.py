"""One reader of a consumer group: the streams that one command may name, over a connection of its own."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

from lightbus.runtime.retrying import Retrying
from lightbus.transports.redis.events.delivery import Deliveries
from lightbus.transports.redis.events.membership import Membership
from lightbus.transports.redis.events.suspects import Takeover
from lightbus.transports.redis.link.connection import BLOCK, FAILURES, Link, LinkBroken
from lightbus.transports.redis.link.refusals import Reaction, ReplyError

from .lost_reads import LostReads
from .turns import Turns

logger = logging.getLogger(__name__)


class Reader:
    """Reads some streams of a group, and makes deliveries of what comes.

    Args:
        link: The connection.
        sources: The streams, which one command may name.
        deliveries: Takes what is read.
        takeover: Runs events that dead processes have left.
        turns: Lets one of several readers at a time ask its streams; None for the only one.
        make_again: Makes the group of a stream again.
    """

    def __init__(
        self,
        link: Link,
        sources: Sequence[str],
        deliveries: Deliveries,
        takeover: Takeover,
        turns: Turns | None,
        make_again: Callable[[str], Awaitable[None]],
    ) -> None:
        self.link = link
        self.sources = sources
        self._deliveries = deliveries
        self._membership = membership = deliveries.settling.membership
        self._turns = turns
        self._make_again = make_again
        self.lost = LostReads(deliveries, takeover, link, sources)
        #: The source that is asked next, if one is asked after the other.
        self._turn = 0
        what, longest = f"reading events as {membership.group}", membership.options.consumption_restart_delay
        self._reading = Retrying(logger, what, longest=longest)
        #: The sources whose keys hold something else, and when to look again whether they still do.
        self._left_out: list[str] = []
        self._look_again = math.inf
        #: The reason why it reads nothing, empty while it reads; and a call that tells of a new one.
        self.trouble = ""
        self.note_trouble: Callable[[], None] = lambda: None
        #: Whether it waits for events, so that it can be woken.
        self.is_waiting = False
        #: Tells whether there is a free slot for which nothing has been read.
        self.is_wanted: Callable[[], bool] = lambda: not deliveries

    async def read(self, wanted: int) -> None:
        """Read up to about so many events that are there, else those that come within a while."""
        membership, loop = self._membership, asyncio.get_running_loop()
        try:
            # First of all, since these are older than all that the group has not read.
            await self.lost.take_up()
            if not self.is_wanted():
                return
            self.lost.asked_at = loop.time()
            if self.link.client_id is None:
                # So that it can be woken from the first read on.
                await self.link.exchange([("PING",)], BLOCK + 2)
                if membership.is_leaving or not self.is_wanted():
                    return
            reply = await self._ask(wanted)
            if isinstance(reply, ReplyError):
                await self._after_refusal(reply)
                return
        except FAILURES as e:
            if isinstance(e, LinkBroken):
                self.lost.note()
            await self._pause(e)
            return
        except asyncio.CancelledError:
            self.lost.note()
            raise
        self._reading.clear()
        if not self._left_out:
            self._note("")
        for source_bytes, entries in reply or ():
            receive(self._deliveries, source_bytes.decode(), entries)

    async def _ask(self, wanted: int) -> Any:
        """Return entries that are there, else those that come; Redis counts for each stream by itself."""
        membership = self._membership
        if asyncio.get_running_loop().time() >= self._look_again:
            self._look_again = math.inf
            await self._leave_out_what_is_no_stream()
        sources = [source for source in self.sources if source not in self._left_out]
        # All at once might give several times as many events as there are free slots.
        if wanted < len(membership.sources):
            ask = partial(self._ask_each, wanted, sources)
            reply = await (ask() if self._turns is None else self._turns.ask(self, ask))
            if reply or membership.is_leaving or not self.is_wanted():
                return reply
        count = max(1, wanted // len(membership.keys))
        self.is_waiting = True
        try:
            return await self._exchange(count, sources, "BLOCK", int(BLOCK * 1000))
        finally:
            self.is_waiting = False

    async def _ask_each(self, wanted: int, sources: Sequence[str]) -> Any:
        """Ask one source after the other, until one has something."""
        for _ in sources:
            if self._membership.is_leaving or not self.is_wanted():
                return None
            self._turn = (self._turn + 1) % len(sources)
            reply = await self._exchange(wanted, [sources[self._turn]])
            if reply:
                return reply
        return None

    async def _exchange(self, count: int, sources: Sequence[str], *block: Any) -> Any:
        group, consumer = self._membership.group, self._membership.consumer
        read = ("XREADGROUP", "GROUP", group, consumer, "COUNT", count, *block, "STREAMS", *sources)
        (reply,) = await self.link.exchange([(*read, *(">" for _ in sources))], BLOCK + 2)
        return reply

    async def _leave_out_what_is_no_stream(self) -> None:
        """Read the other streams if the key of one holds something else; look at that one again later."""
        types = await self._membership.pipe.send_many([("TYPE", source) for source in self.sources])
        wrong = [s for s, t in zip(self.sources, types, strict=True) if t not in (b"stream", b"none")]
        self._left_out = wrong if len(wrong) < len(self.sources) else []
        if self._left_out:
            self._look_again = asyncio.get_running_loop().time() + BLOCK

    async def _after_refusal(self, error: ReplyError) -> None:
        if error.reaction is Reaction.IGNORE:
            return
        if error.code == "WRONGTYPE":
            self._look_again = 0.0
        if error.reaction is not Reaction.MAKE_GROUP:
            await self._pause(error)
            return
        streams = [source for source in self.sources if source in self._membership.keys]
        await note_gone(self._membership, streams, error, self._make_again)

    async def _pause(self, error: Exception) -> None:
        self._note(str(error))
        wait = self._reading.failed(error)
        if not self._membership.is_leaving:
            await asyncio.sleep(wait)

    def _note(self, trouble: str) -> None:
        self.trouble = trouble
        self.note_trouble()


def receive(deliveries: Deliveries, source: str, entries: Sequence[Sequence[Any]]) -> None:
    """Make deliveries of entries, which wait for a free slot.

    Args:
        deliveries: Takes them.
        source: The stream that was read.
        entries: The entries, each with its id and its fields.
    """
    membership = deliveries.settling.membership
    for entry_bytes, fields in entries:
        delivery = deliveries.receive(source, entry_bytes.decode(), fields or ())
        if delivery is not None:
            deliveries.waiting.append(delivery)
    if entries and source in membership.keys:
        membership.last_seen[source] = entries[-1][0].decode()


async def note_gone(
    membership: Membership,
    streams: Sequence[str],
    error: ReplyError,
    make_again: Callable[[str], Awaitable[None]],
) -> None:
    """Tell that a group is gone, and make it again.

    Args:
        membership: The group.
        streams: Its streams.
        error: The refusal that says so.
        make_again: Makes the group of a stream again.
    """
    group = membership.group
    logger.error(
        "the group %s or its stream is gone from Redis, and with it all events not yet handled: %s; "
        "it is made again",
        group,
        error,
    )
    membership.metrics.data_losses.add(group)
    # Before the group is made: it goes on after the last id that is noted here.
    await membership.note_progress()
    for stream in streams:
        await make_again(stream)
