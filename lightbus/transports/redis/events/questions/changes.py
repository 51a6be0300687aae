"""Changes to the groups of a Redis: each stream by one script, which does all of it or nothing."""

from __future__ import annotations

from lightbus.exceptions import GroupRefused
from lightbus.transports.events import SILENT, GroupStatus
from lightbus.transports.redis.keys import GroupKeys
from lightbus.transports.redis.link.connection import unavailable
from lightbus.transports.redis.link.pipe import Pipe
from lightbus.transports.redis.scripts import REMOVE
from lightbus.transports.unserved import is_read

from .status import NOBODY

_SILENT = int(SILENT * 1000)


async def remove(pipe: Pipe, status: GroupStatus) -> None:
    """Remove a group of one stream, with all that is kept for it."""
    keys = GroupKeys(status.stream, status.group)
    with unavailable(f"the group {status.group} of {status.stream} is not removed"):
        reader = await pipe.run(
            REMOVE(
                stream=status.stream,
                retry=keys.retry,
                delayed=keys.delayed,
                bodies=keys.bodies,
                dead=keys.dead,
                groups=keys.groups,
                group=status.group,
                silent=_SILENT,
                nobody=NOBODY,
            )
        )
    if reader:
        raise GroupRefused(is_read(status, reader[0].decode("utf-8", "replace"), reader[1] / 1000))
