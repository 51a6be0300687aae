"""The events that come, for all who watch them: read once, and never more than each can take."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import replace
from typing import Any, cast

from lightbus.bus.client import BusClient
from lightbus.exceptions import LightbusException
from lightbus.insight.search import Query, search
from lightbus.messages import EventMessage
from lightbus.runtime.cancellation import end
from lightbus.runtime.tasks import begin

logger = logging.getLogger(__name__)

#: How many may watch at a time.
MOST = 20
#: Seconds until it is tried again where the events can't be read.
_PAUSE = 1.0


class Tail:
    """The events that somebody watches.

    Args:
        query: Chooses them, by what may be seen of them.
        see: Returns an event as it may be seen.
        most: How many are kept until they are taken; of others it is counted how many there are.
    """

    def __init__(self, query: Query, see: Callable[[EventMessage], EventMessage], most: int) -> None:
        self._is_named = replace(query, arguments=()).test()
        self._fits = query.test()
        self._looks_inside = bool(query.arguments)
        self._see = see
        self._most = most
        self._kept: list[EventMessage] = []
        self._more = 0

    def offer(self, message: EventMessage) -> None:
        """Keep an event if it is meant, and count it if too many are kept."""
        if not self._is_named(message):
            return
        is_full = len(self._kept) >= self._most
        if is_full and not self._looks_inside:
            self._more += 1
            return
        shown = self._see(message)
        if not self._fits(shown):
            return
        if is_full:
            self._more += 1
        else:
            self._kept.append(shown)

    def take(self) -> tuple[list[EventMessage], int]:
        """Return the events since the last time, the oldest first, and how many more there were."""
        kept, more = self._kept, self._more
        self._kept, self._more = [], 0
        return kept, more


class Tails:
    """All who watch events. Nothing is read while nobody does.

    Args:
        client: The bus.
        api_names: The APIs whose brokers are asked.
        see: Returns an event as it may be seen.
    """

    def __init__(
        self, client: BusClient, api_names: Sequence[str], see: Callable[[EventMessage], EventMessage]
    ) -> None:
        self._client = client
        self._api_names = api_names
        self._see = see
        self._tails: set[Tail] = set()
        self._following: asyncio.Task[None] | None = None
        #: Why no events can be read now; empty while they can.
        self.trouble = ""

    @contextmanager
    def opened(self, query: Query, most: int) -> Iterator[Tail | None]:
        """Watch events for a while; None if too many do already.

        Args:
            query: Chooses them.
            most: How many are kept until they are taken.
        """
        if len(self._tails) >= MOST:
            yield None
            return
        tail = Tail(query, self._see, most)
        self._tails.add(tail)
        try:
            self.see_to_it()
            yield tail
        finally:
            self._tails.discard(tail)
            if not self._tails and self._following is not None:
                end(self._following)

    def see_to_it(self) -> None:
        """Begin to read if nobody does, whatever has ended it."""
        if self._tails and (self._following is None or self._following.done()):
            self._following = begin(self._follow(), "lightbus console following")

    async def stop(self) -> None:
        """Read no more."""
        if self._following is not None:
            end(self._following)
            await asyncio.wait([self._following])

    async def _follow(self) -> None:
        while True:
            try:
                events = search(self._client, self._api_names, Query(internal=True, ago=0.0), follow=True)
                self.trouble = ""
                async with aclosing(cast(Any, events)) as coming:
                    async for message in coming:
                        self.trouble = ""
                        for tail in tuple(self._tails):
                            tail.offer(message)
            except LightbusException as e:
                self.trouble = str(e)
            except Exception:
                logger.exception("the events that come can't be read for the console")
                self.trouble = "they can't be read; the log of the console says why"
            await asyncio.sleep(_PAUSE)
