"""Events that Redis has given to this process by a reply that was lost with the link."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from functools import partial

from lightbus.transports.redis.events.delivery import Deliveries
from lightbus.transports.redis.events.entry import Fields
from lightbus.transports.redis.events.suspects import Takeover
from lightbus.transports.redis.link.connection import Link
from lightbus.transports.redis.link.refusals import Reaction, ReplyError
from lightbus.transports.redis.scripts import REREAD

logger = logging.getLogger(__name__)

_PAGE = 100
#: Seconds by which an entry may have been given before the command that gave it was sent, as clocks run.
_MARGIN = 1.0


class LostReads:
    """The entries of one reader that its consumer holds by the word of Redis, and knows nothing of.

    Nothing but its lease would bring such an event back, since its process lives; and then it would count as
    one that has ended a process.

    Args:
        deliveries: Has the events that wait for a free slot.
        takeover: Runs events that dead processes have left.
        link: The connection of the reader; None for the shared one, which ends its remains itself.
        sources: The streams that it reads.
    """

    def __init__(
        self, deliveries: Deliveries, takeover: Takeover, link: Link | None, sources: Sequence[str]
    ) -> None:
        self._link, self._sources = link, sources
        self._deliveries = deliveries
        self._takeover = takeover
        self._membership = deliveries.settling.membership
        self._leases = deliveries.settling.leases
        #: When events were asked for last, by the event loop's clock.
        self.asked_at = asyncio.get_running_loop().time()
        self._since: float | None = None

    def note(self) -> None:
        """A link broke over which events were asked for."""
        self._since = self.asked_at if self._since is None else min(self._since, self.asked_at)

    @property
    def is_noted(self) -> bool:
        """Whether there is something to look for."""
        return self._since is not None

    async def take_up(self) -> None:
        """Offer the events of lost replies to the worker.

        Raises:
            LinkBroken, ReplyError, TransportUnavailable: That can't be asked just now, and is next time.
        """
        since = self._since
        if since is None:
            return
        # A link that breaks meanwhile has lost more, perhaps of a stream that was asked about already.
        self._since = None
        try:
            await self._take_up_all(since)
        except BaseException:
            # If one stream can't be asked about now, all are asked about the next time.
            self._since = since
            raise

    async def _take_up_all(self, since: float) -> None:
        # A read that still waits there would give events to nobody.
        if self._link is not None:
            self._membership.pipe.end_remains(self._link)
        for source in self._sources:
            try:
                await self._take_up(source, since)
            except ReplyError as e:
                if e.reaction not in (Reaction.MAKE_GROUP, Reaction.GIVE_UP):
                    raise

    async def _take_up(self, source: str, since: float) -> None:
        membership, loop = self._membership, asyncio.get_running_loop()
        group, consumer = membership.group, membership.consumer
        start = "-"
        while True:
            # Over the pipe, so that all that was acknowledged before is no longer pending.
            pending = await membership.pipe.send("XPENDING", source, group, start, "+", _PAGE, consumer)
            # Older ones were held by a process of the same name before this one, which is no longer there.
            oldest = (loop.time() - since + _MARGIN) * 1000
            ids = [entry_id.decode() for entry_id, _, idle, _ in pending if idle <= oldest]
            lost = [entry_id for entry_id in ids if not self._leases.holds(source, entry_id)]
            if lost:
                reread = REREAD(source=source, group=group, consumer=consumer, ids=lost)
                for entry in await membership.pipe.run(reread):
                    self._receive(source, *entry)
            if len(pending) < _PAGE:
                return
            start = f"({pending[-1][0].decode()}"

    def _receive(self, source: str, entry_id: bytes, fields: Fields, delivered: int) -> None:
        name = entry_id.decode()
        # Once more, since the sweep may have claimed it while Redis answered.
        if self._leases.holds(source, name):
            return
        if delivered > 1:
            # It was claimed from a dead process, and may have ended it.
            if not self._membership.is_leaving:
                rerun = partial(self._takeover.rerun, source, name, fields, delivered)
                self._deliveries.settling.spawn(rerun, "what a dead process has left does not run")
            return
        delivery = self._deliveries.receive(source, name, fields)
        if delivery is not None:
            logger.debug("%s was read again, since the reply that brought it was lost", name)
            self._deliveries.offer(delivery)
