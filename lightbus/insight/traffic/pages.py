"""Past events page by page, the newest first: each is found in a bounded time."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, cast

from lightbus.bus.client import BusClient
from lightbus.exceptions import InvalidParameters, TransportUnavailable
from lightbus.insight.search import Query, reached, since_of
from lightbus.messages import EventMessage
from lightbus.transports.events import EventTransport
from lightbus.transports.merging import newest_first

#: The most events that are looked at for a page, and the most seconds for that.
_MOST_LOOKED_AT, _LONGEST = 20_000, 3.0
#: The seconds where somebody waits for it, and the least events that are looked at: each page goes on.
_QUICK, _LEAST = 0.2, 100
#: The id from which a page begins, and how many events of that id were on pages before.
_PLACE = re.compile(r"(\d{1,20}-\d{1,20})(?:~(\d{1,9}))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Page:
    """Some of the events that are meant.

    Args:
        events: Those, the newest first, as they may be seen.
        next: Where the next page begins; empty if there is none.
        is_cut: Whether fewer were found than wanted, since not all could be looked at in time.
        reached: The broker's id of the oldest event that was looked at; empty if none was.
        away: Why which broker can't be reached.
        looked_at: How many events were looked at.
    """

    events: list[EventMessage]
    next: str = ""
    is_cut: bool = False
    reached: str = ""
    away: tuple[str, ...] = ()
    looked_at: int = 0


async def page(
    client: BusClient,
    api_names: Sequence[str],
    query: Query,
    see: Callable[[EventMessage], EventMessage],
    *,
    place: str = "",
    limit: int = 50,
    is_quick: bool = False,
) -> Page:
    """Look for a page.

    Args:
        client: The bus.
        api_names: APIs whose brokers are searched.
        query: Chooses the events, by what may be seen of them: else a search would tell what is hidden.
        see: Returns an event as it may be seen.
        place: Where the page begins; empty for the newest.
        limit: How many are wanted.
        is_quick: Whether somebody waits for it, who would rather go on from where it was.

    Raises:
        InvalidParameters: ``place`` is none.
        TransportError: A broker refuses it.
    """
    until, known = _place(place) if place else (None, 0)
    away: list[str] = []
    brokers = client.transports().brokers(api_names)
    merged = newest_first([reached(_past(broker, query, until), away) for broker in brokers])
    events: list[EventMessage] = []
    is_enough, looked_at, last, same = _bound(_QUICK if is_quick else _LONGEST), 0, until or "", 0
    is_named, is_over, is_cut = query.test_of_names(), True, False
    async with aclosing(cast(Any, merged)) as messages:
        async for message in messages:
            native_id = message.native_id or ""
            is_cut = is_enough(looked_at)
            if is_cut or len(events) >= limit:
                is_over = False
                break
            same = same + 1 if native_id == last else 1
            last = native_id
            if native_id == until and same <= known:
                continue
            looked_at += 1
            # To see what may be seen of an event takes longer than to find out that it is not meant.
            if is_named(message) and query.has_arguments(shown := see(message)):
                events.append(shown)
    following = "" if is_over or not last else f"{last}~{same}"
    return Page(events, following, is_cut, last if looked_at else "", tuple(away), looked_at)


def _place(text: str) -> tuple[str, int]:
    """Read a place in the past; raises :exc:`InvalidParameters` if it is none."""
    found = _PLACE.fullmatch(text)
    if found is None:
        raise InvalidParameters(f"{text!r} is no place in the past of the events")
    return found[1], int(found[2] or 0)


def _bound(seconds: float) -> Callable[[int], bool]:
    """Return what tells whether as many events were looked at as may be, in a time from the first one on."""
    clock = asyncio.get_running_loop().time
    end: float | None = None

    def is_enough(looked_at: int) -> bool:
        nonlocal end
        end = clock() + seconds if end is None else end
        return looked_at >= _MOST_LOOKED_AT or (looked_at >= _LEAST and clock() > end)

    return is_enough


async def find(
    client: BusClient, api_names: Sequence[str], message_id: str, native_id: str | None
) -> EventMessage | None:
    """Return the newest event of an id that the brokers still have; None if there is none.

    Args:
        client: The bus.
        api_names: APIs whose brokers are searched.
        message_id: The event's id.
        native_id: The broker's id of it, by which it is found at once; None if that is not known.

    Raises:
        TransportError: A broker refuses it, or can't be reached.
    """
    query = Query(id=message_id, native_id=native_id)
    found = await page(client, api_names, query, lambda message: message, limit=1)
    if not found.events and found.away:
        raise TransportUnavailable("\n".join(found.away))
    return found.events[0] if found.events else None


async def _past(broker: EventTransport, query: Query, until: str | None) -> AsyncIterator[EventMessage]:
    since = await since_of(broker, query)
    history = broker.history(query.api, query.event, since=since, native_id=query.native_id, until=until)
    async for message in history:
        yield message
