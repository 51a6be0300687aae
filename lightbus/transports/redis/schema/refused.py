"""Errors of Redis in the words of the port for contracts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lightbus.exceptions import TransportError, TransportUnavailable
from lightbus.transports.redis.link.connection import LinkBroken
from lightbus.transports.redis.link.refusals import ReplyError


@contextmanager
def either(what: str) -> Iterator[None]:
    """Turn errors of Redis into those of the port: it is away, or this user may not do that."""
    try:
        yield
    except LinkBroken as e:
        raise TransportUnavailable(f"{what}: {e}") from None
    except ReplyError as e:
        kind = TransportError if e.code in ("NOPERM", "WRONGTYPE") else TransportUnavailable
        raise kind(f"{what}: {e}") from None
