"""Sentences about a group: how much waits for it, who reads it, and what to do if nobody does."""

from __future__ import annotations

from collections.abc import Sequence
from shlex import quote

from lightbus.values.wording import duration

from .groups import SILENT, ConsumerStatus, GroupStatus


def whose(status: GroupStatus) -> str:
    """Name a group, with its service."""
    of = f" of the service {status.service}" if status.service else ""
    return f"the group {status.group}{of}"


def state(status: GroupStatus) -> str:
    """Say what waits for a group, and who reads it."""
    return f"{waiting(status)}; {reader(status)}"


def waiting(status: GroupStatus) -> str:
    """Say how many events wait for a group."""
    unread = f"{status.lag:,}" if status.lag_is_exact else f"about {status.lag:,}"
    return f"{unread} unread, {status.pending:,} pending"


def reader(status: GroupStatus) -> str:
    """Say who reads a group."""
    if status.idle is None:
        return "no process reads it"
    if not status.is_served:
        return f"no process has read it for {duration(status.idle)}"
    names = [c.process_name for c in status.consumers]
    return f"{len(names)} processes read it" if len(names) > 1 else f"{names[0]} reads it"


def remedy(status: GroupStatus, more: str = "") -> str:
    """Say what helps where a group is behind.

    Args:
        status: The group.
        more: Another remedy.
    """
    besides = f", {more}" if more else ""
    if status.is_served:
        return f"start more processes of its listener, or make it faster{besides}"
    removal = f": {status.removal}" if status.removal else ""
    return f"start its listener again{besides}, or remove the group if nobody needs its events{removal}"


def to_move(status: GroupStatus, heirs: Sequence[str]) -> str:
    """Say how a group is moved to one of others; nothing where there are none.

    Args:
        status: The group.
        heirs: The others: of listeners that handle the same events.
    """
    if not heirs or not status.removal:
        return ""
    command = f"lightbus group move {quote(status.group)} {quote(heirs[0])}"
    others = f" (or {', '.join(heirs[1:])})" if len(heirs) > 1 else ""
    return f"move it if its listener has another name now: {command}{others}"


def consequence(status: GroupStatus) -> str:
    """Say what follows if a stream keeps events for a group."""
    if status.limit is None:
        return f"{status.stream} keeps all of that"
    return f"{status.stream} keeps all of that, and at {status.limit:,} nothing more can be fired"


def loss(status: GroupStatus) -> str:
    """Say that events are gone that a group had not read."""
    return lost(whose(status), status.stream, status.gone, is_exact=status.gone_is_exact)


def lost(group: str, stream: str, gone: int, *, is_exact: bool) -> str:
    """Say how many events are gone that a group had not read, why, and what to do.

    Args:
        group: Names the group.
        stream: The stream.
        gone: How many.
        is_exact: Whether that is known.
    """
    about = "" if is_exact else "about "  # Redis before 7.0 does not count them.
    return (
        f"{about}{gone:,} events of {group} are gone unread: its last id is older than the first entry of "
        f"{stream}, which somebody trims without regard for groups, as Lightbus 1.x does: raise the "
        "max_stream_length of those that fire, or start more processes of the listener"
    )


def is_read(status: GroupStatus, process: str, idle: float) -> str:
    """Say why nothing is done to a group that a process reads."""
    return (
        f"{process} reads the group {status.group} of {status.stream}, and was heard of {idle:.0f} s ago: "
        f"stop it first; if it was killed, run this again in {max(SILENT - idle, 0) + 1:.0f} s"
    )


def holds_up(status: GroupStatus, consumer: ConsumerStatus, heir: str) -> str:
    """Say why a listener that was renamed can't take over the group of its name before."""
    of = f"the group {status.group} of {status.stream}"
    if consumer.is_alive:
        seen = duration(consumer.idle or 0.0)
        return f"{consumer.process_name} reads {of}, and was heard of {seen} ago; it has to stop first"
    return (
        f"{consumer.process_name} may still read {of}: it is a Lightbus 1.x, which is heard of only when it "
        "reads something. If it is stopped, move the group: "
        f"lightbus group move {quote(status.group)} {quote(heir)}"
    )


def being_moved(status: GroupStatus, heir: str) -> str:
    """Say why nothing is done to a group whose move was cut short."""
    return (
        f"the group {status.group} of {status.stream} is being moved to {heir}, or that was cut short: "
        f"finish it first with lightbus group move {quote(status.group)} {quote(heir)}"
    )


def not_known(status: GroupStatus, heir: str) -> str:
    """Say why a group can't be moved to one that is there."""
    return (
        f"the group {heir} of {status.stream} is there already, and nothing says from which event on it has "
        f"read: events of {status.group} might run twice. If nobody needs {heir}, remove it first with "
        f"lightbus group rm {quote(heir)}; what it has handled runs again then"
    )
