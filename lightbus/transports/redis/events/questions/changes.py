"""Changes to the groups of a Redis, each refused while a process reads the group.

A group is removed by one script. To move it, or to set it to another place, takes many, so that none keeps
Redis for long. Wherever that is cut short, nothing is lost, and the next one goes on with it.
"""

from __future__ import annotations

import logging
import math
from collections.abc import AsyncIterator, Sequence
from typing import Any

from lightbus.exceptions import GroupRefused, LightbusException
from lightbus.transports.groups import SILENT, GroupStatus, Move, Seek, StillRead
from lightbus.transports.redis.keys import GroupKeys
from lightbus.transports.redis.link.channel import Channel
from lightbus.transports.redis.link.connection import unavailable
from lightbus.transports.redis.link.refusals import ReplyError
from lightbus.transports.redis.scripts import INHERIT, REMOVE, SEEK, SPAN, SUCCEED
from lightbus.transports.unserved import being_moved, holds_up, is_read, not_known, waiting

from .consumers import NOBODY
from .noted import scan
from .notes import QUESTIONS, asks_notes, notes_of
from .status import group_status

logger = logging.getLogger(__name__)

#: An id that nothing follows. The very last one would do harm: the first follows it.
LAST_ID = f"{2**64 - 1}-0"

_SILENT = int(SILENT * 1000)
#: The milliseconds for which a Lightbus 1.x counts as a reader where nobody is asked: it says nothing while
#: it waits for events.
_FOR_EVER = 2**53

#: How many entries are moved, and how many are looked at, by one script.
_MOVED_AT_ONCE = 200
_SEEN_AT_ONCE = 1_000


async def remove(pipe: Channel, status: GroupStatus) -> None:
    """Remove a group of one stream, with all that is kept for it."""
    keys = GroupKeys(status.stream, status.group)
    with unavailable(f"the group {status.group} of {status.stream} is not removed"):
        reader = await pipe.run(
            REMOVE(
                stream=status.stream, retry=keys.retry, delayed=keys.delayed, bodies=keys.bodies,
                dead=keys.dead, notes=keys.notes, groups=keys.groups, group=status.group,
                nobody=NOBODY, silent=_SILENT, silent_1x=_SILENT,
            )
        )  # fmt: skip
    if reader:
        raise _still_read(status.stream, status.group, reader)


async def plan_move(pipe: Channel, status: GroupStatus, heir: str) -> Move:
    """Look what a move would do."""
    stream, group = status.stream, status.group
    with unavailable(f"the group {group} of {stream} can't be looked at"):
        found = await group_status(pipe, [stream], heir)
        replies = await pipe.send_many([*asks_notes(stream, group), *asks_notes(stream, heir)])
        before = notes_of(replies[:QUESTIONS]).heir.decode()
        began = notes_of(replies[QUESTIONS:]).began.decode()
        if not found or before == f"{heir} {LAST_ID}":
            return Move(status, heir, status.lag)
        if not began:
            raise GroupRefused(not_known(status, heir))
        read = await _read_till(pipe, stream, group)
        return Move(status, heir, await _count(pipe, stream, read, began), began)


