"""The end of a connection of which nothing is wanted any more."""

from __future__ import annotations

import logging

from redis.asyncio.connection import AbstractConnection

from .reasons import words_of

logger = logging.getLogger(__name__)


async def discard(connection: AbstractConnection) -> None:
    """Close a connection without its last words, whatever it says to that."""
    try:
        await connection.disconnect(nowait=True)
    except Exception as e:
        logger.debug("closing a connection to Redis: %s", words_of(e))
