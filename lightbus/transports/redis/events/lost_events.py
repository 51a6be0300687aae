"""Events whose confirmation was lost with the link: a search finds those that are stored all the same."""

from __future__ import annotations

import asyncio
from collections.abc import Container
from dataclasses import dataclass
from itertools import chain

from lightbus.exceptions import BusAlreadyClosed
from lightbus.runtime.cancellation import end, is_ending
from lightbus.runtime.retrying import backoff
from lightbus.runtime.tasks import begin
from lightbus.transports.redis.link.channel import Channel
from lightbus.transports.redis.link.connection import LinkBroken
from lightbus.transports.redis.link.deadlines import fail
from lightbus.transports.redis.link.refusals import ReplyError
from lightbus.transports.redis.scripts import FIND

#: How many entries are looked at with one command, so that Redis keeps nobody waiting for long.
_PAGE = 200
#: How many are looked at in any case, though they seem older than the events: a clock may have been set.
_AT_LEAST = 4_000
#: Milliseconds by which an entry must seem older, for the same reason.
_MARGIN = 5_000
#: The most seconds before Redis is asked again that could not answer just then.
_LONGEST_PAUSE = 0.5


@dataclass(slots=True, eq=False)
class _Lost:
    """An event that is looked for.

    Args:
        after: The id of an entry that was there before the event was sent; ``-`` if none is known.
        sent_at: When it was sent, by the event loop's clock.
        known: The ids of entries that are other events.
        found: Takes the id of its entry, or None if the stream does not have it.
    """

    after: str
    sent_at: float
    known: Container[str | None]
    found: asyncio.Future[str | None]


class LostEvents:
    """Looks for lost events of one stream: once, backwards from its end, for all that one link has lost.

    Args:
        pipe: The Redis.
        stream: The stream.
    """

    def __init__(self, pipe: Channel, stream: str) -> None:
        self._pipe = pipe
        self._stream = stream
        self._wanted: dict[str, list[_Lost]] = {}
        #: Those for which the stream is walked just now.
        self._walked: dict[str, list[_Lost]] = {}
        self._search: asyncio.Task[None] | None = None
        #: Set while a search that has ended by accident waits to be begun again.
        self._again: asyncio.TimerHandle | None = None
        #: How often in a row that was.
        self._accidents = 0

    def find(
        self, message_id: str, after: str, sent_at: float, known: Container[str | None]
    ) -> asyncio.Future[str | None]:
        """Look for an event.

        Args:
            message_id: Its id.
            after: The id of an entry that was there before the event was sent; ``-`` if none is known.
            sent_at: When it was sent, by the event loop's clock.
            known: The ids of entries that are other events, although they may have the same id.

        Returns:
            A future of the id of its entry, or None if the stream does not have it. It fails with
            :class:`ReplyError` if Redis refuses to look.
        """
        loop = asyncio.get_running_loop()
        lost = _Lost(after, sent_at, known, loop.create_future())
        self._wanted.setdefault(message_id, []).append(lost)
        if self._search is None and self._again is None:
            self._begin()
        return lost.found

    async def close(self) -> None:
        """Look no more."""
        if self._again is not None:
            self._again.cancel()
            self._again = None
        if self._search is not None:
            end(self._search)
            await asyncio.wait([self._search])
        self._fail(BusAlreadyClosed("the bus was closed while it looked for an event"))

    def _begin(self) -> None:
        self._again = None
        self._search = begin(self._look(), "lightbus lost events")
        self._search.add_done_callback(self._after)

    def _after(self, search: asyncio.Task[None]) -> None:
        self._search = None
        if is_ending(search) or not (search.cancelled() or search.exception()):
            return
        # The log has this accident. Those that wait are looked for once more, but not at once: no task may be
        # begun where the event loop ends.
        self._accidents += 1
        for message_id, same in self._walked.items():
            self._wanted.setdefault(message_id, []).extend(same)
        pause = backoff(self._accidents, _LONGEST_PAUSE)
        self._again = asyncio.get_running_loop().call_later(pause, self._begin)

    async def _look(self) -> None:
        try:
            while self._wanted:
                # All that the link has lost is told within one turn of the event loop.
                await asyncio.sleep(0)
                self._walked, self._wanted = self._wanted, {}
                await self._walk(self._walked)
        except (ReplyError, BusAlreadyClosed) as e:
            self._fail(e)
        self._walked = {}
        self._accidents = 0

    def _fail(self, error: Exception) -> None:
        """Tell all who wait that their events can't be looked for."""
        for lost in chain(*self._walked.values(), *self._wanted.values()):
            fail(lost.found, error)
        self._walked, self._wanted = {}, {}

    async def _walk(self, wanted: dict[str, list[_Lost]]) -> None:
        """Go through the stream for some events, to before the oldest of them was sent."""
        everyone = [lost for same in wanted.values() for lost in same]
        after = min((lost.after for lost in everyone), key=_order)
        sent_at = min(lost.sent_at for lost in everyone)
        loop = asyncio.get_running_loop()
        newest, oldest = "+", after if after == "-" else f"({after}"
        looked_at = failures = 0
        left = set(wanted)
        while left:
            age = int((loop.time() - sent_at) * 1000) + _MARGIN
            try:
                find = FIND(stream=self._stream, newest=newest, oldest=oldest, most=_PAGE, age=age, ids=left)
                last, is_old, found = await self._pipe.run(find)
            except LinkBroken:
                continue
            except ReplyError as e:
                if not e.passes:
                    raise
                failures += 1
                await asyncio.sleep(backoff(failures, _LONGEST_PAUSE))
                continue
            for message_id, entry_id in zip(found[::2], found[1::2], strict=True):
                _assign(wanted[message_id.decode()], entry_id.decode())
            looked_at += _PAGE
            if not last or (is_old and looked_at >= _AT_LEAST):
                break
            newest = f"({last.decode()}"
            # Those that have no time left are looked for no longer.
            left = {name for name in left if any(not lost.found.done() for lost in wanted[name])}
        for lost in everyone:
            if not lost.found.done():
                lost.found.set_result(None)


def _assign(same: list[_Lost], entry_id: str) -> None:
    """Give an entry to one of the events that have its event's id."""
    lost = next((lost for lost in same if not lost.found.done() and entry_id not in lost.known), None)
    if lost is not None:
        lost.found.set_result(entry_id)


def _order(entry_id: str) -> tuple[int, int]:
    milliseconds, _, number = entry_id.partition("-")
    return int(milliseconds or -1), int(number or 0)
