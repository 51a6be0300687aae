"""Events from several places as if they came from one."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heapreplace
from typing import Any, Self

from lightbus.messages import EventMessage
from lightbus.runtime.cancellation import end_all

#: The form of a native id: milliseconds of Unix time, and a number among those.
NATIVE_ID = re.compile(r"(\d{1,20})-(\d{1,20})", re.ASCII)
#: Neither part of an id can be so large.
_LAST = 2**64 - 1


@dataclass(frozen=True, slots=True, order=True)
class LetterId:
    """An id of a dead letter, by which those of all places have one order.

    Args:
        milliseconds: When it was put aside, in milliseconds of Unix time.
        number: Its number among those of that millisecond.
    """

    milliseconds: int
    number: int = 0

    @classmethod
    def read(cls, text: str) -> Self:
        """Read an id such as ``1764000000000-0``.

        Raises:
            ValueError: It is none.
        """
        found = NATIVE_ID.fullmatch(text)
        milliseconds, number = (int(found[1]), int(found[2])) if found is not None else (_LAST, 0)
        if milliseconds >= _LAST or number >= _LAST:
            raise ValueError(f"{text[:50]!r} is no id of a dead letter")
        return cls(milliseconds, number)

    def __str__(self) -> str:
        return f"{self.milliseconds}-{self.number}"


def matcher(pattern: str) -> re.Pattern[str]:
    """Return the regular expression of a pattern, in which ``*`` stands for anything."""
    return re.compile(".*".join(map(re.escape, pattern.split("*"))), re.DOTALL)


async def newest_first(sources: Sequence[AsyncIterator[EventMessage]]) -> AsyncIterator[EventMessage]:
    """Go through several histories as if they were one.

    Args:
        sources: Each with its newest event first.
    """
    first = await asyncio.gather(*(_next(source) for source in sources))
    heads: list[Any] = [
        (age_of(event.native_id), i, event) for i, event in enumerate(first) if event is not None
    ]
    heapify(heads)
    while heads:
        _, i, event = heads[0]
        yield event
        following = await _next(sources[i])
        if following is None:
            heappop(heads)
        else:
            heapreplace(heads, (age_of(following.native_id), i, following))


async def as_they_come(sources: Sequence[AsyncIterator[EventMessage]]) -> AsyncIterator[EventMessage]:
    """Go through several sources at once, for ever; an error of one of them ends all, and closes them."""
    waiting = {asyncio.ensure_future(_next(source)): source for source in sources}
    try:
        while waiting:
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                source = waiting.pop(task)
                event = task.result()
                if event is not None:
                    waiting[asyncio.ensure_future(_next(source))] = source
                    yield event
    finally:
        try:
            await end_all(waiting)
        finally:
            # One that was not asked again, or whose task ended before its first step, has not heard of it.
            await asyncio.gather(*(_close(source) for source in sources))


async def _next(source: AsyncIterator[EventMessage]) -> EventMessage | None:
    return await anext(source, None)


async def _close(source: AsyncIterator[EventMessage]) -> None:
    if isinstance(source, AsyncGenerator):
        await source.aclose()


def age_of(native_id: str | None) -> tuple[int, int]:
    """Return what is less of an event that is newer, by the broker's id of it."""
    found = NATIVE_ID.fullmatch(native_id or "")
    return (-int(found[1]), -int(found[2])) if found else (0, 0)


def stored_at(native_id: str | None) -> float | None:
    """Return when an event was stored, as a Unix time; None if the broker's id of it does not tell."""
    milliseconds = -age_of(native_id)[0]
    return milliseconds / 1000 if milliseconds else None
