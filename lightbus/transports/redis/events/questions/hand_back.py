"""Going back to Lightbus 1.x: what waits for a group where 1.x does not look is put where it does."""

from __future__ import annotations

import asyncio

from lightbus.exceptions import GroupRefused
from lightbus.transports.groups import SILENT, GroupStatus, HandBack, StillRead
from lightbus.transports.redis.keys import GroupKeys
from lightbus.transports.redis.link.channel import Channel
from lightbus.transports.redis.link.connection import unavailable
from lightbus.transports.redis.scripts import HAND_BACK
from lightbus.transports.unserved import being_moved, is_read

from .consumers import NOBODY

#: How many entries one script looks at.
_AT_ONCE = 200
#: For how many milliseconds nobody seems to have had an entry: more than any 1.x leaves it to its process.
_IDLE = 7 * 86_400_000
#: How often a group that has unread events is given time to read them, and how many seconds each time.
_TRIES, _PAUSE = 50, 0.1


async def plan_hand_back(pipe: Channel, status: GroupStatus, *, letters: bool) -> HandBack:
    """Look what would be handed back."""
    with unavailable(f"the group {status.group} of {status.stream} can't be looked at"):
        return await _go_through(pipe, status, letters=letters, acts=False)


async def hand_back(pipe: Channel, status: GroupStatus, *, letters: bool) -> HandBack:
    """Hand it back; where another group has unread events, wait a little until it has read them."""
    with unavailable(f"the group {status.group} of {status.stream} is not handed back as a whole"):
        done = await _go_through(pipe, status, letters=letters, acts=True)
        for _ in range(_TRIES):
            if not done.waits:
                break
            await asyncio.sleep(_PAUSE)
            more = await _go_through(pipe, status, letters=letters, acts=True)
            pending, added = done.pending + more.pending, done.added + more.added
            of_letters = done.letters + more.letters
            done = HandBack(status, pending, added, of_letters, more.broken, more.waits, more.behind)
        return done


async def _go_through(pipe: Channel, status: GroupStatus, *, letters: bool, acts: bool) -> HandBack:
    """Go through all that waits, so many at a time; each script does its part as a whole."""
    keys = GroupKeys(status.stream, status.group)
    counts, of_letters, behind = [0, 0, 0, 0], 0, ""
    what, cursor = b"again", b"-"
    while what != b"done":
        step = HAND_BACK(
            stream=status.stream, retry=keys.retry, delayed=keys.delayed, bodies=keys.bodies, dead=keys.dead,
            notes=keys.notes, groups=keys.groups, group=status.group, most=_AT_ONCE, what=what, cursor=cursor,
            letters=int(letters), acts=int(acts), idle=_IDLE, nobody=NOBODY, silent=int(SILENT * 1000),
        )  # fmt: skip
        outcome, *about = await pipe.run(step)
        if outcome == b"read":
            raise StillRead(is_read(status, about[0].decode("utf-8", "replace"), about[1] / 1000))
        if outcome == b"moved":
            raise GroupRefused(being_moved(status, about[0].decode("utf-8", "replace")))
        if outcome == b"gone":
            raise GroupRefused(f"there is no group {status.group} of {status.stream} any more")
        next_cursor, *found, group = about
        counts = [sum(each) for each in zip(counts, found, strict=True)]
        of_letters += sum(found[:2]) if what == b"dead" else 0
        behind = group.decode("utf-8", "replace") or behind
        what, cursor = outcome, next_cursor if isinstance(next_cursor, bytes) else b"%d" % next_cursor
    pending, added, broken, waits = counts
    return HandBack(status, pending, added, of_letters, broken, waits, behind)
