"""What can be asked of a broker: the parts of the ports that change nothing, and what they answer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from lightbus.messages import EventMessage

#: Seconds after which a process counts as gone that was not heard of: those that live read every few seconds.
SILENT = 60.0


@dataclass(frozen=True, slots=True)
class Finding:
    """What a broker lacks.

    Args:
        what: What is wrong, which promise that costs, and what to do.
        fatal: Whether nothing can work until it is put right: a host does not start.
        severity: How bad it is for those who check.
        is_watched: Whether a host is told by :meth:`Transport.expect`, and again when it is put right.
    """

    what: str
    fatal: bool = False
    severity: Literal["error", "warning", "note"] = "warning"
    is_watched: bool = False


@dataclass(frozen=True, slots=True)
class Use:
    """What a process is going to do by a transport.

    Args:
        role: What it does with an API; ``runs`` for a schedule of all processes of a service, ``hosts`` for
            what every host does; ``knows`` an API where it does no more with it by this transport.
        name: The API, or the schedule with its service.
        events: Which events of the API are fired or listened to; ``*`` where the names are not known.
        listener: The listener's name.
        service: The listener's service.
        dedupes: Whether ids are remembered, of fired or of handled events.
    """

    role: Literal["hosts", "publishes", "owns", "serves", "calls", "knows", "fires", "listens", "runs"]
    name: str = ""
    events: tuple[str, ...] = ()
    listener: str = ""
    service: str = ""
    dedupes: bool = False


@dataclass(frozen=True, slots=True)
class ConsumerStatus:
    """One process of a listener.

    Args:
        process_name: The process.
        pending: How many events it holds.
        idle: Seconds since it was last heard of; None where that is not known.
        is_1x: Whether it is a Lightbus 1.x, which is heard of only when it reads something.
    """

    process_name: str
    pending: int
    idle: float | None = None
    is_1x: bool = False

    @property
    def is_alive(self) -> bool:
        """Whether it was heard of just now."""
        return (self.idle or 0.0) <= SILENT


@dataclass(frozen=True, slots=True)
class GroupStatus:
    """How far one listener's group is with one stream.

    Args:
        group: ``{service_name}-{listener_name}``.
        stream: Where the broker keeps the events.
        lag: How many events the group has not read yet.
        lag_is_exact: Whether that was counted, or is an estimate.
        pending: How many were read and are not settled.
        retrying: How many wait for another attempt.
        dead: How many were put aside.
        consumers: Its processes.
        service: Whose group it is; empty where that is not known.
        oldest: The broker's id from which on it needs what the stream holds.
        limit: How many events the stream takes that a group has not acknowledged; None where it grows.
        gone: How many events left the stream before the group had read them, as far as that is known.
        removal: How the group is removed by hand.
    """

    group: str
    stream: str
    lag: int
    lag_is_exact: bool
    pending: int
    retrying: int
    dead: int
    consumers: tuple[ConsumerStatus, ...] = ()
    service: str = ""
    oldest: str = ""
    limit: int | None = None
    gone: int = 0
    removal: str = ""

    @property
    def idle(self) -> float | None:
        """Seconds since one of its processes was last heard of; None where it has none."""
        return min((consumer.idle or 0.0 for consumer in self.consumers), default=None)

    @property
    def is_served(self) -> bool:
        """Whether somebody reads it."""
        return self.idle is not None and self.idle <= SILENT

    @property
    def waiting(self) -> int:
        """How many events the stream keeps for it, since they are not read or not settled."""
        return self.lag + self.pending


@dataclass(frozen=True, slots=True)
class QueueStatus:
    """The calls of one API.

    Args:
        api_name: The API.
        waiting: How many calls nobody has taken.
        running: How many were taken and not answered.
        process_names: Who serves it.
    """

    api_name: str
    waiting: int
    running: int
    process_names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An event that was put aside.

    Args:
        id: Names it among those of its listener's group.
        group: Whose it is: ``{service_name}-{listener_name}``.
        message: The event; without a name where it can't be read.
        reason: ``failed``, ``invalid``, ``invalid_message`` or ``process_died``.
        error: The ``repr()`` of what the handler raised last, where it did.
        trace: That error's traceback.
        attempts: How often its handler was started.
        died_at: When it was put aside, in Unix time.
        place: Where the transport keeps it.
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


class EventQuestions(ABC):
    """What can be asked of a transport of events."""

    @abstractmethod
    def history(
        self, api: str = "*", event: str = "*", *, since: float | None = None, native_id: str | None = None
    ) -> AsyncIterator[EventMessage]:
        """Go through the events that the broker still has, the newest first; no listener notices.

        Args:
            api: Which APIs to look at; ``*`` stands for anything.
            event: Which events, likewise; others of the same APIs may come, too.
            since: The Unix time of the oldest.
            native_id: The broker's id of the only one.

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
                are not known. Every stream where not given.

        Raises:
            TransportUnavailable: The broker can't be reached.
        """

    async def find_streams(self) -> None:  # noqa: B027
        """Search all that the broker has for streams that nobody has noted, for the questions that follow.

        Raises:
            TransportUnavailable: The broker can't be reached.
        """

    @abstractmethod
    def list_dead(self) -> AsyncIterator[DeadLetter]:
        """Go through the dead letters of every group, whatever its service: the oldest of each first.

        Raises:
            TransportUnavailable: The broker can't be reached.
        """


class SchemaQuestions(ABC):  # noqa: B024 - what is asked here, a transport need not know
    """What can be asked of a transport of contracts."""

    async def foreign(self, api_names: Sequence[str]) -> Collection[str]:
        """Return the APIs whose contract comes from a Lightbus 1.x, which tells nobody who owns or serves it.

        Raises:
            TransportUnavailable: The broker can't be reached.
        """
        return ()


class RpcQuestions(ABC):
    """What can be asked of a transport of calls."""

    @abstractmethod
    async def queue_status(self, api_names: Sequence[str]) -> Sequence[QueueStatus]:
        """Tell how many calls wait and run, and who serves them.

        Raises:
            TransportUnavailable: The broker can't be reached.
        """
