"""Takes many events and settles none, until it is killed: ``python -m tests.faults.holder URL COUNT``."""

from __future__ import annotations

import asyncio
import sys

from lightbus.declared.settings import Identity
from lightbus.options import Duration, SecretUrl
from lightbus.transports.events import Subscription
from lightbus.transports.redis.events.transport import RedisEventTransport
from lightbus.transports.redis.options import RedisEventOptions

#: What it says once it holds them all, and who it is.
HOLDS, NAME = "holds them all", "p-killed"
_PAGE = 500


async def hold(url: str, count: int) -> None:
    """Take so many events as the listener ``old`` of the service ``shop``, and wait for the end."""
    # It has nothing to renew before it is killed.
    options = RedisEventOptions(url=SecretUrl(url), acknowledgement_timeout=Duration(3600))
    transport = RedisEventTransport(options)
    wanted = Subscription("old", (("shop", "sold"),), {}, dedupe=3600, page=_PAGE)
    consumer = await transport.consume(wanted, Identity("shop", NAME))
    while count > 0:
        count -= len(await consumer.take(min(_PAGE, count)))
    print(HOLDS, flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(hold(sys.argv[1], int(sys.argv[2])))
