"""Commands that fail where Redis is away for some time, but not where the event loop was held up."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace
from typing import Any

import pytest

from lightbus.exceptions import TransportUnavailable
from lightbus.transports.redis.link.reaching.patience import Patience
from tests.support.eventually import eventually_async

SECONDS = 0.4


class Waiting:
    """A channel on which one command waits, and what has looked after it.

    Args:
        failure: Why there is no connection.
    """

    def __init__(self, failure: TransportUnavailable | None = None) -> None:
        self.command: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.looks = 0
        channel: Any = SimpleNamespace(unsent=self._unsent, failure=failure, address="here:6379")
        self.patience = Patience(channel, SECONDS)

    def _unsent(self) -> set[asyncio.Future[Any]]:
        self.looks += 1
        return {self.command}


@pytest.mark.parametrize("failure", [None, TransportUnavailable("Redis at here:6379 can't be reached")])
async def test_a_command_fails_that_has_waited_for_so_long(failure: TransportUnavailable | None) -> None:
    began, it = time.monotonic(), Waiting(failure)
    with pytest.raises(TransportUnavailable, match=r"here:6379 (does not answer|can't be reached)"):
        await it.command
    assert time.monotonic() - began >= SECONDS
    it.patience.end()


async def test_an_event_loop_that_was_held_up_takes_no_redis_for_away() -> None:
    it = Waiting()
    await eventually_async(lambda: it.looks >= 1)
    # What Redis has said meanwhile is not read before the loop goes on.
    time.sleep(2 * SECONDS)  # noqa: ASYNC251 - it is held up
    await eventually_async(lambda: it.looks >= 2)
    assert not it.command.done()
    it.patience.end()
