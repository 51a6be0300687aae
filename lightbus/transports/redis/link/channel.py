"""The way to a Redis that transports use, whatever it consists of: one connection, or one to each primary."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from lightbus.exceptions import BusAlreadyClosed, TransportUnavailable
from lightbus.runtime.obstacles import Obstacles
from lightbus.transports.redis.scripts import Run

from .connection import Link, unavailable
from .deadlines import Deadlines, Outcome
from .refusals import Reaction, ReplyError

#: Is given the place of a command and its reply, or what went wrong.
Take = Callable[[int, Any], None]


def hand_out(places: Sequence[int], take: Take, sent: asyncio.Future[list[Any]]) -> None:
    """Give the replies to some commands to whoever takes them one by one."""
    error: BaseException | None
    if sent.cancelled():
        error = BusAlreadyClosed("the bus was closed while the command waited")
    else:
        error = sent.exception()
    replies = sent.result() if error is None else [error] * len(places)
    for place, reply in zip(places, replies, strict=True):
        take(place, reply)


def is_unknown(reply: object) -> bool:
    """Tell whether a server does not know a script, and needs its text."""
    return isinstance(reply, ReplyError) and reply.reaction is Reaction.SEND_SCRIPT


@dataclass(slots=True, eq=False)
class Batch:
    """Commands that belong together, and what takes their replies."""

    future: Outcome
    packed: bytes
    wanted: int
    single: bool
    #: Whether its reply comes only when replicas have what it wrote, where they are promised.
    is_promised: bool = False
    sent: float = 0.0
    #: The command that rings for those who wait for what it adds, behind it; None if nobody does.
    bell: bytes | None = None
    #: Whether Redis refused one of them.
    is_refused: bool = False


class Channel(ABC):
    """The shared way of one event loop to one Redis, or to one cluster.

    If a connection breaks, commands that were not yet written wait until it is back. Those that were written
    and not answered fail with :class:`LinkBroken`, since nobody knows whether Redis did them.
    """

    #: Its address, without secrets.
    address: str
    #: When those that wait for replies, or for answers, wait no longer.
    deadlines: Deadlines
    #: Whether :meth:`close` was called.
    is_closed: bool
    #: Is told of each refusal.
    on_refusal: Callable[[ReplyError], None]

    @abstractmethod
    def send(self, *command: Any) -> asyncio.Future[Any]:
        """Send one command.

        Returns:
            A future of its reply. It fails with :class:`ReplyError` if Redis refuses the command, with
            :class:`LinkBroken` if its outcome is unknown, and with ``TransportUnavailable`` if there was
            never a connection. Cancelling it before the command is written takes the command back.
        """

    def post(self, *command: Any) -> asyncio.Future[Any]:
        """Send one command that adds to what others wait for, and have them hear of it.

        One Redis wakes those that block; in a cluster, a bell is rung behind the command, in its slot.

        Returns:
            A future of its reply, as that of :meth:`send`.
        """
        return self.send(*command)

    @abstractmethod
    def ring(self, key: str, group: str = "") -> None:
        """Have those hear of something new that wait at a key of a cluster; one Redis wakes them itself.

        Args:
            key: The key, or one in its slot by the same tag.
            group: The only consumer group that it is for.
        """

    @abstractmethod
    def store(self, *command: Any) -> asyncio.Future[Any]:
        """Send a write, whose reply comes once as many replicas have it as this channel promises.

        Returns:
            A future of its reply, as that of :meth:`send`. It may fail with ``TooFewReplicas``, too.
        """

    @abstractmethod
    def send_many(self, commands: Iterable[tuple[Any, ...]]) -> asyncio.Future[list[Any]]:
        """Send commands that follow each other; those of one slot have no other command between them.

        Returns:
            A future of all replies, in which a refused command has its :class:`ReplyError` in its place.
        """

    def send_each(self, commands: Sequence[tuple[Any, ...]], take: Take) -> Sequence[asyncio.Future[Any]]:
        """Send commands that have nothing to do with each other, for keys that may lie anywhere.

        Args:
            commands: The commands.
            take: Is given the place of each and its reply, as soon as that is there. In its place may be
                :class:`ReplyError`, or the error because of which the outcome is unknown.

        Returns:
            Futures that are done once all is answered, but for what a node of a cluster has refused for want
            of a slot, which is sent again.
        """
        sent = self.send_many(commands)
        sent.add_done_callback(partial(hand_out, range(len(commands)), take))
        return [sent]

    async def run_many(self, runs: Sequence[Run]) -> list[Any]:
        """Run scripts with few writes, and those that a server did not know with their texts.

        Returns:
            All replies, in which a refused script has its :class:`ReplyError` in its place.

        Raises:
            LinkBroken: The outcome is unknown.
        """
        if not runs:
            return []
        replies = await self.send_many([run.by_name() for run in runs])
        unknown = [place for place, reply in enumerate(replies) if is_unknown(reply)]
        if unknown:
            again = await self.send_many([runs[place].by_text() for place in unknown])
            for place, reply in zip(unknown, again, strict=True):
                replies[place] = reply
        for run, reply in zip(runs, replies, strict=True):
            if isinstance(reply, ReplyError):
                reply.note_script(run)
        return replies

    @abstractmethod
    def send_for(self, outcome: Outcome, key: str, *commands: tuple[Any, ...]) -> None:
        """Send commands that follow each other and add to what others wait for, and have them hear of it.

        Args:
            outcome: Is told of the list of all replies as they come: a future would be a turn of the event
                loop later. Cancelling it takes the commands back.
            key: The key that others wait at, in a cluster in the slot of all the commands.
            commands: The commands.
        """

    @abstractmethod
    def send_to_all(self, *command: Any) -> asyncio.Future[list[Any]]:
        """Send one command to each primary; one Redis is its only one.

        Returns:
            A future of their replies, in which that of one which refuses it is its :class:`ReplyError`.
        """

    @abstractmethod
    async def primaries(self) -> Sequence[Channel]:
        """Return a channel to each primary, for what each keeps for itself; to one Redis, that is this one.

        Raises:
            TransportUnavailable: It is not known who they are.
        """

    async def run(self, run: Run) -> Any:
        """Run a script, sending its text where the server does not know it yet.

        Raises:
            ReplyError: Redis refused it.
            LinkBroken: The outcome is unknown.
        """
        try:
            try:
                return await self.send(*run.by_name())
            except ReplyError as e:
                if e.reaction is not Reaction.SEND_SCRIPT:
                    raise
            return await self.send(*run.by_text())
        except ReplyError as e:
            e.note_script(run)
            raise

    async def open(self) -> None:
        """Connect now instead of with the first command.

        Raises:
            TransportUnavailable: Redis does not answer; it is tried again in the background all the same.
        """
        with unavailable(f"Redis at {self.address} is not ready"):
            refusals = [reply for reply in await self.send_to_all("PING") if isinstance(reply, ReplyError)]
            if refusals:
                raise refusals[0]

    @abstractmethod
    async def close(self) -> None:
        """Close all connections; commands that wait fail."""

    @abstractmethod
    def link(self, key: str | None, on_refusal: Callable[[ReplyError], None]) -> Link:
        """Return a new connection for commands that block.

        Args:
            key: The key that they wait at. In a cluster, the connection goes to whichever primary has it.
                Left out, it is the first key of the first commands.
            on_refusal: Is told of each refusal.
        """

    @abstractmethod
    def unblock(self, link: Link) -> None:
        """Make a read that blocks on another connection return at once."""

    @abstractmethod
    def end_remains(self, link: Link) -> None:
        """Let what is left of another connection end before anything that is sent from now on is done."""

    @property
    @abstractmethod
    def failure(self) -> TransportUnavailable | None:
        """The last failure to connect, while there is no connection."""

    @property
    @abstractmethod
    def reconnects(self) -> int:
        """How often a connection was made again."""

    @property
    @abstractmethod
    def outage_ended_at(self) -> float:
        """When a connection was made last, by the event loop's clock."""

    @abstractmethod
    def outage_since(self, moment: float) -> str:
        """Say for how long Redis was away, where that was after a moment of the loop's clock."""

    @abstractmethod
    def forget(self, obstacles: Obstacles) -> None:
        """Tell these no more of what is in the way of commands."""

    @abstractmethod
    def is_unsent(self, future: Outcome) -> bool:
        """Tell whether a command still waits for a connection."""

    @abstractmethod
    def unsent(self) -> Collection[Outcome]:
        """Return the futures of all commands that still wait for a connection."""
