"""The groups of listeners: how far each is, and what may be done to it."""

from __future__ import annotations

from abc import ABC
from dataclasses import dataclass, field
from typing import Literal

from lightbus.exceptions import GroupRefused

#: Seconds of silence after which a process counts as gone: one that lives reads every few seconds.
SILENT = 60.0


#: Where an event can be for a group.
State = Literal["before", "unread", "held", "waiting", "due", "dead", "passed", "unknown"]


class StillRead(GroupRefused):
    """A process reads the group: once it has stopped, the same is not refused."""


@dataclass(frozen=True, slots=True)
class ConsumerStatus:
    """One process of a listener.

    Args:
        process_name: The process.
        pending: How many events it holds.
        idle: Seconds since it was last heard of; None if that is not known.
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
class Held:
    """An event that a process has read and not settled.

    Args:
        native_id: The broker's id of it.
        process: The process.
        idle: Seconds since that process was last heard to hold it. It is no part of what is compared: it only
            says when somebody looked.
    """

    native_id: str
    process: str
    idle: float = field(compare=False)


@dataclass(frozen=True, slots=True)
class GroupStatus:
    """The progress of one listener's group with one stream.

    Args:
        group: ``{service_name}-{listener_name}``.
        stream: The place where the broker keeps the events.
        lag: How many events the group has not read yet.
        lag_is_exact: Whether that was counted, or is an estimate.
        pending: How many were read and are not settled.
        retrying: How many wait for another attempt.
        dead: How many were put aside.
        consumers: Its processes.
        service: The service of the group; empty if it is not known.
        oldest: The broker's id from which on it needs what the stream holds.
        limit: How many events the stream takes that a group has not acknowledged; None if it grows.
        gone: How many events left the stream before the group had read them, as far as that is known.
        removal: The command that removes the group.
        fired: How many events the stream has ever got; None if that is not known.
        read: How many of them the group has read; likewise.
        gone_is_exact: Whether those that are gone were counted, or are an estimate.
        held: The oldest event that a process holds in its first attempt; None if none does.
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
    fired: int | None = None
    read: int | None = None
    gone_is_exact: bool = True
    held: Held | None = None

    @property
    def idle(self) -> float | None:
        """Seconds since one of its processes was last heard of; None if it has none."""
        return min([consumer.idle or 0.0 for consumer in self.consumers], default=None)

    @property
    def is_served(self) -> bool:
        """Whether somebody reads it."""
        return any(consumer.is_alive for consumer in self.consumers)

    @property
    def waiting(self) -> int:
        """How many events the stream keeps for it, since they are not read or not settled."""
        return self.lag + self.pending


@dataclass(frozen=True, slots=True)
class Standing:
    """Where one event is for one group.

    Args:
        group: The group.
        stream: The place where the broker keeps the event.
        state: ``before`` if it was fired before the group began; ``unread``; ``held`` by a process;
            ``waiting`` for its next attempt; ``due`` for one; ``dead``; ``passed`` if the group has handled
            it or did not want it; ``unknown`` where too many dead letters would have to be looked at.
        process: The process that holds it; empty where none does.
        idle: Seconds since that process was last heard to hold it.
        attempts: How often its handler was started, as far as that is known.
        due: When the next attempt is due, as a Unix time by the broker's clock; None if none waits.
        letter: Its id among the group's dead letters; empty if it is not there.
        reason: Why it was put aside, likewise.
        service: The service of the group; empty if it is not known.
    """

    group: str
    stream: str
    state: State
    process: str = ""
    idle: float | None = None
    attempts: int = 0
    due: float | None = None
    letter: str = ""
    reason: str = ""
    service: str = ""


@dataclass(frozen=True, slots=True)
class StreamStatus:
    """A stream, with the groups that read it.

    Args:
        name: The place where the broker keeps the events.
        events: Those that travel there, of the ones that were asked for: pairs of API and event name.
        length: How many events it has.
        groups: The groups.
    """

    name: str
    events: tuple[tuple[str, str], ...]
    length: int = 0
    groups: tuple[GroupStatus, ...] = ()


@dataclass(frozen=True, slots=True)
class Move:
    """What the move of a group does with one stream.

    Args:
        status: The group.
        heir: The group that takes its place.
        unread: How many events the heir gets that the group has not read.
        began: The broker's id from which on the heir had events before; empty if the move makes it.
    """

    status: GroupStatus
    heir: str
    unread: int
    began: str = ""


