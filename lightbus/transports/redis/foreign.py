"""Contracts that a Lightbus 1.x has published, told from those of this version."""

from __future__ import annotations

from .keys import contract_digest, publishers_key, schema_key
from .link.channel import Channel
from .link.refusals import ReplyError


async def is_foreign(pipe: Channel, api_name: str) -> bool:
    """Tell whether the contract of an API comes from a Lightbus 1.x: nobody of this version stands for it.

    The names of its publishers end with its digest. No script reads them, since a script needs keys that are
    writable, and callers have nothing to write there.
    """
    contract, publishers = ("GET", schema_key(api_name)), ("ZRANGEBYSCORE", publishers_key(api_name))
    replies = await pipe.send_many([contract, (*publishers, "-inf", "+inf", "WITHSCORES"), ("TIME",)])
    for reply in replies:
        if isinstance(reply, ReplyError):
            raise reply
    contract, publishers, (seconds, micros) = replies
    if contract is None:
        return False
    now, digest = int(seconds) + int(micros) / 1e6, contract_digest(contract).encode()
    until = zip(publishers[::2], publishers[1::2], strict=True)
    return not any(name.endswith(digest) and float(score) >= now for name, score in until)
