"""The group of a listener, as that to which something is done; and for how long."""

from __future__ import annotations

from datetime import UTC, datetime

from lightbus.insight.control import pauses
from lightbus.web.asking import Asked
from lightbus.web.words import page_of

from .action import Field

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


def to_its_page(asked: Asked) -> str:
    """Return the address of its page, beneath the root of the console."""
    return page_of(asked.fields.text(TARGET.name))
