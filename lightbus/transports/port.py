"""The three ports to a broker.

A transport belongs to one event loop. It reconnects by itself; what can't wait for that raises
:class:`~lightbus.exceptions.TransportUnavailable`.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from lightbus.declared.policy import DeliveryPolicy
from lightbus.exceptions import LightbusException
from lightbus.messages import EventMessage, ResultMessage, RpcMessage
from lightbus.metrics import Metrics
from lightbus.runtime.obstacles import Obstacles

from .events import DeadLetter, EventQuestions, GroupStatus, RpcQuestions, SchemaQuestions, Use
from .events import Finding as Finding

Kind = Literal["rpc", "result", "event", "schema"]

#: The most bytes that a message may have, whatever carries it.
MAX_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Identity:
    """Who is at this end of the bus.

    Args:
        service_name: Shared by all processes of a deployable; names the consumer groups.
        process_name: Unique among the processes of a service.
    """

    service_name: str
    process_name: str


@dataclass(frozen=True, slots=True)
class Subscription:
    """What one listener wants to receive.

    Args:
        listener_name: Names the consumer group, together with the service.
        events: Pairs of API and event name; ``*`` as event stands for all of an API's.
        known_events: The event names of each API asked for with ``*``, where they are known.
        since: ``new``, ``earliest`` or a Unix time in seconds as text; read when the group is first made.
        dedupe: Seconds for which the ids of acknowledged events are remembered; None for not at all.
        page: How many events are wanted at a time, where it is more than the transport reads by itself.
        longest_delay: The most seconds for which an event ever waits for another attempt.
    """

    listener_name: str
    events: tuple[tuple[str, str], ...]
    known_events: Mapping[str, tuple[str, ...]]
    since: str = "new"
    dedupe: float | None = None
    page: int = 1
    longest_delay: float = float("inf")

    def wants(self, api_name: str, event_name: str) -> bool:
        """Tell whether an event is one of those asked for."""
        return (api_name, event_name) in self.events or (api_name, "*") in self.events


class Transport(ABC):  # noqa: B024 - each port adds its own abstract methods
    """What the three ports have in common."""

    #: A frozen dataclass of the transport's options.
    options: ClassVar[type | None] = None

    #: What it counts in; its bus gives it its own.
    metrics = Metrics()
    #: Where it tells what keeps it from its work; its bus gives it its own.
    obstacles = Obstacles()

    @property
    def reconnects(self) -> int:
        """How often a connection that many commands share was made again."""
        return 0

    async def open(self) -> None:  # noqa: B027
        """Connect; raises TransportUnavailable where the broker does not answer."""

    async def close(self) -> None:  # noqa: B027
        """Let go of every connection."""

    async def check(self, uses: Sequence[Use]) -> Sequence[Finding]:
        """Look whether the broker has what the promises need, and allows it; may raise TransportUnavailable.

        Args:
            uses: For what it is used, as far as that is known.

        Returns:
            What it lacks.
        """
        return ()

    async def now(self) -> float:
        """Return the Unix time by the broker's clock, where it has one; may raise TransportUnavailable."""
        return time.time()

    async def expect(self, uses: Sequence[Use]) -> None:  # noqa: B027
        """Take note of what this process is going to do; what the broker does not allow is an obstacle."""

    @property
    def address(self) -> str:
        """Where the broker is, without secrets, for the log."""
        return type(self).__name__


@dataclass(slots=True, eq=False)
class Outgoing:
    """An event on its way to the broker, and what became of it.

    Args:
        message: The event; once it is stored, it has its ``native_id``.
        body: What the transport has made of it by :meth:`EventTransport.encode`.
        dedupe: Seconds for which the same id is stored only once; None for no such memory.
        error: Why it is not stored, or may not be; ``TransportUnavailable`` and ``StreamFull`` where it is
            known not to be.
    """

    message: EventMessage
    body: Any
    dedupe: float | None = None
    error: LightbusException | None = None


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


class Consumer(ABC):
    """What one process reads of the broker."""

    #: Why nothing can be read at present, empty while reading goes on; where else it tells of obstacles.
    trouble, obstacles = "", Obstacles()

    @abstractmethod
    async def stop(self) -> None:
        """Make a waiting ``take`` return, and further ones return nothing."""

    @abstractmethod
    async def close(self) -> None:
        """Send what is still to be settled or answered, hand back the rest and let go of everything."""


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


