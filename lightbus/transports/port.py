"""The three ports to a broker.

A transport belongs to one event loop. It reconnects by itself; a method that can't wait for that raises
:class:`~lightbus.exceptions.TransportUnavailable`.
"""

from __future__ import annotations

import re
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from lightbus.declared.metrics import Metrics
from lightbus.exceptions import InvalidMessage
from lightbus.runtime.obstacles import Obstacles

Kind = Literal["rpc", "result", "event", "schema"]
#: What a fault is about: a broker that is away, data that may be lost, a permission that is missing.
#: A "setting" leads to a Redis that can't be used as it says.
Topic = Literal["", "away", "setting", "data", "permission"]

Role = Literal["hosts", "shows", "publishes", "owns", "serves", "calls", "knows", "fires", "listens", "runs"]

#: The most bytes, levels and values that a message may have, whatever carries it.
MAX_BYTES = 1024 * 1024
MAX_DEPTH = 64
MAX_NODES = 10_000

# Possessive, and without need of its closing quote: hostile text is passed over just once.
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


def check_limits(blob: bytes) -> None:
    """Refuse JSON that would cost too much, before any of it is decoded.

    Raises:
        InvalidMessage: It is over the limit of bytes, levels or nodes.
    """
    if len(blob) > MAX_BYTES:
        raise InvalidMessage(f"more than {MAX_BYTES} bytes")
    opened = blob.count(b"[") + blob.count(b"{")
    if opened <= MAX_DEPTH and opened + blob.count(b",") < MAX_NODES:
        return
    # Brackets and commas may stand in strings: only now is it worth taking those out.
    bare = _STRING.sub(b"", blob)
    if bare.count(b"[") + bare.count(b"{") + bare.count(b",") >= MAX_NODES:
        raise InvalidMessage(f"more than {MAX_NODES} nodes")
    depth = 0
    for bracket in bare.translate(None, _NO_BRACKETS):
        depth += 1 if bracket in b"[{" else -1
        if depth > MAX_DEPTH:
            raise InvalidMessage(f"more than {MAX_DEPTH} levels")


def check_sendable(what: str, blob: bytes) -> None:
    """Refuse JSON that whoever reads it would refuse.

    Args:
        what: The message, for the error.
        blob: All of it, or one of its arguments. Where it has no more bytes than :data:`MAX_NODES`, there is
            no room for so many values, and no need to call this.

    Raises:
        InvalidMessage: It has too many values. How deep these are is seen when they are made JSON values.
    """
    try:
        check_limits(blob)
    except InvalidMessage as e:
        raise InvalidMessage(
            f"{what} has {e} and would be refused: a message may have {MAX_NODES:,} values in {MAX_DEPTH} "
            "levels; send them in parts, or store them elsewhere and send their address"
        ) from None


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
