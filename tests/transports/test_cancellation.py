"""Whoever waits for Redis can be cancelled at any moment."""

from __future__ import annotations

import asyncio

import pytest

from lightbus.options import SecretUrl
from lightbus.transports.redis.link.connection import Connector, Link
from lightbus.transports.redis.options import RedisOptions


@pytest.mark.parametrize("milliseconds", [0, 0.5, 1, 1.5, 2, 3, 4, 6, 50])
def test_a_blocking_read_ends_when_it_is_cancelled_even_while_it_connects(
    redis_url: str, milliseconds: float
) -> None:
    """On Python 3.11 a handshake under asyncio.wait_for swallowed some cancellations."""

    async def main() -> None:
        link = Link(Connector(RedisOptions(url=SecretUrl(redis_url))))

        async def read_for_ever() -> None:
            while True:
                await link.exchange([("BRPOP", "nothing", 2)], 60)

        task = asyncio.create_task(read_for_ever())
        await asyncio.sleep(milliseconds / 1000)
        task.cancel()
        done, _ = await asyncio.wait([task], timeout=60)
        assert done
        assert task.cancelled()

    asyncio.run(main())
