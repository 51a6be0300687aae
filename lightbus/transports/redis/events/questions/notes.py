"""Notes about the group of a stream, in a hash of its own.

Earlier versions had one hash for all groups of a stream. It is read as well, so that data of theirs counts,
and processes of both versions can share a group while they are replaced. Whoever may write into a shared hash
can move the marks of other groups, and Redis has permissions for keys alone: so it is written to no more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lightbus.transports.redis.keys import GroupKeys

_NAMES = ("service", "placed", "surplus", "made", "began", "heir")
#: How many questions are asked about a group.
QUESTIONS = 2


@dataclass(frozen=True, slots=True)
class Notes:
    """Notes about a group; empty where there are none.

    Args:
        service: Its service.
        placed: The id to which it was set without reading.
        surplus: How often it was made, and how many events Redis will always count as unread.
        made: How often it was made, by either version.
        began: The id at which it began.
        heir: The group that it is being moved to, and up to which id that gets its events.
    """

    service: bytes
    placed: bytes
    surplus: bytes
    made: bytes
    began: bytes
    heir: bytes


def asks_notes(stream: str, group: str) -> list[tuple[Any, ...]]:
    """Return the questions about a group whose answers :func:`notes_of` reads."""
    keys = GroupKeys(stream, group)
    return [("HMGET", keys.notes, *_NAMES), ("HMGET", keys.groups, *(f"{group} {name}" for name in _NAMES))]


def notes_of(replies: Sequence[Any]) -> Notes:
    """Read the answers; a refusal counts as no note."""
    own, former = (reply if isinstance(reply, list) else [None] * len(_NAMES) for reply in replies)
    found = {name: (new or old or b"") for name, new, old in zip(_NAMES, own, former, strict=True)}
    made = _NAMES.index("made")
    return Notes(**found | {"made": b"%d" % (_count(own[made]) + _count(former[made]))})


def _count(value: bytes | None) -> int:
    return int(value) if value is not None and value.isdigit() else 0
