"""The events that streams still hold, page by page: backwards from the newest, or as they come."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from lightbus.exceptions import InvalidMessage, TransportUnavailable
from lightbus.messages import EventMessage
from lightbus.runtime.retrying import Retrying
from lightbus.transports.merging import NATIVE_ID, matcher, newest_first
from lightbus.transports.redis.custom_codec import Decode
from lightbus.transports.redis.keys import is_stream, stream_key
from lightbus.transports.redis.link.channel import Channel
from lightbus.transports.redis.link.connection import BLOCK, FAILURES, Link, unavailable
from lightbus.transports.redis.link.refusals import ReplyError
from lightbus.transports.redis.link.session import Session

from .noted import known

logger = logging.getLogger(__name__)

_FIRST_PAGE = 50
_LARGEST_PAGE = 1_000
#: A page has about so many bytes, whatever its events are.
_PAGE_BYTES = 1024 * 1024
_LAST = 2**64 - 1

#: Streams, each with some entries.
_Entries = Sequence[tuple[bytes, Sequence[Any]]]


async def past(
    pipe: Channel, decode: Decode, api: str, event: str, since: float | None, native_id: str | None
) -> AsyncIterator[EventMessage]:
    """Go through the events that are there now, the newest first; see :meth:`EventTransport.history`."""
    if native_id is not None and not NATIVE_ID.fullmatch(native_id):
        return
    oldest = "-" if since is None else f"{int(max(0.0, since) * 1000)}-0"
    bounds = ("+", oldest) if native_id is None else (native_id, native_id)
    with unavailable("events can't be read"):
        keys = await stream_keys(pipe, api, event)
        async for message in newest_first([_backwards(pipe, decode, key, *bounds) for key in keys]):
            yield message


async def coming(
    session: Session, decode: Decode, api: str, event: str, since: float | None
) -> AsyncIterator[EventMessage]:
    """Go through the events that come from now on, or since a time; see :meth:`EventTransport.follow`."""
    pipe, loop = session.pipe, asyncio.get_running_loop()
    seen: dict[bytes, str] = {}
    followed = _Followed(session, seen)
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
        await followed.close()


class _Followed:
    """The streams whose coming events are read: at the same time, with one read for those of one slot.

    Args:
        session: The Redis.
        seen: The streams, each with the id after which it is read on.
    """

    def __init__(self, session: Session, seen: Mapping[bytes, str]) -> None:
        self._session = session
        self._seen = seen
        #: The connection and the read of each slot, by the first of its streams.
        self._links: dict[bytes, Link] = {}
        self._reads: dict[bytes, asyncio.Task[_Entries]] = {}

    async def read(self) -> _Entries:
        """Return the streams that have new entries, with these; nothing if none came for a while.

        Raises:
            LinkBroken, ReplyError, TransportUnavailable: Some of them can't be read just now.
        """
        for keys in self._session.together(self._seen):
            first = keys[0]
            if first not in self._links:
                self._links[first] = self._session.link(first.decode("utf-8", "surrogateescape"))
            if first not in self._reads:
                work = self._read(self._links[first], {key: self._seen[key] for key in keys})
                self._reads[first] = asyncio.create_task(work, name="lightbus following")
        await asyncio.wait(self._reads.values(), return_when=asyncio.FIRST_COMPLETED)
        for first, reading in self._reads.items():
            if reading.done():
                # The others that are done are looked at the next time.
                del self._reads[first]
                return reading.result()
        return ()

    async def close(self) -> None:
        """End the reads and close the connections."""
        for reading in self._reads.values():
            reading.cancel()
        await asyncio.gather(*self._reads.values(), return_exceptions=True)
        for link in self._links.values():
            await link.close()

    async def _read(self, link: Link, after: Mapping[bytes, str]) -> _Entries:
        command = ("XREAD", "COUNT", _FIRST_PAGE, "BLOCK", int(BLOCK * 1000), "STREAMS")
        (reply,) = await link.exchange([(*command, *after, *after.values())], BLOCK + 2)
        if isinstance(reply, ReplyError):
            raise reply
        return reply or ()


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
    count = _FIRST_PAGE
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
