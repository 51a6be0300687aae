"""The streams of which somebody follows the coming events."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from lightbus.runtime.cancellation import end_all
from lightbus.transports.redis.link.cluster.bells import Bells, OnRing
from lightbus.transports.redis.link.connection import BLOCK, Link
from lightbus.transports.redis.link.refusals import ReplyError
from lightbus.transports.redis.link.session import Session

#: The most events that are read of a stream at a time.
FIRST_PAGE = 50

#: Streams, each with some entries.
Entries = Sequence[tuple[bytes, Sequence[Any]]]


async def follow(session: Session, seen: Mapping[bytes, str]) -> Followed | RungStreams:
    """Return what reads the coming events of streams, over connections that wait or by bells.

    Args:
        session: The Redis.
        seen: The streams, each with the id after which it is read on. There may be more later on.
    """
    followed = Followed(session, seen)
    bells = await session.bells_for(followed, map(_text, seen))
    return followed if bells is None else RungStreams(session, bells, seen)


class Followed:
    """Streams that are read by connections that wait: at the same time, with one read for those of one slot.

    Args:
        session: The Redis.
        seen: The streams, each with the id after which it is read on.
    """

    def __init__(self, session: Session, seen: Mapping[bytes, str]) -> None:
        self._session = session
        self._seen = seen
        #: The connection and the read of each slot, by the first of its streams.
        self._links: dict[bytes, Link] = {}
        self._reads: dict[bytes, asyncio.Task[Entries]] = {}

    async def read(self) -> Entries:
        """Return the streams that have new entries, with these; nothing if none came for a while.

        Raises:
            LinkBroken, ReplyError, TransportUnavailable: Some of them can't be read just now.
        """
        for keys in self._session.together(self._seen):
            first = keys[0]
            if first not in self._links:
                self._links[first] = self._session.link(_text(first))
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
        """Close the connections and end the reads."""
        # At first what nobody else would close: whoever waits below may be cancelled once more.
        for link in self._links.values():
            await link.close()
        await end_all(self._reads.values())

    async def _read(self, link: Link, after: Mapping[bytes, str]) -> Entries:
        command = ("XREAD", "COUNT", FIRST_PAGE, "BLOCK", int(BLOCK * 1000), "STREAMS")
        (reply,) = await link.exchange([(*command, *after, *after.values())], BLOCK + 2)
        if isinstance(reply, ReplyError):
            raise reply
        return reply or ()


class RungStreams:
    """Streams that are read over the shared connections, whenever their bells are rung.

    Args:
        session: The cluster.
        bells: The bells.
        seen: The streams, each with the id after which it is read on.
    """

    def __init__(self, session: Session, bells: Bells, seen: Mapping[bytes, str]) -> None:
        self._pipe, self._bells, self._seen = session.pipe, bells, seen
        self._hearing: dict[bytes, OnRing] = {}
        self._rung: dict[bytes, None] = {}
        self._has_rung = asyncio.Event()

    async def read(self) -> Entries:
        """Return the streams that have new entries, with these; nothing if none came for a while.

        Raises:
            LinkBroken, ReplyError, TransportUnavailable: Some of them can't be read just now.
        """
        for key in self._seen.keys() - self._hearing.keys():
            on_ring = self._hearing[key] = partial(self._note_ring, key)
            self._bells.hear(_text(key), on_ring)
        try:
            async with asyncio.timeout(BLOCK):
                await self._has_rung.wait()
        except TimeoutError:
            return ()
        rung, self._rung = self._rung, {}
        self._has_rung.clear()
        try:
            reads = [("XREAD", "COUNT", FIRST_PAGE, "STREAMS", key, self._seen[key]) for key in rung]
            replies = await self._pipe.send_many(reads)
            for reply in replies:
                if isinstance(reply, ReplyError):
                    raise reply
        except BaseException:
            for key in rung:
                self._note_ring(key, None)
            raise
        found = [stream for reply in replies for stream in reply or ()]
        for key, entries in found:
            if len(entries) >= FIRST_PAGE:
                self._note_ring(key, None)
        return found

    async def close(self) -> None:
        """Hear nothing any more."""
        for key, on_ring in self._hearing.items():
            self._bells.unhear(_text(key), on_ring)

    def _note_ring(self, key: bytes, _: str | None) -> None:
        self._rung[key] = None
        self._has_rung.set()


def _text(key: bytes) -> str:
    return key.decode("utf-8", "surrogateescape")
