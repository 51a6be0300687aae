"""Commands of several slots that one node has, and the replies to commands that are answered apart."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from lightbus.transports.redis.link.channel import Batch
from lightbus.transports.redis.link.deadlines import fail


class Mixed(Batch):
    """Commands of several slots, which one node has while they are sent.

    Together they cost a fraction of a batch for each slot. They are cut up by their slots as soon as one of
    those is elsewhere.

    Args:
        future: The future of their replies.
        slots: The slot of each command.
        parts: The bytes of each command.
        are_apart: Whether the replies to others don't wait for those to commands that are sent again by
            themselves: a future stands in the place of each.
    """

    __slots__ = ("are_apart", "parts", "slots")
    future: asyncio.Future[Any]

    def __init__(
        self,
        future: asyncio.Future[list[Any]],
        slots: Sequence[int],
        parts: Sequence[bytes],
        *,
        are_apart: bool,
    ) -> None:
        super().__init__(future, b"".join(parts), len(parts), single=False)
        self.slots, self.parts, self.are_apart = slots, parts, are_apart


class Joined:
    """The replies to commands that are answered apart, until all have come.

    Args:
        future: Gets them in the order of the commands.
        replies: As many as there are commands; those that are to come are put into their places.
        missing: How many are to come.
    """

    __slots__ = ("_future", "_missing", "_replies")

    def __init__(self, future: asyncio.Future[list[Any]], replies: list[Any], missing: int) -> None:
        self._future, self._replies, self._missing = future, replies, missing

    def collect(self, places: Sequence[int], part: asyncio.Future[list[Any]]) -> None:
        """Put replies into their places; the last ones complete the list."""
        if part.cancelled():
            return
        error = part.exception()
        if error is not None:
            fail(self._future, error)
            return
        for place, reply in zip(places, part.result(), strict=True):
            self._replies[place] = reply
        self._missing -= len(places)
        if not self._missing and not self._future.done():
            self._future.set_result(self._replies)
