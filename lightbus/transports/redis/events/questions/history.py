"""The events that streams still hold, page by page: backwards from the newest, or as they come."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence

from lightbus.exceptions import InvalidMessage, TransportUnavailable
from lightbus.messages import EventMessage
from lightbus.runtime.retrying import Retrying
from lightbus.transports.merging import NATIVE_ID, matcher, newest_first
from lightbus.transports.redis.custom_codec import Decode
from lightbus.transports.redis.keys import is_stream, stream_key
from lightbus.transports.redis.link.channel import Channel
from lightbus.transports.redis.link.connection import BLOCK, FAILURES, unavailable
from lightbus.transports.redis.link.refusals import ReplyError
from lightbus.transports.redis.link.session import Session

from .followed import FIRST_PAGE, Followed, RungStreams, follow
from .noted import known

logger = logging.getLogger(__name__)

_LARGEST_PAGE = 1_000
#: A page has about so many bytes, whatever its events are.
_PAGE_BYTES = 1024 * 1024
_LAST = 2**64 - 1


async def past(
    pipe: Channel, decode: Decode, api: str, event: str, newest: str, oldest: str
) -> AsyncIterator[EventMessage]:
    """Go through the events that are there now, the newest first; see :meth:`EventTransport.history`.

    Args:
        pipe: The Redis.
        decode: Reads an event.
        api: The APIs to look at.
        event: The events.
        newest: The id of the newest entry that is meant, or ``+``.
        oldest: The id of the oldest, or ``-``.
    """
    if not all(bound in ("+", "-") or NATIVE_ID.fullmatch(bound) for bound in (newest, oldest)):
        return
    with unavailable("events can't be read"):
        keys = await stream_keys(pipe, api, event)
        async for message in newest_first([_backwards(pipe, decode, key, newest, oldest) for key in keys]):
            yield message


async def coming(
    session: Session, decode: Decode, api: str, event: str, since: float | None
) -> AsyncIterator[EventMessage]:
    """Go through the events that come from now on, or since a time; see :meth:`EventTransport.follow`."""
    pipe, loop = session.pipe, asyncio.get_running_loop()
    seen: dict[bytes, str] = {}
    followed: Followed | RungStreams | None = None
    reading = Retrying(logger, "reading events")
    looked_at, was_connected = 0.0, False
    try:
        while True:
            try:
                if loop.time() >= looked_at + BLOCK:
                    for key in set(await stream_keys(pipe, api, event)) - seen.keys():
                        # One that is found later on is new altogether.
                        seen[key] = "0-0" if looked_at else await _start(pipe, key, since)
                    looked_at = loop.time()
                if not seen:
                    await asyncio.sleep(BLOCK / 4)
                    continue
                followed = followed or await follow(session, seen)
                coming = await followed.read()
            except FAILURES as e:
                if not was_connected:
                    raise TransportUnavailable(f"events can't be read: {e}") from e
                await reading.wait(e)
                continue
            reading.clear()
            was_connected = True
            for key, entries in coming:
                seen[key] = entries[-1][0].decode()
                for message in _messages(decode, key, entries):
                    yield message
    finally:
        if followed is not None:
            await followed.close()


async def _start(pipe: Channel, key: bytes, since: float | None) -> str:
    """Return the id after which the events of a stream lie that are meant."""
    if since is not None:
        before = int(since * 1000) - 1
        return f"{before}-{_LAST}" if before >= 0 else "0-0"
    try:
        about = await pipe.send("XINFO", "STREAM", key)
    except ReplyError:
        return "0-0"  # It is not there yet.
    return str(about[about.index(b"last-generated-id") + 1].decode())


async def _backwards(
    pipe: Channel, decode: Decode, key: bytes, newest: str, oldest: str
) -> AsyncIterator[EventMessage]:
    count = FIRST_PAGE
    while entries := await pipe.send("XREVRANGE", key, newest, oldest, "COUNT", count):
        for message in _messages(decode, key, entries):
            yield message
        if len(entries) < count or newest == oldest:
            return
        newest = f"({entries[-1][0].decode()}"
        size = sum(len(value) for _, fields in entries for value in fields)
        count = max(1, min(_LARGEST_PAGE, 2 * count, len(entries) * _PAGE_BYTES // max(1, size)))


async def stream_keys(pipe: Channel, api: str = "*", event: str = "*") -> list[bytes]:
    """Return the keys of the streams that may carry some events, however they are spread over streams.

    Args:
        pipe: The shared connection.
        api: The API's name, in which ``*`` stands for anything.
        event: The event's name, likewise.
    """
    if "*" not in api + event:
        return [stream_key(api, event, use).encode() for use in ("per_api", "per_event")]
    wanted = matcher(stream_key(api, event, "per_api"))
    texts = ((key, key.decode("utf-8", "replace")) for key in await known(pipe))
    return sorted(key for key, text in texts if is_stream(text) and wanted.fullmatch(text))


def _messages(
    decode: Decode, key: bytes, entries: Sequence[tuple[bytes, Sequence[bytes]]]
) -> list[EventMessage]:
    """Decode a page; an entry that is no event is told of, and left out."""
    found = []
    for entry_id, fields in entries:
        try:
            message, _ = decode(fields, entry_id.decode())
        except InvalidMessage as e:
            where = key.decode("utf-8", "replace")
            logger.warning("the entry %s of %s can't be read: %s", entry_id.decode(), where, e)
            continue
        if message is not None:
            found.append(message)
    return found
