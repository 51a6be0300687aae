"""Events that Redis has given to this process by a reply that was lost with the link."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING, Any

from lightbus.transports.redis.link.connection import Link
from lightbus.transports.redis.link.refusals import Reaction, ReplyError
from lightbus.transports.redis.scripts import REREAD

if TYPE_CHECKING:
    from .consumer import RedisEventConsumer

logger = logging.getLogger(__name__)

_PAGE = 100
#: Seconds by which an entry may have been given before the command that gave it was sent, as clocks run.
_MARGIN = 1.0


class LostReads:
    """What one consumer holds by the word of Redis, and knows nothing of.

    Nothing but its lease would bring such an event back, since its process lives; and then it would count as
    one that has ended a process.

    Args:
        consumer: The consumer.
        link: The connection that it reads over.
    """

    def __init__(self, consumer: RedisEventConsumer, link: Link) -> None:
        self._consumer = consumer
        self._link = link
        self._since: float | None = None

    def note(self, since: float) -> None:
        """A link broke over which events were asked for, first at this time by the event loop's clock."""
        self._since = since if self._since is None else min(self._since, since)

    async def take_up(self) -> None:
        """Offer to the consumer what lost replies have given to it.

        Raises:
            LinkBroken, ReplyError, TransportUnavailable: That can't be asked just now, and is next time.
        """
        since = self._since
        if since is None:
            return
        # What still waits to be read there would give events to nobody.
        self._consumer.pipe.end_remains(self._link)
        for source in self._consumer.sources:
            try:
                await self._take_up(source, since)
            except ReplyError as e:
                if e.reaction not in (Reaction.MAKE_GROUP, Reaction.GIVE_UP):
                    raise
        self._since = None

    async def _take_up(self, source: str, since: float) -> None:
        consumer, loop = self._consumer, asyncio.get_running_loop()
        about = consumer.group, consumer.name
        start = "-"
        while True:
            # Over the pipe, so that all that was acknowledged before is no longer pending.
            pending = await consumer.pipe.send("XPENDING", source, about[0], start, "+", _PAGE, about[1])
            # What is older was held by a process of the same name before this one, which is no longer there.
            oldest = (loop.time() - since + _MARGIN) * 1000
            ids = [entry_id.decode() for entry_id, _, idle, _ in pending if idle <= oldest]
            lost = [entry_id for entry_id in ids if not consumer.leases.holds(source, entry_id)]
            if lost:
                for entry in await consumer.pipe.run(REREAD, [source], [*about, *lost]):
                    self._receive(source, *entry)
            if len(pending) < _PAGE:
                return
            start = f"({pending[-1][0].decode()}"

    def _receive(self, source: str, entry_id: bytes, fields: list[Any], delivered: int) -> None:
        consumer, name = self._consumer, entry_id.decode()
        if consumer.leases.holds(source, name):
            return
        if delivered > 1:
            # It was claimed from a dead process, and may have ended it.
            if not consumer.stopping:
                rerun = partial(consumer.leases.rerun, source, name, fields, delivered)
                consumer.settling.spawn(rerun, "what a dead process has left does not run")
            return
        delivery = consumer.receive(source, name, fields)
        if delivery is not None:
            logger.debug("%s was read again, since the reply that brought it was lost", name)
            consumer.offer(delivery)
