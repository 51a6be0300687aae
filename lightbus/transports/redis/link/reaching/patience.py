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
        # How often each was seen. The clock goes on while the event loop is held up, and Redis may have
        # answered meanwhile: what has come is read between two looks.
        self._looks: dict[Outcome, int] = {}
        self._timer = self._loop.call_later(seconds / _LOOKS, self._look)

    def end(self) -> None:
        """Look no more."""
        self._timer.cancel()

    def _look(self) -> None:
        before = self._looks
        self._looks = {each: before.get(each, 0) + 1 for each in self._channel.unsent()}
        late = [each for each, looks in self._looks.items() if looks > _LOOKS]
        for each in late:
            failure = self._channel.failure
            fail(each, failure or TransportUnavailable(f"Redis at {self._channel.address} does not answer"))
        self._timer = self._loop.call_later(self._seconds / _LOOKS, self._look)
