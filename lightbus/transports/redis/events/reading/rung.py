"""Reading a consumer group of a cluster over the shared connections, whenever a bell was rung."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from itertools import islice
from typing import Any

from lightbus.exceptions import TransportUnavailable
from lightbus.runtime.retrying import Retrying
from lightbus.transports.redis.events.delivery import Deliveries
from lightbus.transports.redis.events.suspects import Takeover
from lightbus.transports.redis.link.cluster.bells import Bells
from lightbus.transports.redis.link.connection import FAILURES, LinkBroken
from lightbus.transports.redis.link.refusals import Reaction, ReplyError
from lightbus.transports.redis.link.rounds import PATIENCE

from .lost_reads import LostReads
from .reader import note_gone, receive

logger = logging.getLogger(__name__)

#: Seconds after which a read that is not answered takes no room of others any more: its node may be away.
_PATIENCE = 0.5
#: The most seconds by which entries may have been given to this process before a lost reply is noticed.
_LOST_WITHIN = 10.0
#: The most seconds for which reads that are under way are waited for at the end.
_AT_THE_END = 2.0


class RungReaders:
    """Reads the sources of one consumer that have something, and no more than is wanted of all together.

    Args:
        bells: The bells.
        deliveries: Takes what is read.
        takeover: Runs events that dead processes have left.
        make_again: Makes the group of a stream again.
        may_read: Tells whether what is read could be finished.
    """

    def __init__(
        self,
        bells: Bells,
        deliveries: Deliveries,
        takeover: Takeover,
        make_again: Callable[[str], Awaitable[None]],
        may_read: Callable[[], bool],
    ) -> None:
        self._bells = bells
        self._deliveries, self._takeover = deliveries, takeover
        self._membership = membership = deliveries.settling.membership
        self._make_again, self._may_read = make_again, may_read
        deliveries.wake = self.wake
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        #: How many events are wanted; none while nobody waits for them.
        self._wanted = 0
        #: The sources that may have something, the one that has waited for the longest time first.
        self._rung: dict[str, None] = {}
        #: The reads that are under way, each with the time of its beginning and how much it may bring.
        self._asked: dict[str, tuple[asyncio.Future[Any], float, int]] = {}
        self._has_come = asyncio.Event()
        self._again: asyncio.TimerHandle | None = None
        self._later: dict[str, asyncio.TimerHandle] = {}
        self._failing: dict[str, Retrying] = {}
        self._lost: dict[str, LostReads] = {}
        self._is_taking_up = False
        self._making: set[str] = set()
        self._hearing = [(stream, partial(self._note_ring, stream)) for stream in membership.keys]
        #: A call that tells of a new trouble.
        self.note_trouble: Callable[[], None] = lambda: None

    @property
    def trouble(self) -> str:
        """The reason why some streams are not read; empty while all are."""
        return next((failing.trouble for failing in self._failing.values() if failing.trouble), "")

    def start(self) -> None:
        """Begin to hear."""
        for stream, on_ring in self._hearing:
            self._bells.hear(stream, on_ring)

    async def read(self, wanted: int) -> None:
        """Read until something has come, or is to be done first."""
        if self._deliveries or self._membership.is_leaving:
            return
        self.note_trouble()
        self._wanted = wanted
        self._has_come.clear()
        self._ask()
        try:
            await self._has_come.wait()
        finally:
            self._wanted = 0

    def wake(self) -> None:
        """End a reading, since something has come, or is to be done first."""
        self._has_come.set()

    def interrupt(self) -> None:
        """Read nothing more, and take back reads that still wait for a connection."""
        self.wake()
        for future, _, _ in list(self._asked.values()):
            if self._membership.pipe.is_unsent(future):
                future.cancel()

    def note_lost(self) -> None:
        """Look for events that were given to this process by a reply which did not come."""
        for source in self._membership.sources:
            self._note_lost(source, max(self._began, self._loop.time() - _LOST_WITHIN))

    async def take_up_lost(self) -> None:
        """Offer the events of lost replies to the worker; a node that is away keeps no others waiting.

        Raises:
            LinkBroken, ReplyError, TransportUnavailable: Some can't be asked about just now.
        """
        asked = list(self._lost.items())
        outcomes = await asyncio.gather(*(_look_for(*each) for each in asked), return_exceptions=True)
        for source, lost in asked:
            if not lost.is_noted:
                self._lost.pop(source, None)
        for outcome in outcomes:
            if outcome is not None:
                raise outcome

    async def end_tasks(self) -> None:
        """Hear nothing any more."""
        for stream, on_ring in self._hearing:
            self._bells.unhear(stream, on_ring)
        for timer in (*self._later.values(), *((self._again,) if self._again is not None else ())):
            timer.cancel()

    async def close(self) -> None:
        """Wait for reads that are under way: what they bring is to be handed back."""
        self.interrupt()
        under_way = [future for future, _, _ in self._asked.values()]
        if under_way:
            await asyncio.wait(under_way, timeout=_AT_THE_END)

    def _note_ring(self, stream: str, group: str | None) -> None:
        """Look at a stream; where the ring is for this group alone, or may be, also at its retry stream."""
        if group is None or group == self._membership.group:
            self._rung.setdefault(self._membership.keys[stream].retry)
        elif group:
            return  # It has come for others.
        self._rung.setdefault(stream)
        self._ask()

    def _ask(self) -> None:
        """Read of sources that may have something, so much that all together bring no more than is wanted."""
        membership = self._membership
        if not self._wanted or not self._rung or membership.is_leaving:
            return
        if not self._may_read():
            self.wake()
            return
        now = self._loop.time()
        recent = (most for _, since, most in self._asked.values() if since > now - _PATIENCE)
        room = self._wanted - len(self._deliveries) - sum(recent)
        sources = list(islice((source for source in self._rung if source not in self._asked), max(0, room)))
        for source in sources:
            del self._rung[source]
            self._ask_one(source, room // len(sources), now)
        if self._rung and self._again is None:
            self._again = self._loop.call_later(_PATIENCE, self._ask_again)

    def _ask_again(self) -> None:
        self._again = None
        self._ask()

    def _ask_one(self, source: str, most: int, now: float) -> None:
        group, consumer = self._membership.group, self._membership.consumer
        read = ("XREADGROUP", "GROUP", group, consumer, "COUNT", most, "STREAMS", source, ">")
        future = self._membership.pipe.send(*read)
        self._asked[source] = future, now, most
        future.add_done_callback(partial(self._note_reply, source))

    def _note_reply(self, source: str, future: asyncio.Future[Any]) -> None:
        _, since, most = self._asked.pop(source)
        if future.cancelled():
            self._rung.setdefault(source)
            return
        error = future.exception()
        if error is not None:
            self._note_failure(source, error, since)
        else:
            if self._failing:
                self._note_success(source)
            entries = reply[0][1] if (reply := future.result()) else ()
            receive(self._deliveries, source, entries)
            if len(entries) >= most:
                self._rung.setdefault(source)
        if not self._deliveries:
            self._ask()
        elif self._membership.is_leaving:
            # They came when all others had been handed back already.
            self._deliveries.settling.spawn(self._deliveries.hand_back, "events are not handed back")
        else:
            self.wake()

    def _note_failure(self, source: str, error: BaseException, since: float) -> None:
        """Read a source again later that can't be read, after what is wrong with it was mended."""
        membership, failing = self._membership, self._failing.get(source)
        if not isinstance(error, FAILURES) or membership.pipe.is_closed:
            return  # At the end of the bus.
        if isinstance(error, LinkBroken):
            self._note_lost(source, since)
        if isinstance(error, ReplyError) and error.reaction is Reaction.MAKE_GROUP:
            stream = membership.sources[source]
            if stream not in self._making:
                self._making.add(stream)
                self._deliveries.settling.spawn(
                    partial(self._mend, stream, error), "a group is not made again"
                )
            return
        if failing is None:
            longest = membership.options.consumption_restart_delay
            failing = self._failing[source] = Retrying(logger, f"reading {source}", longest=longest)
        wait = failing.failed(error, is_told=not isinstance(error, ReplyError))
        self.note_trouble()
        if not membership.is_leaving:
            self._later[source] = self._loop.call_later(wait, self._ring, source)

    def _note_success(self, source: str) -> None:
        failing = self._failing.pop(source, None)
        if failing is not None:
            failing.clear()
            self.note_trouble()

    def _ring(self, source: str) -> None:
        self._later.pop(source, None)
        self._rung.setdefault(source)
        self._ask()

    async def _mend(self, stream: str, error: ReplyError) -> None:
        """Make the group of a stream again that is gone, and read it."""
        try:
            await note_gone(self._membership, [stream], error, self._make_again)
        except FAILURES as e:
            logger.debug("the group %s is not made again yet: %s", self._membership.group, e)
        finally:
            self._making.discard(stream)
        self._note_ring(stream, None)

    def _note_lost(self, source: str, since: float) -> None:
        lost = self._lost.get(source)
        if lost is None:
            lost = self._lost[source] = LostReads(self._deliveries, self._takeover, None, [source])
            lost.asked_at = since
        lost.note()
        if not self._is_taking_up and not self._membership.is_leaving:
            self._is_taking_up = True
            self._deliveries.settling.spawn(self._take_up, "events of lost replies are left to their leases")

    async def _take_up(self) -> None:
        """Look for events of lost replies, until that has worked."""
        looking = Retrying(logger, f"looking for lost events of {self._membership.group}")
        try:
            while self._lost and not self._membership.is_leaving:
                try:
                    await self.take_up_lost()
                except FAILURES as e:
                    await looking.wait(e, is_told=True)
        finally:
            self._is_taking_up = False


async def _look_for(source: str, lost: LostReads) -> None:
    try:
        async with asyncio.timeout(PATIENCE):
            await lost.take_up()
    except TimeoutError:
        raise TransportUnavailable(f"Redis says nothing of {source}") from None
