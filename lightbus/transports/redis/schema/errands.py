"""What is to be done, in Redis: the hash ``lightbus:errands`` has each errand as JSON, by its id."""

from __future__ import annotations

from lightbus.transports.redis.keys import ERRANDS
from lightbus.transports.redis.link.channel import Channel

from .refused import either


async def note(pipe: Channel, errand_id: str, errand: bytes) -> None:
    """Keep one."""
    with either("what is to be done can't be noted"):
        await pipe.send("HSET", ERRANDS, errand_id, errand)


async def read(pipe: Channel) -> dict[str, bytes]:
    """Return all that there are."""
    with either("what is to be done can't be read"):
        flat = await pipe.send("HGETALL", ERRANDS)
    return {name.decode("utf-8", "replace"): blob for name, blob in zip(flat[::2], flat[1::2], strict=True)}


async def end(pipe: Channel, errand_id: str) -> bool:
    """Forget one; tell whether it was there."""
    with either("what is done can't be forgotten"):
        return bool(await pipe.send("HDEL", ERRANDS, errand_id))
