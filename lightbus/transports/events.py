"""The port that events travel by: firing, listening, and questions that change nothing."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lightbus.declared.policy import DeliveryPolicy
from lightbus.declared.settings import Identity
from lightbus.exceptions import LightbusException
from lightbus.messages import EventMessage
from lightbus.transports.port import Consumer, Transport

from .groups import SILENT as SILENT
from .groups import ConsumerStatus as ConsumerStatus
from .groups import GroupChanges
from .groups import GroupStatus as GroupStatus
from .groups import Held as Held
from .groups import Standing as Standing
from .groups import StreamStatus as StreamStatus
from .merging import LetterId as LetterId


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An event that was put aside.

    Args:
        id: Names it among those of its listener's group.
        group: The group of its listener: ``{service_name}-{listener_name}``.
        message: The event; without a name where it can't be read.
        reason: ``failed``, ``invalid``, ``invalid_message`` or ``process_died``.
        error: The ``repr()`` of the handler's last error, if it raised.
        trace: That error's traceback.
        attempts: How often its handler was started.
        died_at: When it was put aside, in Unix time.
        place: The place where the transport keeps it.
    """

    id: str
    group: str
    message: EventMessage
    reason: str
    error: str
    trace: str
    attempts: int
    died_at: float
    place: str = ""


@dataclass(frozen=True, slots=True)
class DeadPlace:
    """A place where a transport keeps dead letters of one group.

    Args:
        place: The place, as :attr:`DeadLetter.place` has it.
        group: The group.
        count: How many are there.
    """

    place: str
    group: str
    count: int


class EventQuestions(ABC):
    """The questions to a transport of events."""

    @abstractmethod
    def history(
        self,
        api: str = "*",
        event: str = "*",
        *,
        since: float | None = None,
        native_id: str | None = None,
        until: str | None = None,
    ) -> AsyncIterator[EventMessage]:
        """Go through the events that the broker still has, the newest first; no listener notices.

        Args:
            api: The APIs to look at; ``*`` stands for anything.
            event: The events, likewise; others of the same APIs may come, too.
            since: The Unix time of the oldest.
            native_id: The broker's id of the only one.
            until: The broker's id of the newest.

        Raises:
            TransportUnavailable: The broker can't be reached.
        """

    @abstractmethod
    def follow(
        self, api: str = "*", event: str = "*", *, since: float | None = None
    ) -> AsyncIterator[EventMessage]:
        """Go through the events that come from now on, or from a time on, for ever; no listener notices.

        Raises:
            TransportUnavailable: The broker can't be reached at the start.
        """

    @abstractmethod
    async def group_status(self, events: Sequence[tuple[str, str]] | None = None) -> Sequence[GroupStatus]:
        """Tell how far each group is with each of its streams, whatever its service.

        Args:
            events: Only on the streams of these events, as pairs of API and event name; ``*`` where the names
                are not known. Every stream if not given.

        Raises:
            TransportUnavailable: The broker can't be reached.
        """

    async def look_at(self, events: Sequence[tuple[str, str]]) -> Sequence[StreamStatus]:
        """Tell of the streams of some events, by commands that only read: some counts may be estimates.

        Args:
            events: Pairs of API and event name; ``*`` where the names are not known.

        Raises:
            TransportUnavailable: The broker can't be reached.
        """
        groups = await self.group_status(events)
        names = dict.fromkeys(each.stream for each in groups)
        return [StreamStatus(n, tuple(events), 0, tuple(g for g in groups if g.stream == n)) for n in names]

    async def attempts(self, status: GroupStatus, most: int) -> Sequence[int]:
        """Return how often each event was tried that waits for another attempt, of up to so many.

        Raises:
            TransportUnavailable: The broker can't be reached.
        """
        return ()

    async def standings(self, message: EventMessage) -> Sequence[Standing]:
        """Tell where an event is for each group that reads its stream; nothing where that can't be told.

        Args:
            message: The event, with its ``native_id``.

        Raises:
            TransportUnavailable: The broker can't be reached.
        """
        return ()

    async def find_streams(self) -> None:  # noqa: B027
        """Search all that the broker has for streams that nobody has noted, for the questions that follow.

        Raises:
            TransportUnavailable: The broker can't be reached.
        """


class DeadLetters(ABC):
    """Dead letters: found, read by pages, handed to their group again, deleted."""

    @abstractmethod
    def list_dead(self) -> AsyncIterator[DeadLetter]:
        """Go through the dead letters of every group, whatever its service: the oldest of each first.

        Raises:
            TransportUnavailable: The broker can't be reached.
        """

    @abstractmethod
    async def dead_places(self) -> Sequence[DeadPlace]:
        """Return the places that have any, in the order of their names; none of the letters is read.

        Raises:
            TransportUnavailable: The broker can't be reached.
        """

    @abstractmethod
    async def dead_before(self, place: str, before: LetterId | None, count: int) -> Sequence[DeadLetter]:
        """Return dead letters of a place, the newest first.

        Args:
            place: The place.
            before: Only those older than this one; None for the newest.
            count: How many at most. Fewer come only where there are no more.

        Raises:
            TransportUnavailable: The broker can't be reached.
        """

    @abstractmethod
    async def replay(self, letter: DeadLetter, edited: EventMessage | None = None) -> bool:
        """Hand a dead letter to its group again, and to no other one; its attempts count from the start.

        Args:
            letter: The letter.
            edited: The event that the group gets in its place; the letter's own if left out.

        Returns:
            Whether it was still there.

        Raises:
            InvalidMessage: The edited event can't travel.
            TransportUnavailable: The broker can't be reached.
        """

    @abstractmethod
    async def drop(self, letter: DeadLetter) -> bool:
        """Delete a dead letter for good.

        Returns:
            Whether it was still there.

        Raises:
            TransportUnavailable: The broker can't be reached.
        """


