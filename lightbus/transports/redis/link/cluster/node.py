"""The connection to one primary of a cluster."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from lightbus.exceptions import TransportUnavailable
from lightbus.transports.redis.link.channel import Batch
from lightbus.transports.redis.link.connection import Connector, Link, LinkBroken
from lightbus.transports.redis.link.deadlines import Outcome, fail
from lightbus.transports.redis.link.pipe import Pipe
from lightbus.transports.redis.link.promise import Promise
from lightbus.transports.redis.link.reaching.outages import Hearers
from lightbus.transports.redis.link.refusals import ReplyError
from lightbus.transports.redis.options import HostPort

from .mixed import Mixed

#: The refusals that say to ask another node, or this one a little later: nothing was done.
ELSEWHERE = frozenset({"MOVED", "ASK", "TRYAGAIN", "CLUSTERDOWN", "READONLY", "MASTERDOWN", "LOADING"})
#: Seconds of silence, while replies are due, after which the others are asked who has the slots: a primary
#: that is frozen refuses nothing and breaks no connection.
SILENCE = 0.4


class Routed(Batch):
    """Commands of one slot, which go to whichever primary has it.

    Args:
        future: Takes their replies.
        packed: Their bytes.
        slot: Their slot.
        parts: The commands of a list, each by itself; None for a single command.
        is_promised: Whether their replies come only when replicas have what they wrote.
        bell: The command that rings for those who wait for what they add.
    """

    __slots__ = ("hops", "parts", "refused_at", "slot")

    def __init__(
        self,
        future: Outcome,
        packed: bytes,
        slot: int,
        parts: Sequence[bytes] | None = None,
        *,
        is_promised: bool = False,
        bell: bytes | None = None,
    ) -> None:
        # Each by itself: by way of the base, this would be what costs most about a command.
        self.future, self.packed, self.slot, self.parts = future, packed, slot, parts
        self.single = parts is None
        self.wanted = 1 if parts is None else len(parts)
        self.is_promised, self.bell = is_promised, bell
        self.sent = 0.0
        self.is_refused = False
        #: How often another node was named for them in a row.
        self.hops = 0
        #: When they were refused first, by the event loop's clock; 0 if they were not.
        self.refused_at = 0.0


class Nobody:
    """Waits for no replies."""

    def done(self) -> bool:
        """Tell that they are to be sent for all that."""
        return False

    def cancel(self) -> bool:
        """Tell that there is nothing to be taken back."""
        return False

    def set_result(self, replies: Any, /) -> None:
        """Take no notice of the replies."""

    def set_exception(self, error: BaseException, /) -> None:
        """Take no notice of why there are none."""

    def exception(self) -> None:
        """Return nothing."""

    def add_done_callback(self, told: Callable[[Any], object], /) -> None:
        """Tell nobody."""


_NOBODY = Nobody()


class Rings(Batch):
    """The bells of what is written before them; nobody waits for the replies."""

    __slots__ = ()


class Router(Protocol):
    """Whoever finds another node for what one can't do."""

    def follow(self, node: NodePipe, batch: Routed, reply: Any) -> None:
        """Send again those commands of a batch that were refused for want of a slot."""

    def follow_each(self, node: NodePipe, batch: Mixed, replies: list[Any]) -> None:
        """Send again those of commands of several slots that were refused for want of theirs."""

    def note_unreachable(self, node: NodePipe, error: TransportUnavailable) -> None:
        """A node can't be connected to; its commands wait."""

    def note_trouble(self, node: NodePipe) -> None:
        """A node is silent, or its connection broke."""

    def note_replaced(self, node: NodePipe) -> None:
        """A node is no primary any more; its commands are to be sent elsewhere."""

    def note_refusal(self, refusal: ReplyError) -> None:
        """A node refused something."""


def is_elsewhere(reply: object) -> bool:
    """Tell whether a reply says that the command is to be sent again, there or elsewhere."""
    return reply.__class__ is ReplyError and reply.code in ELSEWHERE


