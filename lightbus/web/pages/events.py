"""The pages of events: those that the brokers still have, and each by itself with where it is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from shlex import quote
from urllib.parse import urlencode

from starlette.responses import Response

from lightbus.exceptions import TransportUnavailable
from lightbus.insight.search import Query, argument_test, comparison, fields_of, moment
from lightbus.insight.traffic.pages import Page, find, page
from lightbus.insight.traffic.where import Place, where
from lightbus.messages import EventMessage
from lightbus.transports.merging import stored_at
from lightbus.web.asking import Asked, Fields, Screen
from lightbus.web.reading import without_arguments

#: How many events a page has, and a file.
_MOST, _MOST_IN_FILE = 50, 1_000
#: How much of the arguments a list shows.
_SHORT = 160
#: What the address of the page may say of the events that are meant.
_WORDS = ("api", "event", "version", "where", "since")


@dataclass(frozen=True, slots=True)
class Shown:
    """An event in a list.

    Args:
        it: The event, without its arguments.
        at: When it was stored, as a Unix time; None if that is not known.
        arguments: Its arguments, cut if they are long.
    """

    it: EventMessage
    at: float | None
    arguments: str


@dataclass(frozen=True, slots=True)
class Events:
    """A page of events.

    Args:
        events: The events, the newest first.
        words: Which are meant, as the form says it.
        page: What else is known of the page.
        reached: When the oldest event was stored that was looked at, as a Unix time; None if none was.
        same: The words, for addresses of other pages.
        is_first: Whether no newer events are on other pages.
    """

    events: list[Shown]
    words: Mapping[str, str]
    page: Page
    reached: float | None
    same: str
    is_first: bool


@dataclass(frozen=True, slots=True)
class Event:
    """The page of one event.

    Args:
        it: The event, as it may be seen.
        at: When it was stored, as a Unix time; None if that is not known.
        json: All of it, to read and to copy.
        places: Where it is for each listener, with that in words.
        command: The command that shows the same.
        has_hidden: Whether something of it is hidden.
    """

    it: EventMessage
    at: float | None
    json: str
    places: list[tuple[Place, str]]
    command: str
    has_hidden: bool


@dataclass(frozen=True, slots=True)
class Sought:
    """An event that is not among those that were looked at so far.

    Args:
        page: How far that was.
        reached: When the oldest of them was stored, as a Unix time; None if none was.
        command: The command that looks at all.
    """

    page: Page
    reached: float | None
    command: str


def words_of(fields: Fields) -> dict[str, str]:
    """Return what the address of a page says of the events that are meant."""
    return {name: fields.text(name) for name in _WORDS}


def query_of(fields: Fields) -> Query:
    """Return which events the address of a page means.

    Raises:
        InvalidParameters: One of its words can't be understood.
    """
    given = words_of(fields)
    since, ago = moment(given["since"]) if given["since"] else (None, None)
    return Query(
        api=given["api"] or "*",
        event=given["event"] or "*",
        version=comparison(given["version"]) if given["version"] else None,
        arguments=(argument_test(given["where"]),) if given["where"] else (),
        since=since,
        ago=ago,
    )


async def events(asked: Asked) -> Events:
    """Ask for a page of events.

    Raises:
        InvalidParameters: The address says what can't be understood.
        TransportError: The bus does not answer, or refuses.
    """
    found = await _page(asked, _MOST, is_quick=True)
    words = words_of(asked.fields)
    return Events(
        [shown_of(each) for each in found.events],
        words,
        # The page may be kept for long, and events may be large.
        replace(found, events=[]),
        stored_at(found.reached),
        address_of(words),
        not asked.fields.text("place"),
    )


async def lines(asked: Asked) -> Response:
    """Ask for events as a file of lines of JSON, the newest first; raises as :func:`events`."""
    found = await _page(asked, _MOST_IN_FILE)
    text = "".join(f"{json.dumps(fields_of(each), ensure_ascii=False)}\n" for each in found.events)
    named = {"Content-Disposition": 'attachment; filename="events.jsonl"'}
    return Response(text, media_type="application/jsonl", headers=named)


async def event(asked: Asked) -> Event | Sought | None:
    """Ask where an event is; None if the brokers do not have it. Raises as :func:`events`."""
    native_id = asked.fields.text("at")
    message = await find(asked.client, asked.api_names, asked.name, native_id) if native_id else None
    if message is None:
        query, place = Query(id=asked.name), asked.fields.text("before")
        found = await page(
            asked.client, asked.api_names, query, lambda it: it, place=place, limit=1, is_quick=True
        )
        if not found.events and found.away:
            raise TransportUnavailable("\n".join(found.away))
        if not found.events:
            command = f"lightbus inspect --id {quote(asked.name)}"
            return Sought(found, stored_at(found.reached), command) if found.next else None
        message = found.events[0]
    look = (await asked.looks.look()).value
    places = await where(asked.client, asked.api_names, message, look.cards if look is not None else None)
    now = await asked.client.transports().schema().now()
    shown = asked.looks.masking.message(message)
    return Event(
        shown,
        stored_at(shown.native_id),
        json.dumps(fields_of(shown), ensure_ascii=False, indent=2),
        [(each, each.in_words(now)) for each in places],
        f"lightbus inspect --id {quote(shown.id)}",
        shown.kwargs != message.kwargs,
    )


def address_of(words: Mapping[str, str]) -> str:
    """Return words as they are in an address."""
    return urlencode({name: text for name, text in words.items() if text})


def shown_of(message: EventMessage) -> Shown:
    """Return how an event, as it may be seen, is shown in a list."""
    text = json.dumps(message.kwargs, ensure_ascii=False)
    cut = text if len(text) <= _SHORT else f"{text[:_SHORT]}…"
    return Shown(without_arguments(message), stored_at(message.native_id), cut)


async def _page(asked: Asked, limit: int, *, is_quick: bool = False) -> Page:
    query, place, see = query_of(asked.fields), asked.fields.text("place"), asked.looks.masking.message
    # Masks with the contracts that are on the bus now: of what has none, nothing is shown.
    await asked.looks.look()
    found = await page(asked.client, asked.api_names, query, see, place=place, limit=limit, is_quick=is_quick)
    if len(found.away) >= len(asked.client.transports().brokers(asked.api_names)):
        raise TransportUnavailable("\n".join(found.away))
    return found


SCREENS = (
    Screen(path="/events", template="events.html", title="Events", make=events, renews=False),
    Screen(path="/events.jsonl", template="events.html", title="Events", make=lines, renews=False),
    Screen(path="/events/{name:path}", template="event.html", title="Event", make=event, renews=False),
)