async def move(
    pipe: Channel, stream: str, group: str, heir: str, *, silent_1x: int | None = None, remembers: bool = True
) -> None:
    """Let another group take the place of a group of one stream.

    Args:
        pipe: The Redis.
        stream: The stream.
        group: The group.
        heir: The group that is to take its place.
        silent_1x: After how many milliseconds of silence a Lightbus 1.x counts as gone, if not a minute.
        remembers: Whether the memory of handled events is moved, for which Redis is searched as a whole.
    """
    keys, heirs = GroupKeys(stream, group), GroupKeys(stream, heir)
    patience = _SILENT if silent_1x is None else silent_1x
    who: dict[str, Any] = {"nobody": NOBODY, "silent": _SILENT, "silent_1x": patience}
    succeed = SUCCEED(
        stream=stream, retry=keys.retry, heirs_retry=heirs.retry, notes=keys.notes, heirs_notes=heirs.notes,
        groups=keys.groups, group=group, heir=heir,
        last=LAST_ID, **who,
    )  # fmt: skip
    inherit = INHERIT(
        stream=stream, retry=keys.retry, delayed=keys.delayed, bodies=keys.bodies, dead=keys.dead,
        notes=keys.notes, groups=keys.groups, heirs_retry=heirs.retry, heirs_delayed=heirs.delayed,
        heirs_bodies=heirs.bodies, heirs_dead=heirs.dead, group=group, heir=heir, most=_MOVED_AT_ONCE,
        last=LAST_ID, **who,
    )  # fmt: skip
    with unavailable(f"the group {group} of {stream} is not moved as a whole"):
        outcome, *about = await pipe.run(succeed)
        _refuse(stream, group, heir, outcome, about)
        if outcome == b"gone":
            return  # Another process has moved it at the same time.
        if remembers:
            await _move_memory(pipe, keys.handled, heirs.handled)
        while True:
            outcome, *about = await pipe.run(inherit)
            pipe.ring(stream, heir)
            _refuse(stream, group, heir, outcome, about)
            if outcome == b"done":
                return


async def take_over(pipe: Channel, streams: Sequence[str], group: str, heir: str, *, remembers: bool) -> None:
    """Let the group of a listener that was renamed take the place of that of its name before.

    Args:
        pipe: The Redis.
        streams: The streams of the listener.
        group: The group of its name before, which need not be there.
        heir: Its group.
        remembers: Whether it remembers handled events.

    Raises:
        StillRead: A process reads the group, or is a Lightbus 1.x that may; nothing was done.
        TransportUnavailable: Redis does not answer, or refuses.
    """
    found = await group_status(pipe, streams, group)
    for status in found:
        for consumer in status.consumers:
            if consumer.is_alive or consumer.is_1x:
                raise StillRead(holds_up(status, consumer, heir))
    for status in found:
        try:
            await move(pipe, status.stream, group, heir, silent_1x=_FOR_EVER, remembers=remembers)
        except StillRead:
            raise
        except GroupRefused as e:
            logger.error("%s", e)
        else:
            what = "the group %s of %s was moved to %s: %s, %d waiting for another attempt, %d dead letters"
            counts = waiting(status), status.retrying, status.dead
            logger.info(what, group, status.stream, heir, *counts)


async def plan_seek(pipe: Channel, status: GroupStatus, to: str) -> Seek:
    """Look what it would do to read on from another place."""
    stream, group = status.stream, status.group
    with unavailable(f"the group {group} of {stream} can't be looked at"):
        about = await pipe.send("XINFO", "STREAM", stream)
        facts = dict(zip((name.decode() for name in about[::2]), about[1::2], strict=True))
        place = _place(to, facts["last-generated-id"].decode())
        read = await _read_till(pipe, stream, group)
        is_back = _parts(place) < _parts(read)
        # As long as it was not fired meanwhile, what comes before and behind the group is known: there may be
        # hundreds of thousands of both, of which else each has to be looked at.
        is_known = status.lag_is_exact and status.fired is not None and status.fired == facts["entries-added"]
        if is_known and (place == "0-0" or place == facts["last-generated-id"].decode()):
            again, skipped = (facts["length"] - status.lag, 0) if is_back else (0, status.lag)
        else:
            again = await _count(pipe, stream, place, read) if is_back else 0
            skipped = 0 if is_back else await _count(pipe, stream, read, place)
        following = await pipe.send("XRANGE", stream, f"({place}", "+", "COUNT", 1)
        first = following[0][0].decode() if following else ""
        oldest = facts["first-entry"]
        return Seek(status, place, again, skipped, first, bool(oldest) and first == oldest[0].decode())


