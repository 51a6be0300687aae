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
#: How many questions are asked about one group.
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


def asks_notes(stream: str, *groups: str) -> list[tuple[Any, ...]]:
    """Return the questions about groups of a stream whose answers :func:`all_notes_of` reads."""
    own = [("HMGET", GroupKeys(stream, group).notes, *_NAMES) for group in groups]
    former = (f"{group} {name}" for group in groups for name in _NAMES)
    return [*own, ("HMGET", GroupKeys(stream, "").groups, *former)]


def notes_of(replies: Sequence[Any]) -> Notes:
    """Read the answers about one group; a refusal counts as no note."""
    return all_notes_of(replies)[0]


def all_notes_of(replies: Sequence[Any]) -> list[Notes]:
    """Read the answers about groups, each of which has one of its own; a refusal counts as no note."""
    *own, shared = replies
    size = len(_NAMES)
    former = shared if isinstance(shared, list) else [None] * (size * len(own))
    return [_notes(mine, former[size * i : size * (i + 1)]) for i, mine in enumerate(own)]


def _notes(own: Any, former: Sequence[bytes | None]) -> Notes:
    own = own if isinstance(own, list) else [None] * len(_NAMES)
    found = {name: (new or old or b"") for name, new, old in zip(_NAMES, own, former, strict=True)}
    made = _NAMES.index("made")
    return Notes(**found | {"made": b"%d" % (_count(own[made]) + _count(former[made]))})


def _count(value: bytes | None) -> int:
    # Python reads no number of thousands of digits, which a stranger may have written there.
    return int(value) if value is not None and value.isdigit() and len(value) < 20 else 0
