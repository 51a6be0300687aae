"""Dead letters over Redis: found, replayed to the group that failed, dropped."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

from lightbus.exceptions import InvalidMessage
from lightbus.messages import EventMessage
from lightbus.transports.events import DeadLetter, DeadPlace, LetterId
from lightbus.transports.redis.custom_codec import Decode
from lightbus.transports.redis.events.entry import read_count
from lightbus.transports.redis.keys import GroupKeys, owner_of_dead
from lightbus.transports.redis.link.channel import Channel
from lightbus.transports.redis.link.connection import unavailable
from lightbus.transports.redis.link.refusals import ReplyError
from lightbus.transports.redis.scripts import REPLAY

from .noted import known

_PAGE = 100
#: By pages, as few are read at first as people look at, and then about so many bytes at a time.
_FIRST_PAGE, _LARGEST_PAGE, _PAGE_BYTES = 50, 1_000, 1024 * 1024
#: Other fields of the hash that says how far each group has read.
_NO_GROUP = (b" made", b" service")
#: The fields that are added to the event's own, in this order.
_ADDED = ("reason", "error", "trace", "attempts", "origin")


async def walk(pipe: Channel, decode: Decode) -> AsyncIterator[DeadLetter]:
    """Go through all dead letters of a Redis: by group, the oldest first.

    Raises:
        TransportUnavailable: Redis does not answer, or refuses.
    """
    with unavailable("dead letters can't be read"):
        for key in await _places(pipe):
            owner = owner_of_dead(key)
            # One that is replayed may fail again at once; it is not met twice.
            newest = await pipe.send("XREVRANGE", key, "+", "-", "COUNT", 1) if owner else ()
            first, last = "-", newest[0][0] if newest else b"0"
            while owner and (entries := await pipe.send("XRANGE", key, first, last, "COUNT", _PAGE)):
                for entry_id, fields in entries:
                    yield _letter(decode, key, owner[1], entry_id.decode(), fields)
                first = f"({entries[-1][0].decode()}"


async def _places(pipe: Channel) -> list[str]:
    """Return the keys that may hold dead letters: noted ones, and of the groups that there are and were."""
    keys = [key.decode("utf-8", "surrogateescape") for key in await known(pipe)]
    found = {key for key in keys if owner_of_dead(key)}
    streams = [key for key in keys if key not in found]
    asked = [
        question
        for stream in streams
        for question in (("XINFO", "GROUPS", stream), ("HKEYS", GroupKeys(stream, "").groups))
    ]
    replies = await pipe.send_many(asked) if asked else []
    for i, stream in enumerate(streams):
        groups, marks = (() if isinstance(r, ReplyError) else r for r in replies[2 * i : 2 * i + 2])
        names = {*(group[1] for group in groups), *(m for m in marks if not m.endswith(_NO_GROUP))}
        found |= {GroupKeys(stream, name.decode("utf-8", "surrogateescape")).dead for name in names}
    return sorted(found)


async def places(pipe: Channel) -> list[DeadPlace]:
    """Return the keys that have dead letters, with how many; none of those is read."""
    with unavailable("dead letters can't be counted"):
        keys = await _places(pipe)
        lengths = await pipe.send_many([("XLEN", key) for key in keys]) if keys else []
    owners = [(key, owner_of_dead(key), length) for key, length in zip(keys, lengths, strict=True)]
    # A key that holds something else has none.
    return [DeadPlace(key, owner[1], n) for key, owner, n in owners if owner and type(n) is int and n]


async def before(
    pipe: Channel, decode: Decode, place: str, newest: LetterId | None, count: int
) -> list[DeadLetter]:
    """Return the letters of a key that are older than one, the newest first."""
    owner = owner_of_dead(place)
    if owner is None:
        return []
    found: list[DeadLetter] = []
    first = "+" if newest is None else f"({newest}"
    size = _FIRST_PAGE
    with unavailable("dead letters can't be read"):
        while len(found) < count:
            wanted = min(size, count - len(found))
            entries = await pipe.send("XREVRANGE", place, first, "-", "COUNT", wanted)
            found += [
                _letter(decode, place, owner[1], entry_id.decode(), fields) for entry_id, fields in entries
            ]
            if len(entries) < wanted:
                break
            first = f"({entries[-1][0].decode()}"
            # Events may be large: no reply is of many megabytes.
            read = sum(sum(map(len, fields)) for _, fields in entries)
            size = max(1, min(_LARGEST_PAGE, 4 * size, len(entries) * _PAGE_BYTES // max(1, read)))
    return found


async def replay(pipe: Channel, letter: DeadLetter, fields: Sequence[Any] = ()) -> bool:
    """Hand a letter to its group again, with its attempts counted from the start, and maybe other fields."""
    owner = owner_of_dead(letter.place)
    if owner is None:
        return False
    retry = GroupKeys(*owner).retry
    with unavailable(f"the dead letter {letter.id} is not replayed"):
        is_replayed = bool(
            await pipe.run(REPLAY(dead=letter.place, retry=retry, letter=letter.id, fields=fields))
        )
    pipe.ring(*owner)
    return is_replayed


async def drop(pipe: Channel, letter: DeadLetter) -> bool:
    """Delete a letter for good."""
    with unavailable(f"the dead letter {letter.id} is not dropped"):
        return bool(await pipe.send("XDEL", letter.place, letter.id))


def _letter(decode: Decode, key: str, group: str, entry_id: str, fields: Sequence[bytes]) -> DeadLetter:
    own, added = fields[: -2 * len(_ADDED)], fields[-2 * len(_ADDED) :]
    texts = [value.decode("utf-8", "replace") for value in added]
    about = dict(zip(texts[::2], texts[1::2], strict=False))
    origin = about.get("origin", entry_id)
    try:
        message = decode(own, origin)[0]
    except InvalidMessage:
        message = None
    return DeadLetter(
        entry_id,
        group,
        message or EventMessage("", "", {}, native_id=origin),
        about.get("reason", ""),
        about.get("error", ""),
        about.get("trace", ""),
        read_count(about.get("attempts", "")),
        int(entry_id.partition("-")[0]) / 1000,
        key,
    )
