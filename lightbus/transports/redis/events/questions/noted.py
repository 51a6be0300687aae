"""The streams of a Redis: noted in a set when they are first used, so that nobody has to search for them.

The set holds the keys of streams of events, and those of dead letters as far as a search has found them.
Lightbus 1.x notes nothing: its streams are found by the names of its contracts, or by a search.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Sequence
from weakref import WeakKeyDictionary

from lightbus.transports.redis.keys import (
    ANY_STREAM,
    PER_API,
    SCHEMAS,
    SEARCHED,
    STREAMS,
    is_stream,
    owner_of_dead,
)
from lightbus.transports.redis.link.channel import Channel
from lightbus.transports.redis.link.connection import LinkBroken
from lightbus.transports.redis.link.refusals import ReplyError

logger = logging.getLogger(__name__)


_SCANNED = 1_000
_PAGE = 500
#: Seconds of a search that are worth a warning.
_LONG = 1.0
#: The streams that this process has found, if it may not note them for others.
_found: WeakKeyDictionary[Channel, set[bytes]] = WeakKeyDictionary()


def note(pipe: Channel, streams: Sequence[str]) -> None:
    """Note streams for those who look for them, in the background; a search finds them without."""

    def look(noted: asyncio.Future[int]) -> None:
        error = None if noted.cancelled() else noted.exception()
        if isinstance(error, LinkBroken) and not pipe.is_closed:
            note(pipe, streams)
        elif error is not None:
            logger.info("streams can't be noted in %s, so that only a search finds them: %s", STREAMS, error)

    pipe.send("SADD", STREAMS, *streams).add_done_callback(look)


async def known(pipe: Channel) -> set[bytes]:
    """Return the keys that are noted, and those that contracts suggest; search if nobody ever did."""
    noted, searched, names = await pipe.send_many(
        [("SMEMBERS", STREAMS), ("EXISTS", SEARCHED), ("SMEMBERS", SCHEMAS)]
    )
    found = _found.get(pipe)
    if found is None and (isinstance(noted, ReplyError) or searched != 1):
        began = time.monotonic()
        found = await search(pipe)
        if isinstance(noted, ReplyError):
            _found[pipe] = found
        seconds = time.monotonic() - began
        logger.log(
            logging.WARNING if seconds > _LONG else logging.INFO,
            "nobody had noted all streams of Redis at %s, so it was searched as a whole, which took %.1f s",
            *(pipe.address, seconds),
        )
    keys = set(found or ())
    keys.update(() if isinstance(noted, ReplyError) else noted)
    keys.update(() if isinstance(names, ReplyError) else (name + PER_API.encode() for name in names))
    return keys


async def search(pipe: Channel) -> set[bytes]:
    """Search the whole Redis for streams of events and of dead letters, and note them."""
    found = {key: key.decode("utf-8", "surrogateescape") for key in await _scan(pipe, ANY_STREAM)}
    keys = {key for key, text in found.items() if is_stream(text) or owner_of_dead(text)}
    try:
        names = sorted(keys)
        for start in range(0, len(names), _PAGE):
            await pipe.send("SADD", STREAMS, *names[start : start + _PAGE])
        await pipe.send("SET", SEARCHED, 1)
    except ReplyError as e:
        _found[pipe] = keys
        logger.info("streams that were found in Redis at %s can't be noted: %s", pipe.address, e)
    return keys


async def _scan(pipe: Channel, pattern: str) -> set[bytes]:
    """Return the keys of all streams that match a pattern of Redis."""
    keys: set[bytes] = set()
    for primary in await pipe.primaries():
        async for found in scan(primary, pattern, "stream"):
            keys.update(found)
    return keys


async def scan(pipe: Channel, pattern: str, kind: str) -> AsyncIterator[list[bytes]]:
    """Go through the keys of one server that match a pattern of Redis and have a type."""
    cursor = b"0"
    while True:
        command = ("SCAN", cursor, "MATCH", pattern, "COUNT", _SCANNED, "TYPE", kind)
        cursor, found = await pipe.send(*command)
        yield found
        if cursor == b"0":
            return
