"""One process in the consumer group of one listener: its names there, and its duties as a member."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Collection, Sequence

from lightbus.declared.metrics import Metrics
from lightbus.declared.settings import Identity
from lightbus.messages import EventMessage
from lightbus.runtime.complaints import Complaints
from lightbus.runtime.obstacles import Obstacles
from lightbus.transports.events import SILENT, Subscription
from lightbus.transports.redis.keys import GroupKeys
from lightbus.transports.redis.link.connection import FAILURES
from lightbus.transports.redis.link.denials import Denials
from lightbus.transports.redis.link.refusals import ReplyError
from lightbus.transports.redis.link.rounds import Rounds
from lightbus.transports.redis.link.session import Session
from lightbus.transports.redis.options import RedisEventOptions
from lightbus.transports.redis.scripts import FORGET, MAKE
from lightbus.transports.unserved import lost

from .questions.changes import LAST_ID
from .questions.consumers import NOBODY
from .questions.noted import note
from .questions.status import Gone, events_gone, note_surplus

logger = logging.getLogger(__name__)

#: Seconds after which a process shows again that it lives; less than the time after which it counts as gone.
_SHOWN_EVERY = SILENT / 4
#: For each of so many groups of a stream, it is looked one time less often for events that are gone.
_MANY_GROUPS = 50
#: The most streams of a group that are looked after at a time, if nothing of them is held.
_AT_ONCE = 50


class ByTurns:
    """Gives some of very many streams at a time, each in its turn.

    With 300 of them, looking after each every few seconds costs more than all else that a process does at
    rest.
    """

    def __init__(self) -> None:
        self._next = 0

    def some_of(self, streams: Collection[str]) -> list[str]:
        """Return those whose turn it is."""
        given, first = list(streams), self._next
        count = min(_AT_ONCE, len(given))
        self._next = (first + count) % max(1, len(given))
        return [given[(first + place) % len(given)] for place in range(count)]


class Membership:
    """One process in one group.

    Args:
        session: The Redis.
        options: The times of leases, among others.
        subscription: The events that the listener wants.
        identity: The process.
        streams: The streams that are read.
        metrics: Its counters.
        obstacles: Shows whatever keeps it from its work.
    """

    def __init__(
        self,
        session: Session,
        options: RedisEventOptions,
        subscription: Subscription,
        identity: Identity,
        streams: Sequence[str],
        metrics: Metrics,
        obstacles: Obstacles,
    ) -> None:
        self.pipe = session.pipe
        self.options = options
        self.metrics = metrics
        self.obstacles = obstacles
        self.listener = subscription.listener_name
        self._start = _start_id(subscription.since)
        self._service = options.service_name or identity.service_name
        self.group = f"{self._service}-{subscription.listener_name}"
        self.consumer = options.consumer_name or identity.process_name
        #: The streams that are listened to, each with its side keys.
        self.keys = {stream: GroupKeys(stream, self.group) for stream in streams}
        #: The streams that are read, each with the one it serves. Retried events come first: they are older.
        self.sources = {keys.retry: stream for stream, keys in self.keys.items()}
        self.sources.update({stream: stream for stream in streams})
        #: The last id that was read of each stream.
        self.last_seen: dict[str, str] = {}
        #: The same, as it was noted last.
        self._noted: dict[str, str] = {}
        #: How many events each stream has lost before they were read, as it was told last, and where.
        self._gone: dict[str, Gone] = {}
        #: How many times more it is not looked for events that are gone.
        self._looks_to_skip = 0
        self._looked_after = ByTurns()
        #: Whether this process is about to leave: it takes nothing more.
        self.is_leaving = False
        self.refusals = Denials(obstacles, f"the consumer group {self.group}")
        self._complaints = Complaints(logger)

    async def join(self) -> None:
        """Make the groups that are not there yet, and note their service."""
        for stream, keys in self.keys.items():
            keys.made = await self.make(stream, self._start)
        # Redis before 7.2 shows a reader only once it has read something.
        shown = [("XGROUP", "CREATECONSUMER", source, self.group, self.consumer) for source in self.sources]
        named = [("HSET", k.notes, "service", self._service) for k in self.keys.values()]
        await self.pipe.send_many(shown)
        await self.pipe.send_many(named)
        # The dead letters, too: they may be all that is left of the group one day.
        note(self.pipe, [*self.keys, *(k.dead for k in self.keys.values())])
        await self.notice_gone()

    async def make(self, stream: str, start: str) -> str:
        """Make the group of a stream if it is not there; return how often it was made."""
        keys = self.keys[stream]
        made: bytes = await self.pipe.run(
            MAKE(
                stream=stream, retry=keys.retry, notes=keys.notes, groups=keys.groups,
                group=self.group, start=start,
            )
        )  # fmt: skip
        return made.decode()

    async def leave(self) -> None:
        """Be a consumer of the group no more, if nothing is held."""
        for source in self.sources:
            await self.pipe.run(
                FORGET(source=source, group=self.group, idle=0, only=self.consumer, stays=NOBODY)
            )
        await self.note_progress()

    async def pause(self) -> None:
        """Wait until it is time to look again for events that others have left."""
        interval = self.options.reclaim_interval or self.options.acknowledgement_timeout / 4
        await asyncio.sleep(interval * random.uniform(0.75, 1.0))  # noqa: S311 - no secret

    async def show_regularly(self) -> None:
        """Let Redis before 7.2 know that this process lives: there, a reader that finds nothing is idle.

        A read of its own entries after the last possible id brings nothing, but counts.
        """
        read = ("XREADGROUP", "GROUP", self.group, self.consumer, "COUNT", 1, "STREAMS")
        reads = {source: (*read, source, LAST_ID) for source in self.sources}
        showing: Rounds[str] = Rounds(self.pipe)

        def take(_: str, reply: object) -> None:
            if isinstance(reply, Exception):
                logger.debug("showing that %s is read: %s", self.group, reply)

        while True:
            await showing.ask(reads, take)
            await asyncio.sleep(_SHOWN_EVERY)

    async def note_progress(self, streams: Collection[str] | None = None) -> None:
        """Remember how far the group has read, should it be deleted.

        Args:
            streams: Those of which it is noted only if that has changed; left out, it is noted of all.
        """
        seen = {
            stream: last
            for stream, last in self.last_seen.items()
            if streams is None or (stream in streams and self._noted.get(stream) != last)
        }
        if not seen:
            return
        noted = await self.pipe.send_many(
            [("HSET", self.keys[stream].notes, "read", last) for stream, last in seen.items()]
        )
        what = "note how far it has read"
        refusal = next((r for r in noted if isinstance(r, ReplyError)), None)
        if refusal is None:
            self._noted |= seen
            self.refusals.clear(what)
        elif refusal.code != "OOM":  # When full, reading goes on.
            self.refusals.meet(what, refusal)

    async def notice_gone(self, streams: Collection[str] | None = None) -> None:
        """Tell of events that were taken out of a stream before the group had read them.

        Redis tells of all groups of a stream at once. So where there are very many, each looks less often:
        else their looks would cost the square of their number.

        Args:
            streams: The streams of which some are looked at, by turns; left out, all are.
        """
        if self._looks_to_skip > 0:
            self._looks_to_skip -= 1
            return
        looked_at = list(self.keys) if streams is None else self._looked_after.some_of(streams)
        try:
            found, groups = await events_gone(self.pipe, looked_at, self.group)
            self._looks_to_skip = groups // _MANY_GROUPS
            for stream, gone in found.items():
                self._tell_gone(stream, gone)
                if gone.is_over and gone.number != gone.noted:
                    await note_surplus(self.pipe, stream, self.group, self.keys[stream].made, gone.number)
        except FAILURES as e:
            logger.debug("what is gone from the streams of %s: %s", self.group, e)

    def _tell_gone(self, stream: str, gone: Gone) -> None:
        told = self._gone.get(stream)
        if gone.is_exact and told is None:
            # It is not known when that was, where the group is beyond it.
            more = 0 if gone.is_over else gone.number - gone.noted
        elif gone.is_exact and told is not None:
            # Newer servers begin to count anew once the group is beyond a loss.
            more = gone.number - (told.number if gone.number >= told.number else 0)
        elif told is not None and told.place == gone.place:
            # An estimate changes all the while.
            more = gone.number - told.number if gone.number >= 2 * told.number else 0
        else:
            more = gone.number
        if more or told is None or gone.is_exact:
            self._gone[stream] = gone
        if more > 0:
            self.metrics.events_gone.add(self.group, by=more)
            logger.error("%s", lost(f"the group {self.group}", stream, more, is_exact=gone.is_exact))

    def refuse(self, source: str, reason: object) -> None:
        """Say and count that something is no event."""
        what = "an entry of %s becomes a dead letter unread: %s"
        self._complaints.tell(source, what, source, reason)
        self.metrics.messages_refused.add(source)

    def count_dead(self, message: EventMessage, reason: str) -> None:
        """Count an event that was put aside."""
        self.metrics.dead_letters.add(self.listener, message.api_name, message.event_name, reason)


def _start_id(since: str) -> str:
    """Return the id after which a new group reads."""
    if since == "new":
        return "$"
    return "0" if since == "earliest" else f"{max(0, int(float(since) * 1000) - 1)}-0"