@dataclass(frozen=True, slots=True)
class Seek:
    """What it does with one stream if a group reads on from another place.

    Args:
        status: The group.
        place: The broker's id after which the group reads on.
        again: How many events it reads again.
        skipped: How many unread events it never reads.
        first: The broker's id of the first event that it reads; empty where none is there yet.
        is_oldest: Whether that one is the oldest that the stream has.
    """

    status: GroupStatus
    place: str
    again: int
    skipped: int
    first: str
    is_oldest: bool


@dataclass(frozen=True, slots=True)
class HandBack:
    """What is handed back of one stream to a Lightbus 1.x, which knows no retries and no dead letters.

    Args:
        status: The group.
        pending: How many events are in the stream still, and pending there again.
        added: How many have left the stream, and are added to it anew for this group alone.
        letters: How many of all of these are dead letters.
        broken: How many stay, since they are no events.
        waits: How many stay, since they would be added while another group has unread events.
        behind: That group.
    """

    status: GroupStatus
    pending: int = 0
    added: int = 0
    letters: int = 0
    broken: int = 0
    waits: int = 0
    behind: str = ""


class GroupChanges(ABC):  # noqa: B024 - a transport may have none of them
    """What may be done to groups of a transport of events; each refuses while a process reads the group."""

    async def remove_group(self, status: GroupStatus) -> None:
        """Remove a group of one stream, with all that is kept for it and nobody else.

        Args:
            status: The group.

        Raises:
            GroupRefused: A process reads it, or this transport can't do it.
            TransportUnavailable: The broker can't be reached, or refuses.
        """
        raise _unable("remove")

    async def plan_move(self, status: GroupStatus, heir: str) -> Move:
        """Look what :meth:`move_group` would do; nothing is changed.

        Args:
            status: The group.
            heir: The group that is to take its place; made if it is not there.

        Raises:
            GroupRefused: It can't be done.
            TransportUnavailable: The broker can't be reached, or refuses.
        """
        raise _unable("move")

    async def move_group(self, status: GroupStatus, heir: str) -> None:
        """Let another group take the place of a group of one stream; goes on with a move that was cut short.

        It gets what waits there: unread and pending events, those that wait for another attempt, dead letters
        and the memory of handled events. One that was there before gets what came before it began.

        Args:
            status: The group.
            heir: The group that is to take its place; made if it is not there.

        Raises:
            StillRead: A process reads the group.
            GroupRefused: It is being moved elsewhere, or it is not known when the heir began.
            TransportUnavailable: The broker can't be reached, or refuses.
        """
        raise _unable("move")

    async def plan_seek(self, status: GroupStatus, to: str) -> Seek:
        """Look what :meth:`seek_group` would do; nothing is changed.

        Args:
            status: The group.
            to: The first event that is read: ``start``, ``end``, a Unix time in seconds as text, or a
                broker's id such as ``1790000000000-0``.

        Raises:
            GroupRefused: It can't be done.
            TransportUnavailable: The broker can't be reached, or refuses.
        """
        raise _unable("seek")

    async def seek_group(self, seek: Seek) -> None:
        """Let a group of one stream read on from another place.

        Raises:
            GroupRefused: A process reads it.
            TransportUnavailable: The broker can't be reached, or refuses.
        """
        raise _unable("seek")

    async def plan_hand_back(self, status: GroupStatus, *, letters: bool) -> HandBack:
        """Look what :meth:`hand_back_group` would do; nothing is changed.

        Args:
            status: The group.
            letters: Whether dead letters are meant, too.

        Raises:
            GroupRefused: A process of this version reads it, or it can't be done.
            TransportUnavailable: The broker can't be reached, or refuses.
        """
        raise _unable("hand back")

    async def hand_back_group(self, status: GroupStatus, *, letters: bool) -> HandBack:
        """Give what waits for another attempt to the Lightbus 1.x that reads the group, or is going to.

        Args:
            status: The group.
            letters: Whether dead letters are meant, too.

        Returns:
            What was done.

        Raises:
            GroupRefused: A process of this version reads it, or it can't be done.
            TransportUnavailable: The broker can't be reached, or refuses.
        """
        raise _unable("hand back")


def _unable(what: str) -> GroupRefused:
    return GroupRefused(f"this transport can't {what} groups")
