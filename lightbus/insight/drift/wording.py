"""Sentences about groups and streams, as the rows of a plan have them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from shlex import quote

from lightbus.transports.events import GroupStatus
from lightbus.values.wording import counted, duration, listed

from .live import Stream

#: Seconds beyond which an estimate says nothing any more.
_FORESEEN = 30 * 86_400


def kept(groups: Sequence[GroupStatus]) -> str:
    """Say how much is kept for groups, of one listener or of many."""
    about = "" if all(group.lag_is_exact for group in groups) else "about "
    unread = sum(group.lag for group in groups)
    parts = [(f"{about}{counted(unread, 'unread event')}", unread)]
    parts += [(f"{n:,} pending", n) for n in [sum(group.pending for group in groups)]]
    parts += [(f"{n:,} waiting for another attempt", n) for n in [sum(group.retrying for group in groups)]]
    parts += [(counted(n, "dead letter"), n) for n in [sum(group.dead for group in groups)]]
    return listed([text for text, number in parts if number]) or "nothing that waits"


def is_kept(groups: Iterable[GroupStatus]) -> bool:
    """Tell whether something is kept that nobody would handle; what runs at present ends by itself."""
    return any(g.lag or g.retrying or g.dead or (g.pending and not g.is_served) for g in groups)


def standstill(group: GroupStatus, now: float) -> str:
    """Say what follows if a stream keeps events for a group that nobody reads.

    Args:
        group: The group.
        now: The time by the broker's clock.
    """
    if group.limit is None:
        return "its stream keeps all of that"
    if not group.waiting:
        return "holds back trimming from the next event on"
    room = group.limit - group.waiting
    if room <= 0:
        return "holds back trimming, and nothing can be fired"
    since = now - int(group.oldest.partition("-")[0] or 0) / 1000
    if not group.oldest or group.oldest.startswith("0-") or since <= 0:
        return "holds back trimming"
    seconds = room * since / group.waiting
    if seconds > _FORESEEN:
        return "holds back trimming"
    return f"holds back trimming, firing stops in about {duration(seconds)}"


def streams(found: Iterable[Stream]) -> str:
    """Name streams."""
    return ", ".join(dict.fromkeys(stream.name for stream in found))


def move(old: str, new: str) -> str:
    """Return the command that lets a group take the place of another one."""
    return f"lightbus group move {quote(old)} {quote(new)}"
