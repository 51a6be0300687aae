"""The audit in Redis: the stream ``lightbus:audit`` has an entry before and after each act, as JSON."""

from __future__ import annotations

from lightbus.transports.audit import MOST_ENTRIES, Act, read_act, write_act
from lightbus.transports.redis.keys import AUDIT
from lightbus.transports.redis.link.channel import Channel

from .refused import either

_FIELD = b"act"


async def note(pipe: Channel, act: Act) -> None:
    """Add an entry; about so many of the newest are kept."""
    with either("the audit can't be written"):
        await pipe.send("XADD", AUDIT, "MAXLEN", "~", MOST_ENTRIES, "*", _FIELD, write_act(act))


async def past(pipe: Channel, before: str, count: int) -> list[Act]:
    """Return entries before one, the newest first."""
    return await _read(pipe, "XREVRANGE", f"({before}" if before else "+", "-", count)


async def after(pipe: Channel, since: str, count: int) -> list[Act]:
    """Return entries after one, the oldest first."""
    return await _read(pipe, "XRANGE", f"({since}" if since else "-", "+", count)


async def _read(pipe: Channel, command: str, first: str, last: str, count: int) -> list[Act]:
    with either("the audit can't be read"):
        entries = await pipe.send(command, AUDIT, first, last, "COUNT", count)
    read = []
    for entry_id, flat in entries:
        blob = dict(zip(flat[::2], flat[1::2], strict=True)).get(_FIELD, b"")
        at = int(entry_id.partition(b"-")[0]) / 1000
        # One that is unreadable is shown as such: none is left out, and pages stay full.
        read.append(read_act(blob, entry_id.decode(), at))
    return read
