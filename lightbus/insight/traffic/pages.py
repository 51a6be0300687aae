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

#: The most events that are looked at for a page, and the most seconds that it takes.
_MOST_LOOKED_AT, _LONGEST = 20_000, 3.0
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
    """

    events: list[EventMessage]
    next: str = ""
    is_cut: bool = False
    reached: str = ""
    away: tuple[str, ...] = ()


async def page(
    client: BusClient,
    api_names: Sequence[str],
    query: Query,
    see: Callable[[EventMessage], EventMessage],
    *,
    place: str = "",
    limit: int = 50,
) -> Page:
    """Look for a page.

    Args:
        client: The bus.
        api_names: APIs whose brokers are searched.
        query: Chooses the events, by what may be seen of them: else a search would tell what is hidden.
        see: Returns an event as it may be seen.
        place: Where the page begins; empty for the newest.
        limit: How many are wanted.

    Raises:
        InvalidParameters: ``place`` is none.
        TransportError: A broker refuses it.
    """
    found = _PLACE.fullmatch(place)
    if place and found is None:
        raise InvalidParameters(f"{place!r} is no place in the past of the events")
    until, known = (found[1], int(found[2] or 0)) if found is not None else (None, 0)
    away: list[str] = []
    brokers = client.transports().brokers(api_names)
    merged = newest_first([reached(_past(broker, query, until), away) for broker in brokers])
    events: list[EventMessage] = []
    loop, looked_at, last, same = asyncio.get_running_loop(), 0, until or "", 0
    deadline, fits, is_over, is_cut = loop.time() + _LONGEST, query.test(), True, False
    async with aclosing(cast(Any, merged)) as messages:
        async for message in messages:
            native_id = message.native_id or ""
            is_cut = looked_at >= _MOST_LOOKED_AT or loop.time() > deadline
            if is_cut or len(events) >= limit:
                is_over = False
                break
            looked_at += 1
            same = same + 1 if native_id == last else 1
            last = native_id
            if native_id == until and same <= known:
                continue
            shown = see(message)
            if fits(shown):
                events.append(shown)
    following = "" if is_over or not last else f"{last}~{same}"
    return Page(events, following, is_cut, last if looked_at else "", tuple(away))


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
