"""Dead letters as an operator handles them."""

from __future__ import annotations

import asyncio

from lightbus.options import SecretUrl
from lightbus.transports.redis.events.transport import RedisEventTransport
from lightbus.transports.redis.options import RedisEventOptions


def replay_all(url: str) -> list[bool]:
    """Replay every dead letter; returns of each whether that went well."""

    async def replay() -> list[bool]:
        transport = RedisEventTransport(RedisEventOptions(url=SecretUrl(url)))
        try:
            # Listed first: what is put aside again is another letter.
            letters = [letter async for letter in transport.list_dead()]
            return [await transport.replay(letter) for letter in letters]
        finally:
            await transport.close()

    return asyncio.run(replay())
