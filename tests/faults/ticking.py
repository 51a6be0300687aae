"""A bus module with one schedule of the whole service, which writes down which ticks it gets and runs."""

from __future__ import annotations

from typing import Any

import lightbus
from lightbus.transports.redis.schema import RedisSchemaTransport

from .ledger import own_ledger

bus = lightbus.create()
written = own_ledger("ticking")
claim = RedisSchemaTransport.claim


async def claim_and_write(
    self: RedisSchemaTransport, schedule: str, tick: float, *args: Any, **kwargs: Any
) -> Any:
    outcome = await claim(self, schedule, tick, *args, **kwargs)
    written.write("claim", round(tick), outcome)
    return outcome


RedisSchemaTransport.claim = claim_and_write  # type: ignore[method-assign]


@bus.client.every(seconds=1, scope="service")
def beat() -> None:
    """Run once per second, in whichever process."""
    written.write("run")
