"""Contracts in Redis: ``schema:{api}`` holds one with a TTL, ``schemas`` is the set of all names."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import msgspec

from lightbus.exceptions import InvalidMessage
from lightbus.transports.base import SchemaTransport

from .codec import check_limits, decode_json, encode_json
from .connection import ReplyError
from .options import RedisSchemaOptions
from .session import RedisTransport

logger = logging.getLogger(__name__)

_MAX_APIS = 10_000


def schema_key(api_name: str) -> str:
    """Return the key of an API's contract, which is there while somebody serves the API."""
    return f"schema:{api_name}"


class RedisSchemaTransport(RedisTransport, SchemaTransport):
    """Publishes contracts where Lightbus 1.x does, and reads them.

    Args:
        options: How to reach Redis.
    """

    options: ClassVar[type | None] = RedisSchemaOptions

    def __init__(self, options: RedisSchemaOptions | None = None) -> None:
        super().__init__(options or RedisSchemaOptions())

    async def store(self, contracts: Mapping[str, Mapping[str, Any]], ttl: float) -> None:
        """Publish contracts for ``ttl`` seconds."""
        if not contracts:
            return
        commands: list[tuple[Any, ...]] = [
            ("SET", schema_key(name), encode_json(contract), "EX", max(1, math.ceil(ttl)))
            for name, contract in contracts.items()
        ]
        commands.append(("SADD", "schemas", *contracts))
        for reply in await self.pipe.send_many(commands):
            if isinstance(reply, ReplyError):
                raise reply

    async def withdraw(self, api_names: Sequence[str]) -> None:
        """Remove contracts; their names stay in the set, as with Lightbus 1.x."""
        if api_names:
            await self.pipe.send("DEL", *(schema_key(name) for name in api_names))

    async def load(self) -> Mapping[str, Mapping[str, Any]]:
        """Return every contract on the bus that can be read."""
        names = [n.decode("utf-8", "replace") for n in await self.pipe.send("SMEMBERS", "schemas")]
        names = sorted(names)[:_MAX_APIS]
        if not names:
            return {}
        blobs = await self.pipe.send("MGET", *(schema_key(name) for name in names))
        contracts = {}
        for name, blob in zip(names, blobs, strict=True):
            if blob is None:
                continue
            try:
                check_limits(blob)
                contract = decode_json(blob)
            except (InvalidMessage, msgspec.MsgspecError, ValueError, RecursionError) as e:
                logger.warning("the contract of the API %.80r is unreadable and ignored: %s", name, e)
                continue
            if isinstance(contract, dict):
                contracts[name] = contract
        return contracts