async def seek(pipe: Channel, plan: Seek) -> None:
    """Let a group of one stream read on from another place."""
    stream, group = plan.status.stream, plan.status.group
    keys = GroupKeys(stream, group)
    with unavailable(f"the group {group} of {stream} is not moved to {plan.place}"):
        for found in await group_status(pipe, [stream], group):
            for consumer in found.consumers:
                if consumer.is_alive:
                    raise StillRead(is_read(found, consumer.process_name, consumer.idle or 0.0))
        read = await _read_till(pipe, stream, group)
        # First: if it is cut short after that, no event is taken for handled that is meant to run again.
        async for ids in _span(pipe, stream, plan.place, read):
            await pipe.send("UNLINK", *(keys.handled.encode() + each for each in ids))
        what, cursor = b"begin", b"-"
        while what != b"done":
            step = SEEK(
                stream=stream, retry=keys.retry, delayed=keys.delayed, bodies=keys.bodies, notes=keys.notes,
                groups=keys.groups, group=group, place=plan.place, most=_MOVED_AT_ONCE, what=what,
                cursor=cursor, nobody=NOBODY, silent=_SILENT, silent_1x=_SILENT,
            )  # fmt: skip
            what, cursor, *more = await pipe.run(step)
            _refuse(stream, group, "", what, [cursor, *more])


async def _move_memory(pipe: Channel, prefix: str, heirs_prefix: str) -> None:
    """Rename the keys that remember handled events; those that lapse meanwhile are no matter."""
    pattern = "".join(f"\\{c}" if c in "*?[]\\^" else c for c in prefix) + "*"
    start = prefix.encode()
    for primary in await pipe.primaries():
        async for found in scan(primary, pattern, "string"):
            renamed = [("RENAMENX", key, heirs_prefix.encode() + key.removeprefix(start)) for key in found]
            for reply in await pipe.send_many(renamed) if renamed else ():
                if isinstance(reply, ReplyError) and "no such key" not in reply.said:
                    raise reply


async def _read_till(pipe: Channel, stream: str, group: str) -> str:
    """Return the id after which a group reads on."""
    for each in await pipe.send("XINFO", "GROUPS", stream):
        facts = dict(zip((name.decode() for name in each[::2]), each[1::2], strict=True))
        if facts["name"] == group.encode():
            return str(facts["last-delivered-id"].decode())
    raise GroupRefused(f"there is no group {group} of {stream} any more")


async def _count(pipe: Channel, stream: str, after: str, till: str) -> int:
    """Return how many entries come after one id, and not after another."""
    return sum([len(ids) async for ids in _span(pipe, stream, after, till)])


async def _span(pipe: Channel, stream: str, after: str, till: str) -> AsyncIterator[list[bytes]]:
    """Go through the ids of the events in a part of a stream, so many at a time."""
    while _parts(after) < _parts(till):
        last, *ids = await pipe.run(SPAN(stream=stream, after=after, till=till, most=_SEEN_AT_ONCE))
        if not ids:
            return
        yield ids
        after = last.decode()


def _place(to: str, newest: str) -> str:
    """Return the id after which a group reads on."""
    if to in ("start", "end"):
        return "0-0" if to == "start" else newest
    if "-" in to:
        milliseconds, number = _parts(to)
        if number:
            return f"{milliseconds}-{number - 1}"
    else:
        milliseconds = math.ceil(float(to) * 1000)
    return f"{milliseconds - 1}-{2**64 - 1}" if milliseconds > 0 else "0-0"


def _parts(entry_id: str) -> tuple[int, int]:
    milliseconds, _, number = entry_id.partition("-")
    return int(milliseconds), int(number or 0)


def _refuse(stream: str, group: str, heir: str, outcome: bytes, about: list[Any]) -> None:
    """Raise the error for a script that has refused."""
    if outcome == b"read":
        raise _still_read(stream, group, about)
    status = GroupStatus(group, stream, 0, True, 0, 0, 0)
    if outcome == b"moved":
        raise GroupRefused(being_moved(status, about[0].decode("utf-8", "replace")))
    if outcome == b"unknown":
        raise GroupRefused(not_known(status, heir))


def _still_read(stream: str, group: str, reader: list[Any]) -> LightbusException:
    status = GroupStatus(group, stream, 0, True, 0, 0, 0)
    return StillRead(is_read(status, reader[0].decode("utf-8", "replace"), reader[1] / 1000))
