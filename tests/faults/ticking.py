"""A bus module with one schedule of the whole service, which writes down which ticks it gets and runs."""

from __future__ import annotations

from typing import Any

import lightbus
from lightbus.transports.redis.schema import RedisSchemaTransport

from .ledger import own_ledger

bus = lightbus.create()
written = own_ledger("ticking")
claim, hold = RedisSchemaTransport.claim, RedisSchemaTransport.hold


async def claim_and_write(
    self: RedisSchemaTransport, schedule: str, tick: float, *args: Any, **kwargs: Any
) -> Any:
    outcome = "unanswered"
    try:
        outcome = await claim(self, schedule, tick, *args, **kwargs)
    finally:
        written.write("claim", round(tick), outcome)
    return outcome


async def hold_and_write(self: RedisSchemaTransport, schedule: str, holder: str, lease: float) -> bool:
    try:
        return await hold(self, schedule, holder, lease)
    finally:
        written.write("held" if lease else "released")


RedisSchemaTransport.claim = claim_and_write  # type: ignore[method-assign]
RedisSchemaTransport.hold = hold_and_write  # type: ignore[method-assign]


@bus.client.every(seconds=1, scope="service")
def beat() -> None:
    """Run once per second, in whichever process."""
    written.write("run")
