"""The pages of dead letters: by what they have in common, one after the other, each by itself, as a file."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

from starlette.responses import Response, StreamingResponse

from lightbus.exceptions import LightbusException, TransportUnavailable
from lightbus.insight.audit import acting
from lightbus.insight.dead_letters import (
    Filter,
    Fingerprint,
    Page,
    Sample,
    as_fields,
    errands,
    get,
    newest,
    page,
)
from lightbus.insight.dead_letters.errands import Errand
from lightbus.insight.masking import MASK
from lightbus.transports.events import DeadLetter
from lightbus.web.asking import Asked, Screen
from lightbus.web.pages.kinds import Row, rows_of
from lightbus.web.reading import without_arguments

#: The most of an error that is kept for a list; it shows less.
_SHOWN = 1_000
_FILTER = ("listener", "event", "error", "reason", "fingerprint")


@dataclass(frozen=True, slots=True)
class Kinds:
    """The first page.

    Args:
        kinds: What they have in common.
        sample: How many were looked at, of how many.
        errands: What is being done to many of them.
        until: When the page was made: what comes later is not meant by its actions.
    """

    kinds: list[Row]
    sample: Sample
    errands: list[Errand]
    until: float


@dataclass(frozen=True, slots=True)
class Letters:
    """A page of letters.

    Args:
        page: The letters, as they may be shown.
        fields: Which are meant, as the address has it.
        next: The query of the next page; empty if there is none.
        at_first: Whether this is the first page.
    """

    page: Page
    fields: dict[str, str]
    next: str
    at_first: bool


@dataclass(frozen=True, slots=True)
class Letter:
    """One letter, as it may be shown.

    Args:
        it: The letter.
        fingerprint: What it has in common with others.
        kwargs: Its arguments as JSON.
        has_hidden: Whether something of it is hidden.
        fits: Whether it is small enough to be edited here.
    """

    it: DeadLetter
    fingerprint: Fingerprint
    kwargs: str
    has_hidden: bool
    fits: bool


@dataclass(frozen=True, slots=True)
class Export:
    """The question whether so many are to be exported.

    Args:
        count: How many.
        is_all: Whether these are all that are meant.
        fields: Which are meant.
        wrong: What was wrong with the answer before.
    """

    count: int
    is_all: bool
    fields: dict[str, str]
    wrong: str


def filter_of(asked: Asked) -> Filter:
    """Return which letters the fields of an address or a form mean."""
    given: Mapping[str, Any] = {name: asked.fields.text(name) or None for name in _FILTER}
    until = asked.fields.text("until")
    return Filter(**given, until=float(until) if _is_time(until) else None)


def _is_time(text: str) -> bool:
    whole, _, part = text.partition(".")
    return whole.isascii() and whole.isdecimal() and len(whole) <= 12 and (not part or part.isdecimal())


async def kinds(asked: Asked) -> Kinds:
    """Return the first page."""
    await asked.looks.look()
    seen = await asked.looks.dead.look()
    if seen.value is None:
        raise TransportUnavailable(seen.trouble)
    asked.looks.errands.wake()
    found = rows_of(seen.value, asked.looks.masking)
    at_work = await errands.read(asked.client)
    return Kinds(found, seen.value, at_work, await asked.client.transports().schema().now())


async def letters(asked: Asked) -> Letters:
    """Return a page of letters."""
    await asked.looks.look()
    before = asked.fields.text("before")
    found = await page(asked.client, asked.api_names, filter_of(asked), before=before)
    until = asked.fields.text("until") or f"{await asked.client.transports().schema().now():.3f}"
    fields = {name: asked.fields.text(name) for name in _FILTER if asked.fields.text(name)}
    fields["until"] = until
    mask = asked.looks.masking.letter
    # The page may be kept for long, and letters may be large.
    masked = replace(found, letters=tuple(_short(mask(each)) for each in found.letters))
    following = urlencode({**fields, "before": found.next}) if found.next else ""
    return Letters(masked, fields, following, not before)


def _short(it: DeadLetter) -> DeadLetter:
    """Return what a list shows of a letter."""
    return replace(it, message=without_arguments(it.message), error=it.error[:_SHOWN], trace="")


async def letter(asked: Asked) -> Letter | None:
    """Return one letter; None if it is gone."""
    await asked.looks.look()
    it = await get(asked.client, asked.api_names, asked.fields.text("place"), asked.fields.text("id"))
    if it is None:
        return None
    masked = asked.looks.masking.letter(it)
    text = json.dumps(masked.message.kwargs, indent=2, ensure_ascii=False)
    has_hidden = MASK in text or masked.error != it.error or masked.trace != it.trace
    return Letter(masked, Fingerprint.of(masked), text, has_hidden, len(text.encode()) < 40_000)


async def export(asked: Asked) -> Export | Response:
    """Return the letters that are meant as a file, once their number and a reason were given."""
    await asked.looks.look()
    chosen, limit = filter_of(asked), asked.manifest.web.bulk_limit
    counted = await errands.count(asked.client, asked.api_names, chosen, limit)
    if not counted.count:
        raise LightbusException("no dead letter fits; there is nothing to export")
    fields = {name: asked.fields.text(name) for name in (*_FILTER, "until") if asked.fields.text(name)}
    typed = asked.fields.text("confirmed").replace(",", "")
    if typed == str(counted.count) and asked.by.reason:
        name = 'attachment; filename="dead-letters.jsonl"'
        lines = _lines(asked, chosen, counted.count)
        return StreamingResponse(lines, media_type="application/jsonl", headers={"Content-Disposition": name})
    wrong = ""
    if typed:
        wrong = "Say why." if typed == str(counted.count) else f"Type {counted.count:,} if you mean it."
    return Export(counted.count, counted.is_all, fields, wrong)


async def _lines(asked: Asked, chosen: Filter, count: int) -> AsyncIterator[str]:
    """Go through the lines of the file, and note in the audit that somebody has it.

    What has begun can't be told by its status any more: the last line says why there are no others.
    """
    try:
        async with acting(asked.client, asked.by, "dlq.export", chosen.target(), chosen.in_words()) as doing:
            doing.count = 0
            async for each in newest(asked.client, asked.api_names, chosen, count):
                fields = as_fields(asked.looks.masking.letter(each))
                yield json.dumps(fields, ensure_ascii=False) + "\n"
                doing.did(each.id)
    except LightbusException as e:
        yield json.dumps({"incomplete": f"the file ends here: {e}"}, ensure_ascii=False) + "\n"


SCREENS = (
    Screen(path="/dead", template="dead.html", title="Dead letters", make=kinds),
    Screen(path="/dead/list", template="dead_list.html", title="Dead letters", make=letters, renews=False),
    Screen(path="/dead/letter", template="dead_letter.html", title="Dead letter", make=letter, renews=False),
    Screen(path="/dead/export", template="dead_export.html", title="Export", make=export, renews=False),
)