class NodePipe(Pipe):
    """The pipe to one primary. It hands on what is not for this one, or no longer.

    Args:
        router: Finds another node.
        connector: Opens the connection.
        command_timeout: Seconds without a reply, while one is due, after which the connection counts as dead.
        told: Shows that commands don't reach this node, while that is so.
        promise: The replicas that must have what is stored there.
    """

    def __init__(
        self,
        router: Router,
        connector: Connector,
        command_timeout: float,
        told: Hearers,
        promise: Promise | None,
    ) -> None:
        super().__init__(connector, command_timeout, told, promise)
        self._router = router
        self.on_refusal = router.note_refusal
        self._look_after = min(command_timeout, SILENCE)
        self.node = HostPort(connector.address)
        # Whether the last writing had one batch besides its bell.
        self._was_alone = True
        #: Whether it has slots.
        self.has_slots = False
        #: The connections for commands that block.
        self.links: set[Link] = set()
        #: Whether it has bells, as servers have from version 7.0 on; found out by the first one.
        self.has_bells = True

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection, and no doubt about it."""
        return self._wire is not None and not self.silence > SILENCE

    @property
    def silence(self) -> float:
        """The seconds since it last said something, while replies are due."""
        if not self._written:
            return 0.0
        return self._loop.time() - max(self._written[0].sent, self._heard_at)

    @property
    def is_in_trouble(self) -> bool:
        """Whether it is used, but not connected, or silent."""
        return self._reader is not None and not self.is_connected

    def take_moved(self, owners: Sequence[NodePipe | None]) -> list[Routed | Mixed]:
        """Take out those waiting commands that have a slot of another node.

        Args:
            owners: The node that has each slot.
        """
        moved: list[Routed | Mixed] = []
        stay: list[Batch] = []
        for batch in self._waiting:
            if not isinstance(batch, Routed | Mixed):
                stay.append(batch)
                continue
            slots = (batch.slot,) if isinstance(batch, Routed) else batch.slots
            if any(owners[slot] is not self for slot in slots):
                moved.append(batch)
            else:
                stay.append(batch)
        if moved:
            self._waiting.clear()
            self._waiting.extend(stay)
        return moved

    def abandon(self) -> None:
        """Give it up, since it was replaced: its word on what was written to it is worth nothing any more.

        A primary that was frozen would go on confirming what is thrown away as soon as it hears of its
        successor.
        """
        now = self._loop.time()
        if self.silence > SILENCE:
            self.outages.begin(now - self.silence)  # For those who wait it was away, however open it was.
        self.outages.finish(now)
        why = f"Redis at {self.address} is no primary of its cluster any more"
        self._drop(LinkBroken(f"{why}, so its answer would prove nothing"))
        for batch in self._waiting:
            fail(batch.future, TransportUnavailable(why))
        self._waiting.clear()
        for link in list(self.links):
            link.abort()
        if self._wire is not None:
            self._wire.abort()

    def _flush(self) -> None:
        """Write everything that was sent during this tick, and behind it rings for those who wait for it.

        Behind, since who hears a bell reads at once. With each writing, so that what was sent to another node
        before, or had to wait, rings there where it is done.
        """
        is_held = self._replicas is not None and self._replicas.is_asked
        if not self.has_bells or self._wire is None or self._leaving is not None or is_held:
            super()._flush()
            return
        waiting = self._waiting
        bells = {batch.bell: None for batch in waiting if batch.bell is not None}
        if not bells:
            super()._flush()
            return
        is_alone = len(waiting) == 1
        waiting.append(Rings(_NOBODY, b"".join(bells), len(bells), single=False))
        super()._flush()
        # Of many under way, one goes alone to its node now and then: that is no reason to wait for no others.
        self._is_alone, self._was_alone = is_alone and self._was_alone, is_alone

    def _start(self) -> None:
        super()._start()
        # One that is frozen takes connections, and then says nothing.
        self._loop.call_later(SILENCE, self._check_connected)

    def _deliver(self, batch: Batch, reply: Any) -> None:
        if batch.__class__ is Rings:
            self.has_bells = not any(isinstance(each, ReplyError) and each.code == "ERR" for each in reply)
        if isinstance(batch, Routed) and any(map(is_elsewhere, (reply,) if batch.single else reply)):
            batch.is_refused = False
            self._router.follow(self, batch, reply)
        elif isinstance(batch, Mixed) and any(map(is_elsewhere, reply)):
            self._router.follow_each(self, batch, reply)
        else:
            super()._deliver(batch, reply)

    def _refuse_waiting(self, error: TransportUnavailable) -> None:
        # That this node is away is no reason to fail what has a slot: that may soon be another one's.
        stay = []
        for batch in self._waiting:
            if isinstance(batch, Routed | Mixed):
                stay.append(batch)
            else:
                fail(batch.future, error)
        self._waiting.clear()
        self._waiting.extend(stay)
        self._router.note_unreachable(self, error)

    def _drop(self, error: Exception) -> None:
        super()._drop(error)
        self.has_bells = True  # It may be back as another version.
        if not self.is_closed:
            self._router.note_trouble(self)

    def _check_connected(self) -> None:
        if self._wire is None and not self.is_closed:
            self._router.note_trouble(self)

    def _check_alive(self) -> None:
        if self._wire is not None and self.silence >= SILENCE:
            self._router.note_trouble(self)
        super()._check_alive()
