"""Events that are over, from several places: in the order of their time."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from heapq import heapify, heappop, heapreplace
from typing import Any

from lightbus.messages import EventMessage

#: What a native id looks like: milliseconds of Unix time, and a number among those.
NATIVE_ID = re.compile(r"(\d{1,20})-(\d{1,20})", re.ASCII)


def matcher(pattern: str) -> re.Pattern[str]:
    """Return what matches names of a pattern, in which ``*`` stands for anything."""
    return re.compile(".*".join(map(re.escape, pattern.split("*"))), re.DOTALL)


async def newest_first(sources: Sequence[AsyncIterator[EventMessage]]) -> AsyncIterator[EventMessage]:
    """Go through several histories as if they were one.

    Args:
        sources: Each with its newest event first.
    """
    first = await asyncio.gather(*(_next(source) for source in sources))
    heads: list[Any] = [(_age(event), i, event) for i, event in enumerate(first) if event is not None]
    heapify(heads)
    while heads:
        _, i, event = heads[0]
        yield event
        following = await _next(sources[i])
        if following is None:
            heappop(heads)
        else:
            heapreplace(heads, (_age(following), i, following))


async def _next(source: AsyncIterator[EventMessage]) -> EventMessage | None:
    return await anext(source, None)


def _age(event: EventMessage) -> tuple[int, int]:
    found = NATIVE_ID.fullmatch(event.native_id or "")
    return (-int(found[1]), -int(found[2])) if found else (0, 0)
