"""The group of a listener, as that to which something is done; and for how long."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from lightbus.insight.cards import Heeded
from lightbus.insight.control import pauses
from lightbus.web.asking import Asked
from lightbus.web.words import page_of

from .action import Done, Field

#: The field with its name.
TARGET = Field(name="target", is_required=True)

#: The field with the end of a pause.
UNTIL = Field(
    name="until",
    label="Until",
    hint="30m, 2h, or a time with its zone such as 2026-01-31T12:00:00+01:00; empty for no end.",
)


def seconds_until(asked: Asked) -> float | None:
    """Return for how many seconds something is to be paused; None for no end.

    Raises:
        InvalidParameters: It is no time to come.
    """
    until = asked.fields.text(UNTIL.name)
    return pauses.seconds_until(until) if until else None


def until_in_words(ends: float | None) -> str:
    """Say until when something is paused; nothing if it does not end by itself."""
    return "" if ends is None else f" until {datetime.fromtimestamp(ends, UTC):%Y-%m-%d %H:%M:%S} UTC"


def told(done: str, heeded: Heeded, page: str, *, nobody: str, late: str, more: Iterable[str] = ()) -> Done:
    """Say what was paused, or goes on, and what its processes make of that.

    Args:
        done: What was done.
        heeded: What they make of it.
        page: The address of the page that comes next, beneath the root of the console.
        nobody: Said where there is none.
        late: What those do that have not heeded it in time.
        more: What else there is to say.
    """
    said = [done, *([nobody] if heeded.concerns_nobody else []), *more]
    if heeded.not_by:
        said.append(f"But {pauses.not_heeded(heeded, late)}.")
    return Done(" ".join(said), page, is_good=not heeded.not_by)


def to_its_page(asked: Asked) -> str:
    """Return the address of its page, beneath the root of the console."""
    return page_of(asked.fields.text(TARGET.name))
