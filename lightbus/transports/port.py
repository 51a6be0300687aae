"""The three ports to a broker.

A transport belongs to one event loop. It reconnects by itself; what can't wait for that raises
:class:`~lightbus.exceptions.TransportUnavailable`.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from lightbus.metrics import Metrics
from lightbus.runtime.obstacles import Obstacles

Kind = Literal["rpc", "result", "event", "schema"]

#: The most bytes that a message may have, whatever carries it.
MAX_BYTES = 1024 * 1024


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