@dataclass(frozen=True, slots=True)
class Subscription:
    """The events that one listener wants.

    Args:
        listener_name: Names the consumer group, together with the service.
        events: Pairs of API and event name; ``*`` as event stands for all of an API's.
        known_events: The event names of each API asked for with ``*``, where they are known.
        since: ``new``, ``earliest`` or a Unix time in seconds as text; read when the group is first made.
        dedupe: Seconds for which the ids of acknowledged events are remembered; None for not at all.
        page: How many events are wanted at a time, if it is more than the transport reads by itself.
        longest_delay: The most seconds for which an event ever waits for another attempt.
        renamed_from: The name that the listener had before, whose group it takes over; empty for none.
    """

    listener_name: str
    events: tuple[tuple[str, str], ...]
    known_events: Mapping[str, tuple[str, ...]]
    since: str = "new"
    dedupe: float | None = None
    page: int = 1
    longest_delay: float = float("inf")
    renamed_from: str = ""

    def wants(self, api_name: str, event_name: str) -> bool:
        """Tell whether an event is one of those asked for."""
        return (api_name, event_name) in self.events or (api_name, "*") in self.events


@dataclass(slots=True, eq=False)
class Outgoing:
    """An event on its way to the broker, and its outcome.

    Args:
        message: The event; once it is stored, it has its ``native_id``.
        body: The event as :meth:`EventTransport.encode` has made it.
        dedupe: Seconds for which the same id is stored only once; None for no such memory.
        key: With ``dedupe``, it is stored only after the event of this key before it in the list, if both go
            into one stream; empty for no such order.
        error: Why it is not stored, or may not be; ``TransportUnavailable`` and ``StreamFull`` where it is
            known not to be.
    """

    message: EventMessage
    body: Any
    dedupe: float | None = None
    error: LightbusException | None = None
    key: str = ""


class Delivery(ABC):
    """A message that carries its own fate: exactly one of the four verbs is called, once.

    Attributes:
        message: The event.
        attempt: How often its handler was started, this time included; counts from 1.
    """

    __slots__ = ("attempt", "message")

    def __init__(self, message: EventMessage, attempt: int) -> None:
        self.message = message
        self.attempt = attempt

    @property
    def is_suspect(self) -> bool:
        """Whether the process that had it before has died, maybe of it: it is handled apart from others."""
        return False

    @abstractmethod
    def reread(self) -> None:
        """Have the message again as it arrived, whatever a handler has done to it."""

    @abstractmethod
    def ack(self) -> None:
        """It is done. Acknowledgements are sent in batches and repeated until the broker has them."""

    @abstractmethod
    async def was_handled(self) -> bool:
        """Tell whether its group has acknowledged an event of its id within ``Subscription.dedupe``."""

    @abstractmethod
    async def retry(self, delay: float, error: BaseException) -> None:
        """Deliver it again to this listener after ``delay`` seconds; the attempt is counted."""

    @abstractmethod
    async def dead_letter(self, reason: str, error: BaseException | None) -> None:
        """Put it aside for people to look at; this listener sees it no more."""

    @abstractmethod
    async def release(self) -> None:
        """It was not started: hand it back at once, without counting an attempt."""


class EventConsumer(Consumer):
    """One listener's stream of deliveries."""

    #: After how many deliveries that ended in the death of their process an event is put aside.
    max_deaths: int = DeliveryPolicy().max_deaths
    longest_delay: float = float("inf")

    @abstractmethod
    async def status(self) -> Sequence[GroupStatus]:
        """Tell how far the listener's group is with each stream.

        Raises:
            TransportUnavailable: The broker can't be reached.
        """

    @abstractmethod
    async def take(self, limit: int) -> Sequence[Delivery]:
        """Return up to ``limit`` deliveries; waits a while for the first, and may return none."""


class EventTransport(EventQuestions, DeadLetters, GroupChanges, Transport):
    """Fires events and receives them."""

    @abstractmethod
    def encode(self, message: EventMessage) -> Any:
        """Return an event as it is stored; nothing is sent.

        Raises:
            InvalidMessage: It can't travel.
        """

    @abstractmethod
    async def publish_each(self, events: Sequence[Outgoing], timeout: float) -> None:
        """Store events, in order, and set the ``native_id`` or the ``error`` of each.

        Args:
            events: Any number of events, of any APIs that this transport carries.
            timeout: Seconds to wait for the broker in all.
        """

    async def publish(
        self, messages: Sequence[EventMessage], timeout: float, dedupe: float | None = None
    ) -> None:
        """Store events, in order, and set the ``native_id`` of each; where one fails, others may be stored.

        Args:
            messages: Any number of events, of any APIs that this transport carries.
            timeout: Seconds to wait for the broker.
            dedupe: Seconds for which the same id is stored only once; None for no such memory.

        Raises:
            InvalidMessage: One of them can't travel; nothing was sent.
            TransportUnavailable: The first that failed was not stored.
            PublishNotConfirmed: The first that failed may or may not be stored.
            StreamFull: Listeners are too far behind.
        """
        events = [Outgoing(message, self.encode(message), dedupe) for message in messages]
        await self.publish_each(events, timeout)
        for event in events:
            if event.error is not None:
                raise event.error

    @abstractmethod
    async def consume(self, subscription: Subscription, identity: Identity) -> EventConsumer:
        """Join, or make, the listener's consumer group; take over that of its name before.

        Raises:
            StillRead: A process reads the group of its name before, so that this one has to wait.
            TransportUnavailable: The broker can't be reached.
        """
