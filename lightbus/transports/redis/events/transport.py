"""Events over Redis streams: fired into them, read from them, asked of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any, ClassVar

from lightbus.declared.settings import Identity
from lightbus.exceptions import LightbusException
from lightbus.messages import EventMessage
from lightbus.transports.events import (
    DeadLetter,
    DeadPlace,
    EventConsumer,
    EventTransport,
    GroupStatus,
    LetterId,
    Outgoing,
    Standing,
    StreamStatus,
    Subscription,
)
from lightbus.transports.groups import HandBack, Move, Seek
from lightbus.transports.port import Use
from lightbus.transports.redis.base import RedisTransport
from lightbus.transports.redis.custom_codec import event_codec
from lightbus.transports.redis.link.connection import unavailable
from lightbus.transports.redis.link.permissions import Need
from lightbus.transports.redis.options import RedisEventOptions

from .consumer import RedisEventConsumer
from .membership import Membership
from .publishing import Publishing, append
from .questions import changes, dead_letters, hand_back, history
from .questions.noted import search
from .questions.standing import standings
from .questions.status import attempts, group_status, look_at
from .streams import Streams
from .suspects import Suspects


class RedisEventTransport(RedisTransport, EventTransport):
    """Fires events by ``XADD`` and receives them by consumer groups.

    Args:
        options: How to reach Redis, and how streams and leases are kept.
    """

    options: ClassVar[type | None] = RedisEventOptions

    def __init__(self, options: RedisEventOptions | None = None) -> None:
        self._options = options or RedisEventOptions()
        super().__init__(self._options)
        self._codec = event_codec(self._options)
        self._streams = Streams(self, self._options)

    def encode(self, message: EventMessage) -> list[Any]:
        """Return the fields of the event's entry."""
        return self._codec.encode(message)

    @property
    def _replicas(self) -> int:
        """The number of replicas that must have an event before it counts as fired."""
        return self._options.replicas_before_confirmed

    async def open(self) -> None:
        """Connect, also for events that replicas must have."""
        await super().open()
        if self._streams.promise is not None:
            await self._streams.pipe.open()

    async def publish_each(self, events: Sequence[Outgoing], timeout: float) -> None:
        """Store events, in order; search for those that have lost their confirmation."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        sent = None
        if len(events) == 1:  # As they mostly are: by the shortest way, as long as nothing goes wrong.
            event = events[0]
            message = event.message
            stream = self._streams.of(message)
            trimmer = stream.trimmer
            if trimmer is None or not trimmer.is_full:
                if trimmer is not None:
                    trimmer.note_added()
                sent = append(stream, message.id, event.body, event.dedupe)
                due = stream.pipe.deadlines.add(sent, deadline, timeout)
                try:
                    stream.confirmed = message.native_id = (await sent).decode()
                    return
                except (LightbusException, TimeoutError):
                    pass  # The outcome is looked at again below.
                finally:
                    due.discard(sent)
        await Publishing(self._streams, events, timeout, deadline).run(sent)

    async def consume(self, subscription: Subscription, identity: Identity) -> EventConsumer:
        """Join the listener's group on each of its streams, making those that are not there."""
        name, known = subscription.listener_name, subscription.known_events
        dedupes, former = subscription.dedupe is not None, subscription.renamed_from
        uses = [
            Use("listens", api, (event, *known.get(api, ())), name, identity.service_name, dedupes, former)
            for api, event in subscription.events
        ]
        for use in uses:
            self.know(str(use), self._needs(use))
        session, streams = self.session, self._streams.keys(uses)
        if former:
            service = self._options.service_name or identity.service_name
            old, new = f"{service}-{former}", f"{service}-{name}"
            await changes.take_over(self.pipe, streams, old, new, remembers=dedupes)
        membership = Membership(
            session, self._options, subscription, identity, streams, self.metrics, self.obstacles
        )
        suspects = Suspects.of(session)
        consumer = RedisEventConsumer(session, membership, subscription, self._codec.decode, suspects)
        await consumer.join()
        return consumer

    def list_dead(self) -> AsyncIterator[DeadLetter]:
        """Go through the dead letters of every group in this Redis."""
        return dead_letters.walk(self.pipe, self._codec.decode)

    async def dead_places(self) -> Sequence[DeadPlace]:
        """Return the keys that have dead letters."""
        return await dead_letters.places(self.pipe)

    async def dead_before(self, place: str, before: LetterId | None, count: int) -> Sequence[DeadLetter]:
        """Return dead letters of a key, the newest first."""
        return await dead_letters.before(self.pipe, self._codec.decode, place, before, count)

    async def replay(self, letter: DeadLetter, edited: EventMessage | None = None) -> bool:
        """Hand a dead letter to its group again."""
        fields = self._codec.encode(edited) if edited is not None else ()
        return await dead_letters.replay(self.pipe, letter, fields)

    async def drop(self, letter: DeadLetter) -> bool:
        """Delete a dead letter."""
        return await dead_letters.drop(self.pipe, letter)

    def history(
        self,
        api: str = "*",
        event: str = "*",
        *,
        since: float | None = None,
        native_id: str | None = None,
        until: str | None = None,
    ) -> AsyncIterator[EventMessage]:
        """Go through the events of the streams, the newest first."""
        oldest = "-" if since is None else f"{int(max(0.0, since) * 1000)}-0"
        bounds = (until or "+", oldest) if native_id is None else (native_id, native_id)
        return history.past(self.pipe, self._codec.decode, api, event, *bounds)

    def follow(
        self, api: str = "*", event: str = "*", *, since: float | None = None
    ) -> AsyncIterator[EventMessage]:
        """Go through the events that are added to the streams."""
        return history.coming(self.session, self._codec.decode, api, event, since)

    async def group_status(self, events: Sequence[tuple[str, str]] | None = None) -> Sequence[GroupStatus]:
        """Ask the streams of some events about their groups, or every stream of this Redis."""
        if events is None:
            return await group_status(self.pipe)  # Others may have set its length.
        uses = [Use("fires", api_name, (name,)) for api_name, name in events]
        return await group_status(self.pipe, self._streams.keys(uses), limit=self._options.max_stream_length)

    async def look_at(self, events: Sequence[tuple[str, str]]) -> Sequence[StreamStatus]:
        """Ask the streams of some events about their lengths and groups."""
        return await look_at(self.pipe, self._streams.carried(events), self._options.max_stream_length)

    async def attempts(self, status: GroupStatus, most: int) -> Sequence[int]:
        """Ask how often the events of a group were tried that wait for another attempt."""
        return await attempts(self.pipe, status, most)

    async def standings(self, message: EventMessage) -> Sequence[Standing]:
        """Look for an event in all that is kept for each group of its stream."""
        return await standings(self.pipe, self._codec.decode, message)

    async def remove_group(self, status: GroupStatus) -> None:
        """Remove a group of one stream."""
        await changes.remove(self.pipe, status)

    async def plan_move(self, status: GroupStatus, heir: str) -> Move:
        """Look what a move would do."""
        return await changes.plan_move(self.pipe, status, heir)

    async def move_group(self, status: GroupStatus, heir: str) -> None:
        """Let another group take the place of a group of one stream."""
        await changes.move(self.pipe, status.stream, status.group, heir)

    async def plan_seek(self, status: GroupStatus, to: str) -> Seek:
        """Look what it would do to read on from another place."""
        return await changes.plan_seek(self.pipe, status, to)

    async def seek_group(self, seek: Seek) -> None:
        """Let a group of one stream read on from another place."""
        await changes.seek(self.pipe, seek)

    async def plan_hand_back(self, status: GroupStatus, *, letters: bool) -> HandBack:
        """Look what would be handed back."""
        return await hand_back.plan_hand_back(self.pipe, status, letters=letters)

    async def hand_back_group(self, status: GroupStatus, *, letters: bool) -> HandBack:
        """Put what waits for another attempt where a Lightbus 1.x finds it."""
        return await hand_back.hand_back(self.pipe, status, letters=letters)

    async def find_streams(self) -> None:
        """Search this Redis as a whole."""
        with unavailable("streams can't be searched for"):
            await search(self.pipe)

    async def close(self) -> None:
        """Stop trimming and searching, and give the connection back."""
        try:
            await self._streams.close()
        finally:
            await super().close()

    def _needs(self, use: Use) -> Iterable[Need]:
        return self._streams.needs(use)

    def _keys(self, uses: Sequence[Use]) -> dict[str, str]:
        return dict.fromkeys(self._streams.keys(uses), "stream")
