"""The processes of a group, as Redis has them: consumers of its stream, and of its retry stream."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from lightbus.transports.events import ConsumerStatus
from lightbus.transports.redis.link.refusals import ReplyError

#: The consumer that stays if the last process of a group has ended: a Lightbus 1.x that starts destroys
#: every group without one.
NOBODY = "lightbus:nobody"


def consumers_of(reading: Any, retrying: Any) -> tuple[tuple[ConsumerStatus, ...], int]:
    """Put together a process's reading of the stream and of its retry stream, which 1.x does not know.

    Args:
        reading: The reply about the consumers of the stream.
        retrying: That about those of the retry stream, which a group of Lightbus 1.x does not have.

    Returns:
        The processes by name, and how many events they hold of the retry stream.
    """
    found = {name: (pending, idle) for name, pending, idle in _told(reading)}
    again, held = set(), 0
    for name, pending, idle in _told(retrying):
        before, least = found.get(name, (0, idle))
        found[name] = before + pending, idle if idle < least else least
        again.add(name)
        held += pending
    found.pop(NOBODY.encode(), None)
    there = tuple(
        ConsumerStatus(_text(name), pending, idle / 1000, name not in again)
        for name, (pending, idle) in sorted(found.items())
    )
    return there, held


def _told(reply: Any) -> Iterable[tuple[bytes, int, int]]:
    """Return the name of each consumer, how many entries it holds, and how long ago it was heard of."""
    if isinstance(reply, ReplyError) or not reply:
        return ()
    # A bus may have thousands of them: a Redis has the same facts of each, in the same order.
    facts = reply[0][::2]
    name, pending, idle = (2 * facts.index(fact) + 1 for fact in (b"name", b"pending", b"idle"))
    return [(it[name], it[pending], it[idle]) for it in reply]


@lru_cache(maxsize=4_096)
def _text(name: bytes) -> str:
    """Return a name as text, which is the same object for all groups that the process reads."""
    return name.decode("utf-8", "replace")