class EventTransport(EventQuestions, Transport):
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
        """Join, or make, the listener's consumer group.

        Raises:
            TransportUnavailable: The broker can't be reached.
        """

    @abstractmethod
    async def replay(self, letter: DeadLetter) -> bool:
        """Hand a dead letter to its group again, and to no other one; its attempts count from the start.

        Returns:
            Whether it was still there.

        Raises:
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


class RpcConsumer(Consumer):
    """The calls of one API, as its worker takes and answers them."""

    @abstractmethod
    async def take(self, limit: int) -> Sequence[RpcMessage]:
        """Return up to ``limit`` calls that are ours to run; waits a while, and may return none."""

    @abstractmethod
    def answer(self, call: RpcMessage, result: ResultMessage) -> None:
        """Send a result to its caller. Answers are sent in batches and repeated until the broker has them."""


class RpcTransport(RpcQuestions, Transport):
    """Calls procedures and serves them."""

    #: What answers travel by, where that is not the connection of calls; closed with this.
    answers: Transport | None = None

    @abstractmethod
    async def call(self, message: RpcMessage, timeout: float) -> ResultMessage:
        """Send a call and wait for its answer.

        Args:
            message: The call.
            timeout: Seconds to wait in all.

        Raises:
            LightbusTimeout: No answer came in time; ``executed`` says whether it may have run.
            NoWorker: Nobody serves the API.
            TransportUnavailable: The broker can't be reached; nothing was sent.
        """

    @abstractmethod
    async def serve(self, api_name: str, identity: Identity) -> RpcConsumer:
        """Take part in serving an API."""


class SchemaTransport(SchemaQuestions, Transport):
    """Publishes contracts and reads those of others."""

    @abstractmethod
    async def store(
        self, contracts: Mapping[str, Mapping[str, Any]], ttl: float, *, human_readable: bool = True
    ) -> None:
        """Publish contracts.

        Args:
            contracts: Contracts by API name.
            ttl: Seconds for which they stay, unless they are published again.
            human_readable: Whether their text is indented, for transports that store text.
        """

    @abstractmethod
    async def withdraw(self, api_names: Sequence[str]) -> None:
        """Remove contracts that this process published, save those for which another process stands too."""

    @abstractmethod
    async def load(self, first: Collection[str] = ()) -> Mapping[str, Mapping[str, Any]]:
        """Return every contract on the bus by API name; malformed ones are left out with a warning.

        Args:
            first: APIs whose contracts are not left out, however many there are.
        """

    @abstractmethod
    async def own(self, api_names: Sequence[str], identity: Identity, ttl: float) -> Mapping[str, str]:
        """Become, or stay, an owner of APIs; the processes of one service own them together.

        Args:
            api_names: The APIs.
            identity: Who wants to own them.
            ttl: Seconds after which an owner that does not ask again is forgotten.

        Returns:
            For each API the name of the service that owns it now.
        """

    @abstractmethod
    async def disown(self, api_names: Sequence[str], identity: Identity) -> None:
        """Own APIs no more; other processes of the service still do."""

    @abstractmethod
    async def owners(self, api_names: Sequence[str]) -> Mapping[str, Sequence[Identity]]:
        """Return the processes that own APIs now, by API.

        Raises:
            TransportUnavailable: The broker can't be reached.
        """

    @abstractmethod
    async def claim(
        self, schedule: str, tick: float, holder: str, lease: float, *, catch_up: bool = False
    ) -> Literal["ours", "had", "busy", "early"]:
        """Take one tick of a schedule; ticks are given out once and in order, and the last is remembered.

        Args:
            schedule: The schedule, with its service.
            tick: Its time in Unix seconds.
            holder: Who wants to run it; may ask again for the same tick where the reply was lost.
            lease: Seconds for which no later tick is given out unless :meth:`hold` renews them; 0 where runs
                may overlap.
            catch_up: Whether it is given out only where an earlier one was, else remembered as the last.

        Returns:
            ``ours`` to run it now; ``had`` where it, or a later one, was given out; ``busy`` where somebody
            else still runs an earlier one, so that nobody gets it; ``early`` where its time is yet to come.
        """

    @abstractmethod
    async def hold(self, schedule: str, holder: str, lease: float) -> bool:
        """Renew the lease of the tick that runs, or end it with a lease of 0.

        Returns:
            Whether the holder has still had it.
        """
