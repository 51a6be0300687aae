"""How far a listener is, by what the brokers know."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from lightbus.declared.settings import Identity
from lightbus.transports.cards import Pause
from lightbus.transports.groups import GroupStatus, Held

#: The pauses that hold, by service and listener.
Pauses = Mapping[tuple[str, str], Pause]


@dataclass(frozen=True, slots=True)
class ListenerStatus:
    """A listener's group and one of its streams; what is not told here is as in :class:`GroupStatus`.

    Args:
        service: The listener's service.
        name: The listener.
        processes: The processes that read the events, as far as is known.
        ended: How many processes have read them and are gone.
        is_served: Whether one of them was heard of within the last minute.
        gone: How many events left the stream before they were read, as far as that is known.
        group: The group: the service and the listener, with a dash between them.
        fired: How many events the stream has ever got; None if that is not known.
        read: How many of them the group has read; likewise.
        paused: Since when it is paused, by whom and until when, in words; empty if it is not.
        held: The oldest event that a process holds in its first attempt; None if none does.
    """

    service: str
    name: str
    stream: str
    lag: int
    lag_is_exact: bool
    pending: int
    retrying: int
    dead: int
    processes: tuple[str, ...]
    ended: int = 0
    is_served: bool = True
    gone: int = 0
    group: str = ""
    fired: int | None = None
    read: int | None = None
    paused: str = ""
    held: Held | None = None


def listener(
    group: GroupStatus, names: tuple[str, str], pauses: Pauses, lost: AbstractSet[Identity]
) -> ListenerStatus:
    """Return how a listener is with one of its streams.

    Args:
        group: Its group.
        names: Its service and its name.
        pauses: The pauses that hold.
        lost: The processes that were killed.
    """
    service, name = names
    killed = {it.process_name for it in lost if it.service_name == service}
    there = [
        c.process_name for c in group.consumers if c.is_1x or (c.is_alive and c.process_name not in killed)
    ]
    pause = pauses.get(names)
    return ListenerStatus(
        service,
        name,
        group.stream,
        group.lag,
        group.lag_is_exact,
        group.pending,
        group.retrying,
        group.dead,
        tuple(there),
        len(group.consumers) - len(there),
        group.is_served,
        group.gone,
        group.group,
        group.fired,
        group.read,
        pause.in_words() if pause is not None else "",
        group.held,
    )
