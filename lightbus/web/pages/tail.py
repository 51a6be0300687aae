"""The page on which events are seen as they come."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

from starlette.responses import Response, StreamingResponse

from lightbus.insight.search import Query
from lightbus.web.asking import Asked, Screen
from lightbus.web.rendering import part
from lightbus.web.tails import MOST

from .events import address_of, query_of, shown_of, words_of

#: Seconds between two looks for events that have come.
_EVERY = 0.5


@dataclass(frozen=True, slots=True)
class Watching:
    """The page.

    Args:
        words: Which events are meant, as the form says it.
        same: The words, for addresses.
        rate: The most events that are shown in a second.
    """

    words: Mapping[str, str]
    same: str
    rate: int


async def tail(asked: Asked) -> Watching:
    """Make the page.

    Raises:
        InvalidParameters: The address says what can't be understood.
    """
    query_of(asked.fields)
    words = words_of(asked.fields)
    return Watching(words, address_of(words), asked.manifest.web.tail_rate)


async def stream(asked: Asked) -> Response:
    """Return the events as they come, for the page; raises as :func:`tail`."""
    query = query_of(asked.fields)
    # Masks with the contracts that are on the bus now.
    await asked.looks.look()
    return StreamingResponse(_coming(asked, query), media_type="text/event-stream")


async def _coming(asked: Asked, query: Query) -> AsyncIterator[str]:
    """Go through what a browser is sent: a piece every half second, so that one that is gone is noticed."""
    tails = asked.looks.tails
    rate = max(1, round(asked.manifest.web.tail_rate * _EVERY))
    told_at: float | None = None
    with tails.opened(query, rate) as it:
        if it is None:
            yield _message(asked, sentence=f"{MOST} others watch already. Close one of these, and reload.")
            return
        while True:
            tails.see_to_it()
            events, more = it.take()
            # What follows the events waits for a broker that was there before, without a word.
            seen = await asked.looks.look()
            trouble = tails.trouble or seen.trouble
            if trouble and told_at is None:
                told_at = time.time()
                yield _message(asked, sentence=f"The events can't be read now: {trouble}")
            elif not trouble and told_at is not None and seen.at > told_at:
                # A look of before would prove nothing.
                told_at = None
                yield _message(asked, sentence="They can be read again.")
            shown = [shown_of(each) for each in reversed(events)]
            yield _message(asked, events=shown, more=more) if shown or more else ": nothing\n\n"
            await asyncio.sleep(_EVERY)


def _message(asked: Asked, **about: object) -> str:
    """Return rows of the table as an event of the browser."""
    known = {"root": asked.root, "now": time.time(), "events": [], "more": 0, "sentence": ""}
    # Whatever ends a line would begin another field.
    lines = part("tail_rows.html", **(known | about)).splitlines()
    return "event: rows\n" + "".join(f"data: {line}\n" for line in lines) + "\n"


SCREENS = (
    Screen(path="/tail", template="tail.html", title="Events as they come", make=tail, renews=False),
    Screen(path="/tail/stream", template="tail.html", title="Events as they come", make=stream, renews=False),
)
