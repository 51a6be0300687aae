"""The listener's side of events: reading a consumer group, and all that goes on beside that."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Sequence

from lightbus.exceptions import TransportUnavailable
from lightbus.runtime.tasks import Kept
from lightbus.transports.events import Delivery, EventConsumer, GroupStatus, Subscription
from lightbus.transports.redis.custom_codec import Decode
from lightbus.transports.redis.link.connection import BLOCK, FAILURES, WAKE_AGAIN, Link, unavailable
from lightbus.transports.redis.link.permissions import LACKING
from lightbus.transports.redis.link.refusals import ReplyError
from lightbus.transports.redis.link.session import Session

from .delivery import Deliveries
from .leases import Leases
from .membership import ByTurns, Membership
from .questions.notes import QUESTIONS, asks_notes, notes_of
from .questions.status import group_status
from .reading.reader import Reader
from .reading.readers import Readers
from .reading.rung import RungReaders
from .reading.turns import Turns
from .settling import Settling
from .suspects import Suspects, Takeover

logger = logging.getLogger(__name__)

#: The most seconds for each of the last questions.
_AT_THE_END = 2.0
#: Seconds after which looking after a group is left to the next time.
_PATIENCE = 5.0


class RedisEventConsumer(EventConsumer):
    """Reads the streams of one listener for one process.

    Args:
        session: The Redis.
        membership: The group that is read, and as whom.
        subscription: The events that the listener wants.
        decode: Makes an event of an entry's fields.
        suspects: The events of dead processes that run here.
    """

    def __init__(
        self,
        session: Session,
        membership: Membership,
        subscription: Subscription,
        decode: Decode,
        suspects: Suspects,
    ) -> None:
        self.membership = membership
        self.obstacles = membership.obstacles
        self.longest_delay = subscription.longest_delay
        self._subscription = subscription
        self._pipe = membership.pipe
        self._permissions = session.permissions
        self._purpose = f"listen as {subscription.listener_name}"
        self._leases = Leases(membership)
        self._settling = Settling(
            membership, self._leases, subscription.dedupe, longest_delay=lambda: self.longest_delay
        )
        self._deliveries = Deliveries(self._settling, subscription, decode)
        self._takeover = Takeover(
            self._deliveries, suspects, lambda: self.max_deaths, on_lost_reply=self.note_lost_reply
        )
        self._session = session
        self._readers: Readers | RungReaders = self._make_readers(session)
        self._kept: list[Kept] = []
        #: The streams of which nothing is held here.
        self._others = ByTurns()

    @property
    def links(self) -> list[Link]:
        """The connections over which it reads."""
        return [reader.link for reader in self._readers.all] if isinstance(self._readers, Readers) else []

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
        bells = await self._session.bells_for(self, self.membership.keys)
        if bells is not None:
            self._readers = RungReaders(
                bells, self._deliveries, self._takeover, self._make_again, lambda: not self._is_barred
            )
            self._readers.note_trouble = self._note_trouble
        self._kept = [
            Kept(work, f"lightbus {name} {group}", f"as {group}, {lost}", self.obstacles).start()
            for work, name, lost in (
                (self._leases.renew_regularly, "leases", "the leases of events that run are not renewed"),
                (self._look_regularly, "retries", "retries that others have postponed are not looked for"),
                (self._takeover.sweep_regularly, "sweep", "events of processes that died are not taken over"),
                (self.membership.show_regularly, "presence", "it is not shown that this process lives"),
            )
        ]
        self._readers.start()

    async def status(self) -> Sequence[GroupStatus]:
        """Ask the streams about the group."""
        return await group_status(self._pipe, list(self.membership.keys), self.membership.group)

    async def take(self, limit: int) -> Sequence[Delivery]:
        """Read the group, waiting for the first entry."""
        if self.membership.is_leaving:
            return ()
        if self._is_barred:
            self.trouble = LACKING
            await asyncio.sleep(BLOCK / 4)
            return ()
        deliveries = self._deliveries
        if not deliveries:
            page = max(self.membership.options.batch_size, self._subscription.page)
            deliveries.room.set()
            try:
                await self._settling.keep_up()
                await self._readers.read(min(limit, page))
            finally:
                deliveries.room.clear()
        return deliveries.take(limit)

    async def stop(self) -> None:
        """End a waiting read at once, and hand back the events that were fetched ahead."""
        if not self.membership.is_leaving:
            self._settling.spawn(self._excuse, "the end of this process counts against what it runs")
        self.membership.is_leaving = True
        self._readers.interrupt()
        # Once more, since the first one may overtake a read that is just on its way to Redis.
        asyncio.get_running_loop().call_later(WAKE_AGAIN, self._readers.interrupt)
        await self._deliveries.hand_back()

    async def close(self) -> None:
        """Send the last acknowledgements, and leave the group if nothing is held."""
        self.membership.is_leaving = True
        await self.end_tasks()
        # Before the search for events of lost replies: a read that is still on its way would lose more.
        await self._readers.close()
        if self._pipe.is_closed:
            return
        try:
            async with asyncio.timeout(_AT_THE_END):
                await self._readers.take_up_lost()
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
        """Read nothing, renew no leases and take nothing over any more."""
        for kept in self._kept:
            kept.end()
        for kept in self._kept:
            await kept.ended()
        await self._readers.end_tasks()

    def note_lost_reply(self) -> None:
        """Look for events that were given to this process by a reply which did not come."""
        self._readers.note_lost()

    async def notice_remade(self, some: Sequence[str] | None = None) -> None:
        """Hold the entries again that were read from a group before another process made it again.

        Args:
            some: The streams to ask about; left out, all.
        """
        group, known = self.membership.group, self.membership.keys
        streams = list(known) if some is None else some
        asked = [question for stream in streams for question in asks_notes(stream, group)]
        replies = await self._pipe.send_many(asked) if asked else []
        for refusal in replies:
            if isinstance(refusal, ReplyError):
                raise refusal
        for place, stream in enumerate(streams):
            made = notes_of(replies[QUESTIONS * place : QUESTIONS * (place + 1)]).made.decode()
            if made not in ("0", known[stream].made):
                await self._make_again(stream)

    @property
    def _is_barred(self) -> bool:
        """Whether what is read could not be finished, for want of a permission."""
        return self._purpose in self._permissions.barred

    def _make_readers(self, session: Session) -> Readers:
        """Make a reader for all streams, or on a cluster one for each of their slots."""
        readers, parts = [], session.together(self.membership.sources)
        turns = Turns() if len(parts) > 1 else None
        for sources in parts:
            link = session.link(sources[0] if sources else None)
            reader = Reader(
                link, sources, self._deliveries, self._takeover, turns, make_again=self._make_again
            )
            reader.note_trouble = self._note_trouble
            readers.append(reader)
        return Readers(readers, self._deliveries)

    def _note_trouble(self) -> None:
        self.trouble = self._readers.trouble

    async def _look_regularly(self) -> None:
        """Move retries that are due, also those that dead processes have postponed; look after the group."""
        membership = self.membership
        while True:
            # Whatever can't be asked about one stream just now, its slot having nobody, is left out.
            answering = await self._settling.promote_all()
            try:
                async with asyncio.timeout(_PATIENCE):
                    await membership.note_progress(answering)
                    await self.notice_remade(self._of_interest(answering))
                    await membership.notice_gone(answering)
            except (TimeoutError, *FAILURES) as e:
                logger.debug("looking after %s: %s", membership.group, e)
            await membership.pause()

    def _of_interest(self, streams: Collection[str]) -> Sequence[str]:
        """Return those of some streams of which events are held here, and some of the others by turns."""
        keys, holds_any = self.membership.keys, self._leases.holds_any
        held = {stream for stream in streams if holds_any(stream, keys[stream].retry)}
        return [*held, *self._others.some_of([stream for stream in streams if stream not in held])]

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
