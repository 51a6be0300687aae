"""The patience of those who would rather hear that Redis is away than wait until it is back."""

from __future__ import annotations

import asyncio

from lightbus.exceptions import TransportUnavailable
from lightbus.transports.redis.link.channel import Channel
from lightbus.transports.redis.link.deadlines import Outcome, fail

#: So many times it is looked within the patience.
_LOOKS = 4


class Patience:
    """Lets commands fail that have waited for a connection for too long.

    Args:
        channel: The way on which they wait.
        seconds: For how long they may.
    """

    def __init__(self, channel: Channel, seconds: float) -> None:
        self._channel, self._seconds = channel, seconds
        self._loop = asyncio.get_running_loop()
        self._since: dict[Outcome, float] = {}
        self._timer = self._loop.call_later(seconds / _LOOKS, self._look)

    def end(self) -> None:
        """Look no more."""
        self._timer.cancel()

    def _look(self) -> None:
        now, before = self._loop.time(), self._since
        self._since = {each: before.get(each, now) for each in self._channel.unsent()}
        late = [each for each, since in self._since.items() if now - since >= self._seconds]
        for each in late:
            failure = self._channel.failure
            fail(each, failure or TransportUnavailable(f"Redis at {self._channel.address} does not answer"))
        self._timer = self._loop.call_later(self._seconds / _LOOKS, self._look)
