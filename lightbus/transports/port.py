"""The three ports to a broker.

A transport belongs to one event loop. It reconnects by itself; a method that can't wait for that raises
:class:`~lightbus.exceptions.TransportUnavailable`.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from lightbus.declared.metrics import Metrics
from lightbus.runtime.obstacles import Obstacles

Kind = Literal["rpc", "result", "event", "schema"]
#: What a fault is about: a broker that is away, data that may be lost, a permission that is missing.
#: A "setting" leads to a Redis that can't be used as it says.
Topic = Literal["", "away", "setting", "data", "permission"]

Role = Literal["hosts", "shows", "publishes", "owns", "serves", "calls", "knows", "fires", "listens", "runs"]


class Transport(ABC):  # noqa: B024 - each port adds its own abstract methods
    """The part that the three ports have in common."""

    #: A frozen dataclass of the transport's options.
    options: ClassVar[type | None] = None

    #: Its counters; its bus gives it its own.
    metrics = Metrics()
    #: Its obstacles; its bus gives it its own.
    obstacles = Obstacles()
    #: Seconds for which it waits for a broker that is away; None for as long as that takes. Likewise.
    patience: float | None = None

    @property
    def reconnects(self) -> int:
        """How often a connection that many commands share was made again."""
        return 0

    async def open(self) -> None:  # noqa: B027
        """Connect; raises TransportUnavailable where the broker does not answer."""

    async def close(self) -> None:  # noqa: B027
        """Close every connection."""

    async def check(self, uses: Sequence[Use]) -> Sequence[Finding]:
        """Look whether the broker has what the promises need, and allows it; may raise TransportUnavailable.

        Args:
            uses: Its uses, as far as they are known.

        Returns:
            Its faults.
        """
        return ()

    async def about(self) -> str:
        """Return what the broker is, in a few words; may raise TransportUnavailable."""
        return self.address

    async def now(self) -> float:
        """Return the Unix time by the broker's clock, where it has one; may raise TransportUnavailable."""
        return time.time()

    async def expect(self, uses: Sequence[Use]) -> None:  # noqa: B027
        """Note the uses that this process will make of it; one that the broker refuses is an obstacle."""

    @property
    def address(self) -> str:
        """The address of the broker, without secrets, for the log."""
        return type(self).__name__


class Consumer(ABC):
    """One process's reader of the broker."""

    #: The reason why it reads nothing at present, empty while it reads; and its other obstacles.
    trouble, obstacles = "", Obstacles()

    @abstractmethod
    async def stop(self) -> None:
        """Make a waiting ``take`` return, and further ones return nothing."""

    @abstractmethod
    async def close(self) -> None:
        """Send the last answers and acknowledgements, hand back the rest, and close its connections."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A fault of a broker.

    Args:
        what: Says what is wrong, which promise that costs, and what to do.
        fatal: Whether nothing can work until it is put right: a host does not start.
        severity: Its severity in ``lightbus check``.
        is_watched: Whether a host is told by :meth:`Transport.expect`, and again when it is put right.
        topic: Its topic.
        is_detail: Whether only ``lightbus doctor`` tells it.
    """

    what: str
    fatal: bool = False
    severity: Literal["error", "warning", "note"] = "warning"
    is_watched: bool = False
    topic: Topic = ""
    is_detail: bool = False


@dataclass(frozen=True, slots=True)
class Use:
    """One use that a process makes of a transport.

    Args:
        role: Its role for an API. ``runs`` is for a schedule of all processes of a service, ``hosts`` for
            the common needs of hosts, ``shows`` for the card of a process, ``knows`` for an API with which
            it does nothing else here.
        name: The API, or the schedule with its service, or the service whose card or pauses it is about.
        events: The events of the API that are fired or listened to; ``*`` if the names are not known.
        listener: The listener's name.
        service: The listener's service.
        dedupes: Whether ids are remembered, of fired or of handled events.
        renamed_from: The listener's name before, whose group it takes over; empty for none. Of ``hosts``,
            that of any listener.
    """

    role: Role
    name: str = ""
    events: tuple[str, ...] = ()
    listener: str = ""
    service: str = ""
    dedupes: bool = False
    renamed_from: str = ""
